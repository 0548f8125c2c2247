//! What callers learn of an error: the only place where the domain's errors become statuses.

use std::time::Duration;

use http::HeaderMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    domain::{Error, Field, Violations},
    telemetry::metrics,
};

/// The domain of every reason (google.rpc.ErrorInfo).
const DOMAIN: &str = "telemetron.ai";

/// How long a caller waits before it tries again, when nobody knows how long it will take.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Why a call was refused, for programs (google.rpc.ErrorInfo). A released name never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    MissingApiKey,
    InvalidApiKey,
    RepeatedApiKey,
    InvalidMessage,
    InvalidRequest,
    NoValidDevices,
    NotFound,
    AlreadyExists,
    RateLimited,
    TooManyFailedKeys,
    Overloaded,
    QueueFull,
    DeadlineExceeded,
    ShuttingDown,
    Unavailable,
    Internal,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::MissingApiKey => "MISSING_API_KEY",
            Self::InvalidApiKey => "INVALID_API_KEY",
            Self::RepeatedApiKey => "REPEATED_API_KEY",
            Self::InvalidMessage => "INVALID_MESSAGE",
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::NoValidDevices => "NO_VALID_DEVICES",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::RateLimited => "RATE_LIMITED",
            Self::TooManyFailedKeys => "TOO_MANY_FAILED_KEYS",
            Self::Overloaded => "OVERLOADED",
            Self::QueueFull => "QUEUE_FULL",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}

/// The status that tells a caller of `error`, who is counted as refused. What only we may know goes to the log.
pub(super) fn to_status(error: &Error) -> Status {
    let (code, reason) = match error {
        Error::MissingApiKey => (Code::Unauthenticated, Reason::MissingApiKey),
        Error::InvalidApiKey => (Code::Unauthenticated, Reason::InvalidApiKey),
        Error::RepeatedApiKey => (Code::InvalidArgument, Reason::RepeatedApiKey),
        Error::InvalidRequest(_) => (Code::InvalidArgument, Reason::InvalidRequest),
        Error::NoValidDevices { .. } => (Code::FailedPrecondition, Reason::NoValidDevices),
        Error::NotFound(_) => (Code::NotFound, Reason::NotFound),
        Error::AlreadyExists(_) => (Code::AlreadyExists, Reason::AlreadyExists),
        Error::RateLimited { .. } => (Code::ResourceExhausted, Reason::RateLimited),
        Error::TooManyFailedKeys { .. } => (Code::ResourceExhausted, Reason::TooManyFailedKeys),
        Error::Overloaded | Error::NoRoom => (Code::ResourceExhausted, Reason::Overloaded),
        Error::QueueFull { .. } => (Code::ResourceExhausted, Reason::QueueFull),
        Error::DeadlineExceeded => (Code::DeadlineExceeded, Reason::DeadlineExceeded),
        Error::ShuttingDown => (Code::Unavailable, Reason::ShuttingDown),
        Error::Unavailable(_) => (Code::Unavailable, Reason::Unavailable),
        Error::Internal(_) => (Code::Internal, Reason::Internal),
    };
    metrics::refusal(reason.name());
    let mut details = details(reason);
    match error {
        Error::InvalidRequest(violations) => add_violations(&mut details, violations),
        Error::Unavailable(cause) => tracing::warn!(%cause, "a call failed for want of the database"),
        Error::Internal(cause) => tracing::error!(%cause, "a call failed by a fault of ours"),
        _ => {}
    }
    if matches!(code, Code::ResourceExhausted | Code::Unavailable) {
        details.set_retry_info(Some(retry_delay(error)));
    }
    Status::with_error_details(code, error.to_string(), details)
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

/// A status for what never becomes an error of the domain, whose caller is counted as refused.
pub(super) fn with_reason(code: Code, sentence: String, reason: Reason) -> Status {
    metrics::refusal(reason.name());
    Status::with_error_details(code, sentence, details(reason))
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
