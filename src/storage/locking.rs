//! Locks of organizations: when a writer takes one, and how long it waits.

use std::time::Duration;

/// The longest wait of one statement for a lock: less than the statement's own time-out.
pub(super) const LONGEST_LOCK_WAIT: Duration = Duration::from_secs(4);

/// How the first attempt of a batch treats other instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locking {
    /// It hopes that none comes first.
    Optimistic,
    /// It locks its organization first: a large group would lose against small ones for ever.
    Exclusive,
}

/// How long an attempt to commit a group may wait for the lock of its organization, and how long all attempts have waited.
#[derive(Debug)]
pub(super) struct LockWait {
    pub(super) longest: Duration,
    pub(super) waited: Duration,
}

impl LockWait {
    /// A wait of at most `longest`, and of at most [`LONGEST_LOCK_WAIT`].
    pub(super) fn up_to(longest: Duration) -> Self {
        Self {
            longest: longest.min(LONGEST_LOCK_WAIT),
            waited: Duration::ZERO,
        }
    }

    /// How long all attempts have waited.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }
}
