//! The sentences in `docs/ERRORS.md` are those that callers get.

use super::*;
use crate::domain::{Cause, Field, Metered};

const DOCUMENT: &str = include_str!("../../../docs/ERRORS.md");

/// A status with this reason, as the service makes it. `None` for a reason that only the gateway uses.
fn status(reason: Reason) -> Option<Status> {
    let retry_after = Duration::from_secs(3);
    let error = match reason {
        Reason::MissingApiKey => Error::MissingApiKey,
        Reason::InvalidApiKey => Error::InvalidApiKey,
        Reason::ConflictingApiKeys => Error::ConflictingApiKeys,
        Reason::RepeatedApiKey => Error::RepeatedApiKey,
        Reason::ScopeMissing => Error::ScopeMissing,
        Reason::InvalidRequest => Error::InvalidRequest(Violations::default()),
        Reason::NoValidDevices => Error::NoValidDevices { count: 3 },
        Reason::CustomerNotFound => Error::CustomerNotFound(Field::Email),
        Reason::DeviceNotFound => Error::DeviceNotFound,
        Reason::CustomerExists => Error::CustomerExists,
        Reason::NotAssigned => Error::NotAssigned,
        Reason::InvalidPageToken => Error::InvalidPageToken,
        Reason::TooManyOwners => Error::TooManyOwners,
        Reason::RevisionInFuture => Error::RevisionInFuture { current: 7.into() },
        Reason::IdempotencyKeyReused => Error::IdempotencyKeyReused,
        Reason::AnswerErased => Error::AnswerErased,
        Reason::TooMuchContention => Error::TooMuchContention,
        Reason::NotFound => Error::NotFound("no such thing".into()),
        Reason::AlreadyExists => Error::AlreadyExists("there is one".into()),
        Reason::RateLimited => Error::RateLimited {
            of: Metered::Calls,
            limit: 5,
            retry_after,
        },
        Reason::TooManyFailedKeys => Error::TooManyFailedKeys { retry_after },
        Reason::Overloaded => Error::Overloaded,
        Reason::QueueFull => Error::QueueFull { retry_after },
        Reason::DeadlineExceeded => Error::DeadlineExceeded,
        Reason::ShuttingDown => Error::ShuttingDown,
        Reason::Unavailable => Error::Unavailable(Cause::new("gone")),
        Reason::Internal => Error::Internal(Cause::new("broken")),
        _ => return None,
    };
    Some(to_status(&error))
}

/// Whether `sentence` is what is documented, where `…` stands for what differs.
fn is_sentence(sentence: &str, documented: &str) -> bool {
    let mut rest = sentence;
    let mut parts = documented.split('…');
    let begins = parts.next().is_some_and(|part| match rest.strip_prefix(part) {
        Some(after) => {
            rest = after;
            true
        }
        None => false,
    });
    begins
        && parts.all(|part| match rest.split_once(part) {
            Some((_, after)) => {
                rest = if part.is_empty() { "" } else { after };
                true
            }
            None => false,
        })
        && rest.is_empty()
}

#[test]
fn every_error_is_documented_with_its_code_and_sentence() {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split('|').map(str::trim).collect()).collect();
    for &reason in Reason::ALL {
        let Some(status) = status(reason) else { continue };
        let name = reason.name();
        let details = status.get_error_details();
        assert_eq!(details.error_info().expect("a reason").reason, name);
        assert_eq!(status.code(), reason.code(), "{name}");
        let row = rows.iter().find(|row| row[1] == name);
        let row = row.unwrap_or_else(|| panic!("{name} is not documented"));
        // A sentence that differs from call to call is described in italics.
        if !row[4].starts_with('*') {
            assert!(is_sentence(status.message(), row[4]), "{name}: {}", status.message());
        }
    }
}

#[test]
fn contention_is_an_error_to_try_again() {
    let status = to_status(&Error::TooMuchContention);
    assert_eq!(status.code(), Code::Aborted);
    let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert_eq!(retry, Some(RETRY_DELAY));
}
