//! A panic ends only the call that caused it.

use std::panic::AssertUnwindSafe;

use axum::response::Response;
use futures_util::FutureExt;
use tonic::Status;

use super::status::to_status;
use crate::domain::{Cause, Error};

/// Answers INTERNAL for a call that panics. The message of the panic may contain data of the caller, so it is not logged; the
/// log already has the location of the panic.
pub(super) async fn catch(call: impl Future<Output = Response>) -> Response {
    match AssertUnwindSafe(call).catch_unwind().await {
        Ok(response) => response,
        Err(_message) => status().into_http(),
    }
}

/// The status of a call that panicked.
pub(super) fn status() -> Status {
    to_status(&Error::Internal(Cause::new("a panic")))
}
