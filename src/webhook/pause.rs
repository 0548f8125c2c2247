//! How long to wait before a change is posted again.

use std::time::{Duration, SystemTime};

/// The pause after the first failure; doubled each time, up to the longest.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
/// The longest pause that a receiver can ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(10 * 60);

/// The pause after `failures` earlier failures: not shorter than the receiver asks for, within limits, and different for each
/// sender. `random` is from 0 to 1.
pub(super) fn pause(failures: u32, asked: Option<Duration>, random: f64) -> Duration {
    let doubled = FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST);
    let own = doubled.mul_f64(0.5 + random / 2.0);
    match asked {
        Some(asked) => own.max(asked.min(LONGEST_ASKED).mul_f64(1.0 + random / 4.0)),
        None => own,
    }
}

/// The time to wait that a header Retry-After says: seconds, or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let pauses: Vec<u64> = [0, 1, 2, 6, 7, 8, u32::MAX]
            .iter()
            .map(|failures| pause(*failures, None, 1.0).as_millis().try_into().expect("small"))
            .collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 32_000, 60_000, 60_000, 60_000]);
    }

    proptest! {
        #[test]
        fn a_pause_is_within_its_limits(failures: u32, asked in proptest::option::of(any::<u64>()), random in 0.0..1.0) {
            let asked = asked.map(Duration::from_secs);
            let pause = pause(failures, asked, random);
            prop_assert!(pause >= FIRST / 2);
            prop_assert!(pause >= asked.unwrap_or_default().min(LONGEST_ASKED));
            prop_assert!(pause <= LONGEST.max(LONGEST_ASKED * 5 / 4));
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777); // the date below
        let cases = [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sat, 06 Nov 1993 08:49:37 GMT", Some(0)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ];
        for (value, seconds) in cases {
            assert_eq!(retry_after(value, now), seconds.map(Duration::from_secs), "{value:?}");
        }
    }
}
