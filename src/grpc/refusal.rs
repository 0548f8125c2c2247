//! Messages that never reach a handler, because they do not arrive, are too large or cannot be decoded.

use axum::response::Response;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::status::{to_status, with_reason};
use crate::{body::BodyError, domain::Error, reason::Reason};

/// What the caller learns of a message that was not received.
pub(super) fn of_body(error: BodyError, max_message_bytes: usize) -> Status {
    match error {
        BodyError::TooLarge => invalid(too_large(max_message_bytes)),
        BodyError::Broken => invalid("The request could not be read".to_owned()),
        BodyError::TooSlow => {
            let sentence = "The request did not arrive in time".to_owned();
            with_reason(Reason::DeadlineExceeded, sentence)
        }
        BodyError::NoRoom => to_status(&Error::NoRoom),
    }
}

fn too_large(max_message_bytes: usize) -> String {
    format!("Request too large. Maximum {max_message_bytes} bytes")
}

fn invalid(sentence: String) -> Status {
    with_reason(Reason::InvalidMessage, sentence)
}

/// Turns the framework's own refusals, OUT_OF_RANGE and INTERNAL, into INVALID_ARGUMENT: it is the caller who has to fix
/// something.
pub(super) fn rephrase(response: Response, max_message_bytes: usize) -> Response {
    let Some(status) = Status::from_header_map(response.headers()) else {
        return response;
    };
    let is_ours = status.get_details_error_info().is_some();
    let sentence = match status.code() {
        Code::OutOfRange if !is_ours => too_large(max_message_bytes),
        Code::Internal if !is_ours => "The request is no valid message of this method".to_owned(),
        _ => return response,
    };
    invalid(sentence).into_http()
}
