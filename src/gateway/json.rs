//! Request bodies: the JSON form of a message.

mod explain;

use std::{borrow::Cow, cell::Cell, fmt};

use axum::http::{HeaderMap, header};
use mime::Mime;
use serde::{
    Deserializer,
    de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    fields,
    operation::{BoundedList, Operation, RejectedRequest},
    problem::Problem,
};

/// The longest name of an unknown member that is quoted, in characters.
const MAX_QUOTED: usize = 100;

/// Rejects a body with a Content-Type other than JSON.
pub(super) fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    if is_json(headers) {
        Ok(())
    } else {
        Err(Problem::unsupported_media_type())
    }
}

/// Reads the request of an operation from its body.
pub(super) fn read<T: DeserializeOwned>(body: &[u8], operation: Operation) -> Result<T, RejectedRequest> {
    // The derived deserializer would also accept an array of the members.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::invalid_body("The request body must be a JSON object".into(), None).into());
    }
    if let Some(list) = operation.list {
        check_length(body, list)?;
    }
    serde_json::from_slice(body).map_err(|error| explain::problem(body, fields::members(operation.name), &error).into())
}

/// Rejects a list that is too long before its elements take memory: an element of 4 bytes takes 56 once it is read.
fn check_length(body: &[u8], list: BoundedList) -> Result<(), RejectedRequest> {
    // Each element takes two bytes, or one and a comma.
    if body.len() / 2 <= list.max {
        return Ok(());
    }
    let devices = Cell::new(0);
    let counter = Elements {
        member: list.member,
        is_inside: false,
        count: &devices,
    };
    // Other problems are found when the body is read.
    let _ = serde_json::Deserializer::from_slice(body).deserialize_map(counter);
    let devices = devices.get();
    if devices <= list.max {
        return Ok(());
    }
    let problem = Problem::too_many_devices(list.member, devices, list.max);
    Err(RejectedRequest { problem, devices })
}

/// Counts the elements of the list or object in `member` without keeping them. The count is outside, so that it is there even if the
/// body turns out to be broken.
#[derive(Clone, Copy)]
struct Elements<'a> {
    member: &'static str,
    /// Whether this is the value of the member.
    is_inside: bool,
    count: &'a Cell<usize>,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, and a list in it")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            if self.is_inside {
                self.count.set(self.count.get() + 1);
                members.next_value::<IgnoredAny>()?;
            } else if name == self.member {
                let is_inside = true;
                members.next_value_seed(Self { is_inside, ..self })?;
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
        deserializer.deserialize_any(self)
    }
}

/// The beginning of a text of the caller, who may have sent megabytes.
pub(super) fn bounded(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Whether the Content-Type is JSON or missing.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    // Parameters do not matter: JSON is UTF-8 (RFC 8259, 8.1).
    let essence = content_type.to_str().ok().and_then(|text| text.split(';').next());
    let Some(mime) = essence.and_then(|text| text.trim().parse::<Mime>().ok()) else {
        return false;
    };
    mime.type_() == mime::APPLICATION && (mime.subtype() == mime::JSON || mime.suffix() == Some(mime::JSON))
}

/// Reads a body as the request of an operation with a list of texts, one with an object of objects, and one without a list. For the
/// fuzz targets.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(body: &[u8]) {
    use crate::pb::{AssignDevicesToOwnerRequest, BulkUpdateDeviceMetadataRequest, CreateOrUpdateDeviceRequest};

    const MAX: usize = 8;
    let operation = |name, member| Operation {
        name,
        list: Some(super::operation::BoundedList { member, max: MAX }),
        answer_list_bytes: 0,
    };
    if let Ok(message) =
        read::<AssignDevicesToOwnerRequest>(body, operation("AssignDevicesToOwner", "deviceIdentifiers"))
    {
        assert!(message.device_identifiers.len() <= MAX, "the list is bounded");
    }
    if let Ok(message) = read::<BulkUpdateDeviceMetadataRequest>(body, operation("BulkUpdateDeviceMetadata", "devices"))
    {
        assert!(message.devices.len() <= MAX, "the object is bounded");
    }
    let operation = Operation::without_lists("CreateOrUpdateDevice");
    if read::<CreateOrUpdateDeviceRequest>(body, operation).is_ok() {
        assert!(serde_json::from_slice::<IgnoredAny>(body).is_ok(), "it is JSON");
    }
}

#[cfg(test)]
mod tests;
