//! Request bodies: the JSON form of a message, and what is wrong with one that is not.

use axum::{
    body::Bytes,
    extract::rejection::BytesRejection,
    http::{HeaderMap, StatusCode, header},
};
use mime::Mime;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The longest sentence about a body, in characters.
const MAX_QUOTED: usize = 300;

/// Reads the message that a body holds.
pub(super) fn read<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
    max_body_bytes: usize,
) -> Result<T, Problem> {
    if !is_json(headers) {
        return Err(Problem::unsupported_media_type());
    }
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(max_body_bytes),
        _ => Problem::invalid_body("The request body could not be read".into(), None),
    })?;
    // The derived readers would also take an array, with the members in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::invalid_body(
            "The request body must be a JSON object".into(),
            None,
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(&body);
    let message = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        invalid(error.inner(), &path)
    })?;
    deserializer.end().map_err(|error| invalid(&error, ""))?;
    Ok(message)
}

/// What is wrong, and with which member where that is known: a body that is no JSON has none.
fn invalid(error: &serde_json::Error, path: &str) -> Problem {
    let is_member = error.is_data() && !matches!(path, "" | "." | "?");
    if is_member {
        let path = bounded(path);
        Problem::invalid_body(bounded(&format!("{path}: {error}")), Some(path))
    } else {
        Problem::invalid_body(bounded(&format!("Invalid JSON: {error}")), None)
    }
}

/// The beginning of a text that quotes the caller's, who may have sent megabytes.
fn bounded(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Whether the body says that it is JSON, or does not say what it is.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    // Parameters say nothing about JSON, which is UTF-8 (RFC 8259, 8.1).
    let essence = content_type.to_str().ok().and_then(|text| text.split(';').next());
    let Some(mime) = essence.and_then(|text| text.trim().parse::<Mime>().ok()) else {
        return false;
    };
    mime.type_() == mime::APPLICATION && (mime.subtype() == mime::JSON || mime.suffix() == Some(mime::JSON))
}

#[cfg(test)]
mod tests;
