//! Why calls fail, for programs: the reasons of google.rpc.ErrorInfo, which REST shows as the member `reason`.

use tonic::Code;

/// Who names the reasons (the domain of google.rpc.ErrorInfo).
pub const DOMAIN: &str = "telemetron.ai";

/// Defines the reasons, each with its name and the code that it belongs to.
macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident = $name:literal, $code:ident;)+) => {
        /// Why a call failed. A released name never changes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Reason {
            $($(#[$doc])* $reason,)+
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$reason,)+];

            /// The reason with this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.name() == name)
            }

            /// The name that callers read.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)+
                }
            }

            /// The code of an error with this reason.
            pub const fn code(self) -> Code {
                match self {
                    $(Self::$reason => Code::$code,)+
                }
            }
        }
    };
}

reasons! {
    /// The call carries no API key.
    MissingApiKey = "MISSING_API_KEY", Unauthenticated;
    /// The API key is malformed, unknown, revoked or expired.
    InvalidApiKey = "INVALID_API_KEY", Unauthenticated;
    /// `x-api-key` and `Authorization` carry different API keys.
    ConflictingApiKeys = "CONFLICTING_API_KEYS", Unauthenticated;
    /// A header that carries the API key is repeated.
    RepeatedApiKey = "REPEATED_API_KEY", InvalidArgument;
    /// The API key may only read.
    ScopeMissing = "SCOPE_MISSING", PermissionDenied;
    /// gRPC: the message cannot be read, or is too large.
    InvalidMessage = "INVALID_MESSAGE", InvalidArgument;
    /// REST: the body is not valid JSON, or not the JSON of the request.
    InvalidJson = "INVALID_JSON", InvalidArgument;
    /// Fields are invalid.
    InvalidRequest = "INVALID_REQUEST", InvalidArgument;
    /// None of the devices exists, and the call may not create them.
    NoValidDevices = "NO_VALID_DEVICES", FailedPrecondition;
    /// The organization has no customer with this email address or id.
    CustomerNotFound = "CUSTOMER_NOT_FOUND", NotFound;
    /// The organization has no device with this identifier.
    DeviceNotFound = "DEVICE_NOT_FOUND", NotFound;
    /// Another customer of the organization has this email address.
    CustomerExists = "CUSTOMER_EXISTS", AlreadyExists;
    /// The device does not exist, or does not belong to this customer.
    NotAssigned = "NOT_ASSIGNED", FailedPrecondition;
    /// The page token is damaged, or belongs to another query.
    InvalidPageToken = "INVALID_PAGE_TOKEN", InvalidArgument;
    /// The devices have more owners than one transfer removes.
    TooManyOwners = "TOO_MANY_OWNERS", FailedPrecondition;
    /// The organization has not reached the revision that the call names.
    RevisionInFuture = "REVISION_IN_FUTURE", InvalidArgument;
    /// The idempotency key was used for another request. REST: 422.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", FailedPrecondition;
    /// The call with this idempotency key was carried out before, and its response was erased with a customer. REST: 422.
    AnswerErased = "ANSWER_ERASED", FailedPrecondition;
    /// The changes after this revision are no longer available: they belong to another history.
    ChangesExpired = "CHANGES_EXPIRED", OutOfRange;
    /// The API key or the instance has as many streams of changes as it may have.
    TooManyStreams = "TOO_MANY_STREAMS", ResourceExhausted;
    /// Other writers changed the organization each time that the call was tried.
    TooMuchContention = "TOO_MUCH_CONTENTION", Aborted;
    /// Something that the call names does not exist. Reserved.
    NotFound = "NOT_FOUND", NotFound;
    /// Something that the call creates exists. Reserved.
    AlreadyExists = "ALREADY_EXISTS", AlreadyExists;
    /// The API key has reached a rate limit.
    RateLimited = "RATE_LIMITED", ResourceExhausted;
    /// Too many invalid API keys came from the caller's address.
    TooManyFailedKeys = "TOO_MANY_FAILED_KEYS", ResourceExhausted;
    /// Too many calls, or bytes of calls, are in flight.
    Overloaded = "OVERLOADED", ResourceExhausted;
    /// Too many calls are waiting for the database.
    QueueFull = "QUEUE_FULL", ResourceExhausted;
    /// The deadline of the call has passed. The outcome is unknown.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded;
    /// The caller cancelled the call.
    Cancelled = "CANCELLED", Cancelled;
    /// This instance is shutting down.
    ShuttingDown = "SHUTTING_DOWN", Unavailable;
    /// The database cannot be reached or written, or the outcome of a commit is unknown.
    Unavailable = "UNAVAILABLE", Unavailable;
    /// A fault of the service.
    Internal = "INTERNAL", Internal;
    /// gRPC: there is no such method or service.
    UnknownMethod = "UNKNOWN_METHOD", Unimplemented;
    /// The request is compressed in a way that the service does not support.
    UnsupportedEncoding = "UNSUPPORTED_ENCODING", Unimplemented;
    /// REST: there is nothing at this path (404).
    PathNotFound = "PATH_NOT_FOUND", NotFound;
    /// REST: the path does not support this method (405).
    MethodNotAllowed = "METHOD_NOT_ALLOWED", Unimplemented;
    /// REST: the body did not arrive in time (408). Nothing was done.
    RequestTimeout = "REQUEST_TIMEOUT", DeadlineExceeded;
    /// REST: the body is too large (413).
    RequestTooLarge = "REQUEST_TOO_LARGE", InvalidArgument;
    /// REST: the Content-Type is not JSON (415).
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", InvalidArgument;
    /// REST: the `Host` header is missing, repeated or invalid (400).
    InvalidHost = "INVALID_HOST", InvalidArgument;
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::code::code_name;

    #[test]
    fn every_reason_is_documented_with_its_code_and_no_other_is() {
        let sections = include_str!("../docs/ERRORS.md").split("\n## ");
        let tables = sections.filter(|section| section.contains("| reason | code |"));
        let rows = tables.flat_map(str::lines).filter(|line| line.starts_with("| "));
        let mut documented: Vec<(&str, &str)> = rows
            .filter_map(|row| {
                let mut cells = row.split('|').map(str::trim).skip(1);
                Some((cells.next()?, cells.next()?))
            })
            .filter(|(reason, _)| *reason != "reason")
            .collect();
        documented.sort_unstable();
        let mut expected: Vec<(&str, &str)> = Reason::ALL
            .iter()
            .map(|reason| (reason.name(), code_name(reason.code())))
            .collect();
        expected.sort_unstable();
        assert_eq!(documented, expected);
    }

    #[test]
    fn names_are_distinct_and_in_upper_snake_case() {
        let names: HashSet<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        for name in names {
            assert!(
                name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'),
                "{name}"
            );
        }
    }
}
