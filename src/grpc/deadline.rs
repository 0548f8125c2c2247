//! The deadline of a call: from `grpc-timeout` or a default, up to a maximum.

use std::time::{Duration, Instant};

use axum::response::Response;
use http::{HeaderMap, Request};

use super::status::to_status;
use crate::domain::Error;

/// The deadline of a call; an extension of every request that needs a key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(pub(super) Instant);

/// The deadline of `request`: what the caller asks for, else `default`, and at most `max`.
pub(super) fn of<B>(request: &Request<B>, default: Duration, max: Duration) -> Deadline {
    after(grpc_timeout(request.headers()).unwrap_or(default).min(max))
}

/// The deadline of a stream: what the caller asks for.
pub(super) fn of_stream<B>(request: &Request<B>) -> Deadline {
    /// As good as none. The runtime cannot wait for longer.
    const NONE: Duration = Duration::from_secs(365 * 24 * 3_600);
    of(request, NONE, NONE)
}

impl Deadline {
    /// The earlier of the two.
    pub(super) fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }
}

/// The deadline after this time from now.
pub(super) fn after(timeout: Duration) -> Deadline {
    Deadline(Instant::now() + timeout)
}

/// Runs the call until its deadline, then answers DEADLINE_EXCEEDED. Dropping a call is safe.
pub(super) async fn hold(deadline: Deadline, call: impl Future<Output = Response>) -> Response {
    match tokio::time::timeout_at(deadline.0.into(), call).await {
        Ok(response) => response,
        Err(_elapsed) => to_status(&Error::DeadlineExceeded).into_http(),
    }
}

/// Parses `grpc-timeout`: at most eight digits and a unit (gRPC over HTTP/2, "Timeout"). Invalid values are ignored.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3_600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Duration> {
        let value = text.parse().expect("a header value");
        grpc_timeout(&HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-timeout"),
            value,
        )]))
    }

    #[test]
    fn every_unit_is_parsed() {
        assert_eq!(read("2H"), Some(Duration::from_secs(7_200)));
        assert_eq!(read("3M"), Some(Duration::from_secs(180)));
        assert_eq!(read("10S"), Some(Duration::from_secs(10)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("7u"), Some(Duration::from_micros(7)));
        assert_eq!(read("99999999n"), Some(Duration::from_nanos(99_999_999)));
    }

    #[test]
    fn invalid_timeouts_are_ignored() {
        for text in ["", "S", "10", "10s", "+1S", "-1S", "1.5S", "123456789S", "1 S"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
