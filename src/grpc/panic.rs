//! A panic ends the call that caused it, and nothing else.

use std::any::Any;

use axum::{body::Body, http::Response};

use super::status::to_status;
use crate::domain::{Cause, Error};

/// The answer to a call that panicked.
pub(super) fn answer(panic: Box<dyn Any + Send>) -> Response<Body> {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("of an unknown kind")
        .to_owned();
    to_status(&Error::Internal(Cause::new(format!("a panic: {message}")))).into_http()
}
