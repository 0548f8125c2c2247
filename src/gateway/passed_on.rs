//! The headers that the gateway takes from the service's answer and passes on.

use axum::http::{HeaderMap, HeaderValue};

use crate::grpc::RESPONSE_HEADERS;

/// The values in the order of [`RESPONSE_HEADERS`]; `None` for a header that the service left out.
pub(super) type PassedOn = [Option<HeaderValue>; 4];

/// Reads the values from the metadata of the service's answer.
pub(super) fn read(metadata: &HeaderMap) -> PassedOn {
    RESPONSE_HEADERS.map(|name| metadata.get(name).cloned())
}

/// Writes the values to the headers of a REST answer.
pub(super) fn write(values: PassedOn, headers: &mut HeaderMap) {
    for (name, value) in RESPONSE_HEADERS.into_iter().zip(values) {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
}
