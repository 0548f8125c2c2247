//! The status of each error: the only place where errors of the domain become statuses.

use std::{collections::HashMap, time::Duration};

use http::HeaderMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::violations;
use crate::{
    domain::{Error, FieldProblem, Violations, change::Revision},
    reason::{DOMAIN, Reason},
    telemetry::metrics,
};

/// How long a caller waits before it tries again, when the error does not say.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The sentence about a key that may only read.
pub const SCOPE_MISSING: &str = "This API key may only read; use a key with the scope write";

/// The status of `error`, which is counted here. Its cause goes to the log.
pub(super) fn to_status(error: &Error) -> Status {
    with_numbers(error, [])
}

/// As [`to_status`], for the error that ends a stream of changes: it says which revision to go on from.
pub(super) fn to_status_at(error: &Error, revision: Revision) -> Status {
    with_numbers(error, [("revision", revision.number())])
}

fn with_numbers(error: &Error, numbers: impl IntoIterator<Item = (&'static str, u64)>) -> Status {
    let reason = reason(error);
    metrics::refusal(reason.name());
    match error {
        Error::Unavailable(cause) => tracing::warn!(%cause, "a call failed because the database is unavailable"),
        Error::Internal(cause) => tracing::error!(%cause, "a call failed because of an internal error"),
        _ => {}
    }
    let mut details = ErrorDetails::new();
    let mut metadata = metadata(error);
    metadata.extend(numbers);
    if let Some(delay) = retry_delay(error) {
        details.set_retry_info(Some(delay));
        metadata.push(("retryAfterSeconds", delay.as_secs()));
    }
    if let Error::InvalidRequest(violations) = error {
        details.set_bad_request(violations::listed(violations));
    }
    set_reason(&mut details, reason, metadata);
    Status::with_error_details(reason.code(), sentence(error), details)
}

/// A status for what is no error of the domain, with the numbers that matter. It is counted like any other error.
pub(super) fn with_reason(
    reason: Reason,
    sentence: impl Into<String>,
    metadata: impl IntoIterator<Item = (&'static str, u64)>,
) -> Status {
    metrics::refusal(reason.name());
    let mut details = ErrorDetails::new();
    set_reason(&mut details, reason, metadata);
    Status::with_error_details(reason.code(), sentence, details)
}

fn set_reason(details: &mut ErrorDetails, reason: Reason, metadata: impl IntoIterator<Item = (&'static str, u64)>) {
    let metadata = metadata
        .into_iter()
        .map(|(name, number)| (name.to_owned(), number.to_string()));
    let metadata: HashMap<String, String> = metadata.collect();
    details.set_error_info(reason.name(), DOMAIN, metadata);
}

fn reason(error: &Error) -> Reason {
    match error {
        Error::MissingApiKey => Reason::MissingApiKey,
        Error::InvalidApiKey => Reason::InvalidApiKey,
        Error::ConflictingApiKeys => Reason::ConflictingApiKeys,
        Error::RepeatedApiKey => Reason::RepeatedApiKey,
        Error::ScopeMissing => Reason::ScopeMissing,
        Error::InvalidRequest(_) => Reason::InvalidRequest,
        Error::NoValidDevices { .. } => Reason::NoValidDevices,
        Error::CustomerNotFound(_) => Reason::CustomerNotFound,
        Error::DeviceNotFound => Reason::DeviceNotFound,
        Error::CustomerExists => Reason::CustomerExists,
        Error::InvalidPageToken => Reason::InvalidPageToken,
        Error::NotAssigned | Error::NotOfExpectedOwner => Reason::NotAssigned,
        Error::TooManyOwners => Reason::TooManyOwners,
        Error::RevisionInFuture { .. } => Reason::RevisionInFuture,
        Error::IdempotencyKeyReused => Reason::IdempotencyKeyReused,
        Error::AnswerErased => Reason::AnswerErased,
        Error::ChangesExpired => Reason::ChangesExpired,
        Error::TooManyStreams { .. } => Reason::TooManyStreams,
        Error::TooMuchContention => Reason::TooMuchContention,
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

/// The sentence that callers get. It contains nothing that a caller sent: the gateway replaces names of fields in it.
fn sentence(error: &Error) -> String {
    match error {
        Error::MissingApiKey => "Missing API key: send it in the x-api-key header".into(),
        Error::InvalidApiKey => "Invalid API key: check that it is complete, not expired and not revoked".into(),
        Error::ConflictingApiKeys => "x-api-key and Authorization carry different API keys; send one".into(),
        Error::RepeatedApiKey => "The API key is given twice; send it once".into(),
        Error::ScopeMissing => SCOPE_MISSING.into(),
        Error::InvalidRequest(violations) => violations::sentence(violations),
        Error::NoValidDevices { count } => format!(
            "No valid devices: none of the {count} device identifiers exist in your organization; \
             set auto_create_devices to create them"
        ),
        Error::CustomerNotFound(field) => {
            format!(
                "There is no customer with this {} in your organization",
                violations::path(*field)
            )
        }
        Error::NotAssigned => "The device is not assigned to this customer".into(),
        Error::IdempotencyKeyReused => "The idempotency key was used for another request; use a new key".into(),
        Error::AnswerErased => {
            "This call was carried out before, and its response was erased when a customer that it names was \
                                deleted; do not repeat it"
                .into()
        }
        Error::NotOfExpectedOwner => "None of the devices belongs to expected_owner".into(),
        Error::NotFound(_) => "Not found".into(),
        Error::AlreadyExists(_) => "Already exists".into(),
        Error::RateLimited { .. }
        | Error::TooManyFailedKeys { .. }
        | Error::Overloaded
        | Error::NoRoom
        | Error::QueueFull { .. }
        | Error::DeadlineExceeded
        | Error::ShuttingDown
        | Error::InvalidPageToken
        | Error::RevisionInFuture { .. }
        | Error::DeviceNotFound
        | Error::TooManyOwners
        | Error::CustomerExists
        | Error::ChangesExpired
        | Error::TooManyStreams { .. }
        | Error::TooMuchContention
        | Error::Unavailable(_)
        | Error::Internal(_) => error.to_string(),
    }
}

/// The numbers that matter to a program.
fn metadata(error: &Error) -> Vec<(&'static str, u64)> {
    match error {
        Error::InvalidRequest(violations) => violation_metadata(violations),
        Error::NoValidDevices { count } => vec![("deviceCount", *count as u64)],
        Error::RateLimited { limit, .. } => vec![("limit", u64::from(*limit))],
        Error::RevisionInFuture { current } => vec![("currentRevision", current.number())],
        Error::TooManyStreams { limit, .. } => vec![("limit", *limit as u64)],
        _ => Vec::new(),
    }
}

fn violation_metadata(violations: &Violations) -> Vec<(&'static str, u64)> {
    let mut metadata = vec![("violationCount", violations.count() as u64)];
    for violation in violations.listed() {
        match violation.problem {
            FieldProblem::TooManyDevices { count, max } => {
                metadata.extend([("deviceCount", count as u64), ("maxDevices", max as u64)]);
            }
            FieldProblem::TooManyCustomers { count, max } => {
                metadata.extend([("customerCount", count as u64), ("maxCustomers", max as u64)]);
            }
            FieldProblem::ResponseTooLarge { max_bytes } => metadata.push(("maxBytes", max_bytes as u64)),
            _ => {}
        }
    }
    metadata
}

/// How long a caller waits before it tries again, where that helps.
fn retry_delay(error: &Error) -> Option<Duration> {
    match error {
        Error::RateLimited { retry_after, .. }
        | Error::TooManyFailedKeys { retry_after }
        | Error::QueueFull { retry_after } => Some(*retry_after),
        Error::Overloaded
        | Error::NoRoom
        | Error::TooManyStreams { .. }
        | Error::TooMuchContention
        | Error::ShuttingDown
        | Error::Unavailable(_) => Some(RETRY_DELAY),
        _ => None,
    }
}

/// The code of a response. An error is in its headers; the code of a success comes later, in the trailers.
pub(super) fn code_of(response: &HeaderMap) -> Code {
    Status::from_header_map(response).map_or(Code::Ok, |status| status.code())
}

#[cfg(test)]
mod tests;
