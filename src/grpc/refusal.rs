//! Messages that never reach a handler, because they are too large or cannot be decoded: the framework says OUT_OF_RANGE
//! or INTERNAL then, where it is the caller who has something to mend.

use axum::response::Response;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::status::{Reason, with_reason};

/// Turns the framework's own refusals into INVALID_ARGUMENT.
pub(super) fn rephrase(response: Response, max_message_bytes: usize) -> Response {
    let Some(status) = Status::from_header_map(response.headers()) else {
        return response;
    };
    let is_ours = status.get_details_error_info().is_some();
    let sentence = match status.code() {
        Code::OutOfRange if !is_ours => {
            format!("Request too large. Maximum {max_message_bytes} bytes")
        }
        Code::Internal if !is_ours => "The request is no valid message of this method".to_owned(),
        _ => return response,
    };
    with_reason(Code::InvalidArgument, sentence, Reason::InvalidMessage).into_http()
}
