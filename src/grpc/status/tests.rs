//! What `docs/ERRORS.md` says of each reason is what callers are told.

use super::*;
use crate::{
    code::code_name,
    domain::{Cause, Metered},
};

const DOCUMENT: &str = include_str!("../../../docs/ERRORS.md");

/// The reason after this one. A new one has to be in this chain, or it does not compile.
fn after(reason: Reason) -> Option<Reason> {
    Some(match reason {
        Reason::MissingApiKey => Reason::InvalidApiKey,
        Reason::InvalidApiKey => Reason::RepeatedApiKey,
        Reason::RepeatedApiKey => Reason::InvalidMessage,
        Reason::InvalidMessage => Reason::InvalidRequest,
        Reason::InvalidRequest => Reason::NoValidDevices,
        Reason::NoValidDevices => Reason::NotFound,
        Reason::NotFound => Reason::AlreadyExists,
        Reason::AlreadyExists => Reason::RateLimited,
        Reason::RateLimited => Reason::TooManyFailedKeys,
        Reason::TooManyFailedKeys => Reason::Overloaded,
        Reason::Overloaded => Reason::QueueFull,
        Reason::QueueFull => Reason::DeadlineExceeded,
        Reason::DeadlineExceeded => Reason::ShuttingDown,
        Reason::ShuttingDown => Reason::Unavailable,
        Reason::Unavailable => Reason::Internal,
        Reason::Internal => return None,
    })
}

/// A status with this reason, as the service makes it.
fn status(reason: Reason) -> Status {
    let retry_after = Duration::from_secs(3);
    to_status(&match reason {
        Reason::InvalidMessage => {
            let sentence = "The request is no valid message of this method".to_owned();
            return with_reason(Code::InvalidArgument, sentence, reason);
        }
        Reason::MissingApiKey => Error::MissingApiKey,
        Reason::InvalidApiKey => Error::InvalidApiKey,
        Reason::RepeatedApiKey => Error::RepeatedApiKey,
        Reason::InvalidRequest => Error::InvalidRequest(Violations::default()),
        Reason::NoValidDevices => Error::NoValidDevices { count: 3 },
        Reason::NotFound => Error::NotFound("no such thing".into()),
        Reason::AlreadyExists => Error::AlreadyExists("there is one".into()),
        Reason::RateLimited => Error::RateLimited {
            of: Metered::Calls,
            retry_after,
        },
        Reason::TooManyFailedKeys => Error::TooManyFailedKeys { retry_after },
        Reason::Overloaded => Error::Overloaded,
        Reason::QueueFull => Error::QueueFull { retry_after },
        Reason::DeadlineExceeded => Error::DeadlineExceeded,
        Reason::ShuttingDown => Error::ShuttingDown,
        Reason::Unavailable => Error::Unavailable(Cause::new("gone")),
        Reason::Internal => Error::Internal(Cause::new("broken")),
    })
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
fn every_reason_is_documented_and_no_other() {
    let mut documented: Vec<(&str, &str, &str)> = Vec::new();
    let rows = DOCUMENT.split("\n## ").find(|section| section.starts_with("Reasons\n"));
    for row in rows.expect("a table").lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, reason, code, _, sentence, ..] = cells.as_slice() else {
            panic!("{row}");
        };
        documented.push((reason, code, sentence));
    }
    documented.remove(0); // what the columns are
    let mut reason = Some(Reason::MissingApiKey);
    while let Some(this) = reason {
        let status = status(this);
        let details = status.get_error_details();
        let name = details.error_info().expect("a reason").reason.as_str();
        assert_eq!(name, this.name());
        let at = documented.iter().position(|(reason, ..)| *reason == name);
        let (_, code, sentence) = documented.remove(at.unwrap_or_else(|| panic!("{name} is not documented")));
        assert_eq!(code, code_name(status.code()), "{name}");
        // In italics, what the sentence is about.
        if !sentence.starts_with('*') {
            assert!(is_sentence(status.message(), sentence), "{name}: {}", status.message());
        }
        reason = after(this);
    }
    assert!(documented.is_empty(), "there is nothing of the kind: {documented:?}");
}
