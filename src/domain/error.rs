//! The error of all modules. It speaks of the domain; the protocols make the sentences that name their fields and headers.
//! What only the log may show is in its [`Cause`].

use std::{fmt, sync::Arc, time::Duration};

use super::{Field, Violations, change::Revision};
use crate::error_chain::error_chain;

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The call carries no API key.
    #[error("Missing API key")]
    MissingApiKey,
    /// The API key is malformed, unknown, revoked or expired. Callers do not learn which.
    #[error("Invalid API key")]
    InvalidApiKey,
    /// The call carries its API key more than once.
    #[error("The API key is given twice")]
    RepeatedApiKey,
    /// The call carries two different API keys.
    #[error("Different API keys are given")]
    ConflictingApiKeys,
    /// The API key may only read.
    #[error("The API key may only read")]
    ScopeMissing,
    /// Fields are invalid.
    #[error("{} field(s) are invalid", .0.count())]
    InvalidRequest(Violations),
    /// None of the devices exists, and the call may not create them.
    #[error("None of the {count} devices exist")]
    NoValidDevices {
        /// How many distinct identifiers the call has.
        count: usize,
    },
    /// The organization has no customer with the value of this field.
    #[error("There is no such customer in your organization")]
    CustomerNotFound(Field),
    /// The organization has no device with this identifier.
    #[error("There is no device with this identifier in your organization")]
    DeviceNotFound,
    /// Another customer of the organization has this email address.
    #[error("Another customer of your organization has this email address")]
    CustomerExists,
    /// The device does not exist, or does not belong to this customer.
    #[error("The device is not assigned to this customer")]
    NotAssigned,
    /// The page token is not one of this query.
    #[error("page_token is invalid: send the next_page_token of the same query, unchanged")]
    InvalidPageToken,
    /// None of the devices belongs to the customer whom the caller expects to own them.
    #[error("None of the devices belongs to the expected owner")]
    NotOfExpectedOwner,
    /// The devices have more owners than one transfer removes.
    #[error(
        "The devices have too many owners: a transfer removes at most 100 owners of a device and 10000 in all; unassign some of \
         them first, or transfer fewer devices"
    )]
    TooManyOwners,
    /// The caller wants to read at a revision that the organization has not reached.
    #[error("The organization's current revision is {current}; the request names a later one")]
    RevisionInFuture {
        /// The current revision.
        current: Revision,
    },
    /// The idempotency key was used for another request.
    #[error("The idempotency key was used for another request")]
    IdempotencyKeyReused,
    /// The call with this idempotency key was carried out before, and its answer was erased with a customer that it named.
    #[error("The answer of the call with this idempotency key was erased with a customer")]
    AnswerErased,
    /// The revision that the caller wants to go on from belongs to another history.
    #[error(
        "These changes are no longer available; list what you need again, and follow from the revision of that list"
    )]
    ChangesExpired,
    /// The API key or the instance has as many streams of changes as it may have.
    #[error("Too many streams of changes are open: at most {limit} {scope}")]
    TooManyStreams {
        /// The most streams.
        limit: usize,
        /// Of what.
        scope: StreamScope,
    },
    /// Other writers changed the organization before each of many attempts.
    #[error("Too many concurrent changes in this organization; try again shortly")]
    TooMuchContention,
    /// What an operator names does not exist. The text says what; callers never see it.
    #[error("{0}")]
    NotFound(String),
    /// What an operator creates exists already. The text says what; callers never see it.
    #[error("{0}")]
    AlreadyExists(String),
    /// The API key has reached a rate limit.
    #[error("Too many {of} with this API key; try again in {} s", .retry_after.as_secs())]
    RateLimited {
        /// What the limit counts.
        of: Metered,
        /// The most of them at once.
        limit: u32,
        /// How long to wait, in whole seconds.
        retry_after: Duration,
    },
    /// Too many invalid keys came from the caller's address.
    #[error("Too many invalid API keys from this address; try again in {} s", .retry_after.as_secs())]
    TooManyFailedKeys {
        /// How long to wait, in whole seconds.
        retry_after: Duration,
    },
    /// Too many calls are in flight.
    #[error("Too many calls are in flight; try again shortly")]
    Overloaded,
    /// Requests and responses in flight take too many bytes.
    #[error("Too many bytes of requests and responses are in flight; try again shortly")]
    NoRoom,
    /// Too many calls wait for the database, in all or for the deadline of this call.
    #[error("Too many calls are waiting; try again in {} s", .retry_after.as_secs())]
    QueueFull {
        /// How long it takes until there is room, in whole seconds.
        retry_after: Duration,
    },
    /// The deadline of the call passed before it was carried out.
    #[error("Deadline exceeded")]
    DeadlineExceeded,
    /// The service is shutting down.
    #[error("The service is shutting down; try again")]
    ShuttingDown,
    /// The database cannot be reached, cannot be written or is overloaded, or the outcome of a commit is unknown.
    #[error("Service temporarily unavailable; try again shortly")]
    Unavailable(Cause),
    /// A fault of the service.
    #[error("Internal error")]
    Internal(Cause),
}

/// What a limit on streams of changes applies to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamScope {
    /// The streams of one API key.
    ApiKey,
    /// All streams of an instance, shared among its organizations.
    Instance,
}

impl fmt::Display for StreamScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ApiKey => "with one API key",
            Self::Instance => "on one instance, shared among its organizations",
        })
    }
}

/// What the rate limits of an API key count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metered {
    /// Calls.
    Calls,
    /// Device identifiers.
    Devices,
}

impl Metered {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Devices => "devices",
        }
    }
}

impl fmt::Display for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The cause of an error: for the log, never for a caller.
#[derive(Clone)]
pub struct Cause(Arc<dyn std::error::Error + Send + Sync>);

impl Cause {
    /// Keeps `error` for the log.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&error_chain(self.0.as_ref()))
    }
}
