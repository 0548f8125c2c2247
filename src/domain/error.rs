//! The one error of the service. Its text is what a caller reads; what only the log may know is its [`Cause`].

use std::{fmt, sync::Arc, time::Duration};

use super::{Violations, plan::NoValidDevices};
use crate::error_chain::error_chain;

/// Why a call was not carried out. `Display` prints the sentence that the caller reads.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The call carries no API key.
    #[error("Missing API key")]
    MissingApiKey,
    /// The API key is malformed, unknown, revoked or expired: which of them, a stranger does not learn.
    #[error("Invalid API key")]
    InvalidApiKey,
    /// The call carries more than one API key.
    #[error("x-api-key is given twice; send it once")]
    RepeatedApiKey,
    /// Fields break their rules.
    #[error("{}", .0.sentence())]
    InvalidRequest(Violations),
    /// No identifier leads to a device, and none may be created.
    #[error(
        "No valid devices: none of the {count} device identifiers exist in your organization; \
         set autoCreateDevices to create them"
    )]
    NoValidDevices {
        /// How many distinct identifiers were asked for.
        count: usize,
    },
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The name is taken.
    #[error("{0}")]
    AlreadyExists(String),
    /// The limit of the API key is reached.
    #[error("Too many {of} with this API key; try again in {} s", .retry_after.as_secs())]
    RateLimited {
        /// What there is too much of.
        of: Metered,
        /// How long to wait, in whole seconds.
        retry_after: Duration,
    },
    /// The caller's address has shown too many wrong keys.
    #[error("Too many invalid API keys from this address; try again in {} s", .retry_after.as_secs())]
    TooManyFailedKeys {
        /// How long to wait, in whole seconds.
        retry_after: Duration,
    },
    /// As many calls are under way as may be.
    #[error("Too many calls are under way; try again shortly")]
    Overloaded,
    /// Requests and answers in flight hold as many bytes as they may.
    #[error("Too many bytes of requests and answers are in flight; try again shortly")]
    NoRoom,
    /// As many calls wait as may wait, or more than can be carried out in this call's time.
    #[error("Too many calls are waiting; try again in {} s", .retry_after.as_secs())]
    QueueFull {
        /// How long it takes until there is room, in whole seconds.
        retry_after: Duration,
    },
    /// The call's time was over before it was carried out.
    #[error("Deadline exceeded")]
    DeadlineExceeded,
    /// The service is stopping.
    #[error("The service is shutting down; try again")]
    ShuttingDown,
    /// The database cannot be reached, cannot be written or is overloaded, or the outcome of a commit is unknown.
    #[error("Service temporarily unavailable; try again shortly")]
    Unavailable(Cause),
    /// A fault of the service.
    #[error("Internal error")]
    Internal(Cause),
}

/// What the limits of an API key count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metered {
    /// Calls.
    Calls,
    /// Device identifiers.
    Devices,
}

impl Metered {
    /// Its name, as callers read it.
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

/// What lies behind an error: for the log, never for a caller.
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

impl From<NoValidDevices> for Error {
    fn from(NoValidDevices { count }: NoValidDevices) -> Self {
        Self::NoValidDevices { count }
    }
}
