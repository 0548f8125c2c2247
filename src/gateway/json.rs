//! Request bodies: the JSON form of a message, and what is wrong with one that is not.

use std::{borrow::Cow, cell::Cell, fmt};

use axum::http::{HeaderMap, header};
use mime::Mime;
use serde::{
    Deserializer,
    de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    operation::{BoundedList, RejectedRequest},
    problem::Problem,
};

/// The longest sentence about a body, in characters.
const MAX_QUOTED: usize = 300;

/// Refuses a body that says that it is not JSON.
pub(super) fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    if is_json(headers) {
        Ok(())
    } else {
        Err(Problem::unsupported_media_type())
    }
}

/// Reads the message that a body holds.
pub(super) fn read<T: DeserializeOwned>(body: &[u8], list: BoundedList) -> Result<T, RejectedRequest> {
    // The derived readers would also take an array, with the members in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::invalid_body("The request body must be a JSON object".into(), None).into());
    }
    check_length(body, list)?;
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let message = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        invalid(error.inner(), &path)
    })?;
    deserializer.end().map_err(|error| invalid(&error, ""))?;
    Ok(message)
}

/// Refuses a list that is too long, before any of its elements takes memory: an element of 4 bytes takes 56 once it is read.
fn check_length(body: &[u8], list: BoundedList) -> Result<(), RejectedRequest> {
    // Each element takes two bytes, or one and a comma.
    if body.len() / 2 <= list.max {
        return Ok(());
    }
    let devices = Cell::new(0);
    let counter = Elements {
        member: list.member,
        count: &devices,
    };
    // What is wrong with the rest is found when it is read.
    let _ = serde_json::Deserializer::from_slice(body).deserialize_map(counter);
    let devices = devices.get();
    if devices <= list.max {
        return Ok(());
    }
    let problem = Problem::too_many_devices(list.member, devices, list.max);
    Err(RejectedRequest { problem, devices })
}

/// Counts the elements of the lists that are values of `member`, without keeping any. Also of a body that turns out to be
/// broken: so the count is outside.
#[derive(Clone, Copy)]
struct Elements<'a> {
    member: &'static str,
    count: &'a Cell<usize>,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, and a list in it")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            if name == self.member {
                members.next_value_seed(self)?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {
            self.count.set(self.count.get() + 1);
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
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
