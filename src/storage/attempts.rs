//! When to try again what another writer came in the way of.

use std::time::Duration;

use super::DatabaseError;

/// How often something is tried. Each rerun means that another writer has committed rows that this one wanted to create,
/// so that there are fewer left to collide on.
const ATTEMPTS: u32 = 16;
/// The longest pause before a rerun; the actual one is random, so that two that collided do not collide again.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// How often something was tried.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    failed: u32,
}

impl Attempts {
    /// Whether the same again may succeed after it failed so.
    pub(super) fn may_succeed_after(&mut self, failure: &DatabaseError) -> bool {
        self.failed += 1;
        if !matches!(failure, DatabaseError::Conflict(_)) || self.failed >= ATTEMPTS {
            return false;
        }
        tracing::debug!(attempt = self.failed, %failure, "running a transaction again");
        true
    }
}

/// Waits between two attempts.
pub(super) async fn pause() {
    tokio::time::sleep(rand::random_range(Duration::ZERO..LONGEST_PAUSE)).await;
}
