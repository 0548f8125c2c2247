//! Durations as callers get them: in whole seconds.

use std::time::Duration;

/// Whole seconds, rounded up: a caller that comes back too early fails again.
pub(crate) fn ceil_seconds(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_add(u64::from(duration.subsec_nanos() > 0))
}

/// `wait` in whole seconds, rounded up, and at least one.
pub(crate) fn ceil_to_seconds(wait: Duration) -> Duration {
    Duration::from_secs(ceil_seconds(wait).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_up() {
        for (millis, seconds, wait) in [(0, 0, 1), (1, 1, 1), (1_000, 1, 1), (1_001, 2, 2)] {
            let duration = Duration::from_millis(millis);
            assert_eq!(ceil_seconds(duration), seconds);
            assert_eq!(ceil_to_seconds(duration), Duration::from_secs(wait));
        }
        assert_eq!(ceil_seconds(Duration::MAX), u64::MAX);
    }
}
