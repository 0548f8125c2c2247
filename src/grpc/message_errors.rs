//! Errors of messages that never reach a handler: they do not arrive, are too large or cannot be decoded.

use axum::response::Response;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::status::{to_status, with_reason};
use crate::{body::BodyError, domain::Error, reason::Reason};

/// The status of a message that was not received.
pub(super) fn of_body(error: BodyError, max_message_bytes: usize) -> Status {
    match error {
        BodyError::TooLarge => too_large(max_message_bytes),
        BodyError::Broken => with_reason(Reason::InvalidMessage, "The request could not be read", []),
        BodyError::TooSlow => with_reason(Reason::DeadlineExceeded, "The request did not arrive in time", []),
        BodyError::NoRoom => to_status(&Error::NoRoom),
    }
}

fn too_large(max_bytes: usize) -> Status {
    let sentence = format!("Request too large. Maximum {max_bytes} bytes");
    with_reason(Reason::InvalidMessage, sentence, [("maxBytes", max_bytes as u64)])
}

/// Turns the framework's own errors, OUT_OF_RANGE and INTERNAL, into INVALID_ARGUMENT: the caller has to fix the message.
pub(super) fn rephrase(response: Response, max_message_bytes: usize) -> Response {
    let Some(status) = Status::from_header_map(response.headers()) else {
        return response;
    };
    let is_ours = status.get_details_error_info().is_some();
    let status = match status.code() {
        Code::OutOfRange if !is_ours => too_large(max_message_bytes),
        Code::Internal if !is_ours => with_reason(Reason::InvalidMessage, "The request message cannot be decoded", []),
        _ => return response,
    };
    status.into_http()
}
