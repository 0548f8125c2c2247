//! A panic ends the call that caused it, and nothing else.

use std::any::Any;

use axum::{body::Body, http::Response};

use super::status::to_status;
use crate::domain::{Cause, Error};

/// The answer to a call that panicked. Its message may quote a caller's data, and stays out of the log; the place of the panic
/// is there already.
pub(super) fn answer(_message: Box<dyn Any + Send>) -> Response<Body> {
    to_status(&Error::Internal(Cause::new("a panic"))).into_http()
}
