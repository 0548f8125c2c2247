//! The rate-limit headers: the gateway takes them from the service's answer and passes them on.

use axum::http::{HeaderMap, HeaderValue};

use crate::grpc::RATE_LIMIT_HEADERS;

/// The values of the rate-limit headers, in the order of [`RATE_LIMIT_HEADERS`]; `None` for one that the service left out.
pub(super) type RateLimitValues = [Option<HeaderValue>; 2];

/// Reads the values from the metadata of the service's answer.
pub(super) fn read(metadata: &HeaderMap) -> RateLimitValues {
    RATE_LIMIT_HEADERS.map(|name| metadata.get(name).cloned())
}

/// Writes the values to the headers of a REST answer.
pub(super) fn write(values: RateLimitValues, headers: &mut HeaderMap) {
    for (name, value) in RATE_LIMIT_HEADERS.into_iter().zip(values) {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
}
