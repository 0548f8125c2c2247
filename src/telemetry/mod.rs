//! Metrics and traces. Other modules use this one as they use `tracing`; it knows none of them.

mod exposition;
pub mod metrics;
pub mod trace;

use std::time::Duration;

pub use exposition::Exposition;

/// Milliseconds for the log, to the microsecond.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
