//! Request bodies: the JSON form of a message, and what is wrong with one that is not.

use axum::{
    body::Bytes,
    extract::rejection::BytesRejection,
    http::{HeaderMap, StatusCode, header},
};
use mime::Mime;
use serde::de::DeserializeOwned;

use super::problem::Problem;

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
        let field = error.path().iter().next().is_some().then_some(path);
        invalid(error.inner(), field)
    })?;
    deserializer.end().map_err(|error| invalid(&error, None))?;
    Ok(message)
}

fn invalid(error: &serde_json::Error, field: Option<String>) -> Problem {
    Problem::invalid_body(format!("Invalid JSON: {error}"), field)
}

/// Whether the body says that it is JSON, or does not say what it is.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let Some(mime) = content_type.to_str().ok().and_then(|text| text.parse::<Mime>().ok()) else {
        return false;
    };
    mime.type_() == mime::APPLICATION && (mime.subtype() == mime::JSON || mime.suffix() == Some(mime::JSON))
}
