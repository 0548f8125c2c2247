//! What callers learn of an error: the only place where the domain's errors become statuses.

use std::time::Duration;

use http::HeaderMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    domain::{Error, Field, Violations},
    reason::{DOMAIN, Reason},
    telemetry::metrics,
};

/// How long a caller waits before it tries again, when nobody knows how long it will take.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The status that tells a caller of `error`, who is counted as refused. What only we may know goes to the log.
pub(super) fn to_status(error: &Error) -> Status {
    let reason = reason(error);
    metrics::refusal(reason.name());
    let mut details = details(reason);
    match error {
        Error::InvalidRequest(violations) => add_violations(&mut details, violations),
        Error::Unavailable(cause) => tracing::warn!(%cause, "a call failed for want of the database"),
        Error::Internal(cause) => tracing::error!(%cause, "a call failed by a fault of ours"),
        _ => {}
    }
    let code = reason.code();
    if matches!(code, Code::ResourceExhausted | Code::Unavailable) {
        details.set_retry_info(Some(retry_delay(error)));
    }
    Status::with_error_details(code, error.to_string(), details)
}

/// The reason of each error.
fn reason(error: &Error) -> Reason {
    match error {
        Error::MissingApiKey => Reason::MissingApiKey,
        Error::InvalidApiKey => Reason::InvalidApiKey,
        Error::RepeatedApiKey => Reason::RepeatedApiKey,
        Error::InvalidRequest(_) => Reason::InvalidRequest,
        Error::NoValidDevices { .. } => Reason::NoValidDevices,
        Error::NotFound(_) => Reason::NotFound,
        Error::AlreadyExists(_) => Reason::AlreadyExists,
        Error::RateLimited { .. } => Reason::RateLimited,
        Error::TooManyFailedKeys { .. } => Reason::TooManyFailedKeys,
        Error::Overloaded | Error::NoRoom => Reason::Overloaded,
        Error::QueueFull { .. } => Reason::QueueFull,
        Error::DeadlineExceeded => Reason::DeadlineExceeded,
        Error::ShuttingDown => Reason::ShuttingDown,
        Error::Unavailable(_) => Reason::Unavailable,
        Error::Internal(_) => Reason::Internal,
    }
}

/// How long a caller waits before it tries again.
fn retry_delay(error: &Error) -> Duration {
    match error {
        Error::RateLimited { retry_after, .. }
        | Error::TooManyFailedKeys { retry_after }
        | Error::QueueFull { retry_after } => *retry_after,
        _ => RETRY_DELAY,
    }
}

/// The code of an answer. A refusal stands in the headers; a success has its code in the trailers, which are still to come.
pub(super) fn code_of(answer: &HeaderMap) -> Code {
    Status::from_header_map(answer).map_or(Code::Ok, |status| status.code())
}

/// A status for what never becomes an error of the domain. It is counted like any other error.
pub(super) fn with_reason(reason: Reason, sentence: String) -> Status {
    metrics::refusal(reason.name());
    Status::with_error_details(reason.code(), sentence, details(reason))
}

fn details(reason: Reason) -> ErrorDetails {
    ErrorDetails::with_error_info(reason.name(), DOMAIN, [])
}

fn add_violations(details: &mut ErrorDetails, violations: &Violations) {
    for violation in violations.listed() {
        details.add_bad_request_violation(path(violation.field), violation.description.clone());
    }
}

/// The path of a field in the request message.
fn path(field: Field) -> String {
    match field {
        Field::CustomerEmail => "customer_email".into(),
        Field::DeviceIdentifiers => "device_identifiers".into(),
        Field::DeviceIdentifier(index) => format!("device_identifiers[{index}]"),
        Field::DeviceType => "device_type".into(),
    }
}

#[cfg(test)]
mod tests;
