//! A panic ends the call that caused it, and nothing else.

use std::panic::AssertUnwindSafe;

use axum::response::Response;
use futures_util::FutureExt;

use super::status::to_status;
use crate::domain::{Cause, Error};

/// Answers for a call that panics. The panic's message may quote a caller's data, and stays out of the log; its place is
/// there already.
pub(super) async fn catch(call: impl Future<Output = Response>) -> Response {
    match AssertUnwindSafe(call).catch_unwind().await {
        Ok(response) => response,
        Err(_message) => to_status(&Error::Internal(Cause::new("a panic"))).into_http(),
    }
}
