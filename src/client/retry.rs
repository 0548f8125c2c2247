//! When a call that failed is sent again.

use std::time::{Duration, Instant};

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{ClientError, connect::answer};

/// The pause before a retry when the service names none; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause that is kept when the service asks for one.
const LONGEST_ASKED: Duration = Duration::from_secs(3_600);

/// The attempts of one call.
#[derive(Debug)]
pub(super) struct Retry {
    retry_for: Duration,
    failing_since: Option<Instant>,
    pause: Duration,
}

impl Retry {
    /// A call that is sent again for so long.
    pub(super) fn new(retry_for: Duration) -> Self {
        Self {
            retry_for,
            failing_since: None,
            pause: FIRST_PAUSE,
        }
    }

    /// How long to wait before the call is sent again. `last_success` is when another call of the run succeeded.
    ///
    /// # Errors
    /// When it has failed for too long.
    pub(super) fn pause(&mut self, status: &Status, last_success: Option<Instant>) -> Result<Duration, ClientError> {
        let asked = status.get_details_retry_info().and_then(|info| info.retry_delay);
        // Not earlier than the service says, and not all calls at once.
        let wait = match asked {
            Some(asked) => asked.min(LONGEST_ASKED).mul_f64(rand::random_range(1.0..1.5)),
            None => self.pause.mul_f64(rand::random_range(0.5..1.0)),
        };
        let began = *self.failing_since.get_or_insert_with(Instant::now);
        // While other calls succeed, this one will: the calls of one key share a rate limit.
        let failing_since = last_success.map_or(began, |success| success.max(began));
        if failing_since.elapsed() + wait > self.retry_for {
            return Err(ClientError::GaveUp {
                retried_for: self.retry_for,
                answer: answer(status),
            });
        }
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
        Ok(wait)
    }
}

/// Whether the same call may succeed later: when the service says so, and when it did not answer. The outcome may be unknown
/// then, and the call is idempotent.
pub(super) fn may_succeed_later(status: &Status) -> bool {
    let is_answer = status.get_details_error_info().is_some();
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted | Code::Aborted | Code::DeadlineExceeded => true,
        Code::Cancelled | Code::Unknown | Code::Internal => !is_answer,
        _ => false,
    }
}
