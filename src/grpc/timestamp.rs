//! Times in messages.

use std::num::NonZeroU8;

use time::{
    OffsetDateTime, UtcOffset,
    format_description::well_known::{
        Iso8601, Rfc3339,
        iso8601::{Config, EncodedConfig, TimePrecision},
    },
};

use crate::domain::{Cause, Error};

/// RFC 3339 with three digits after the second, as the JSON of a protobuf timestamp has it.
const MILLISECONDS: EncodedConfig = Config::DEFAULT
    .set_time_precision(TimePrecision::Second {
        decimal_digits: NonZeroU8::new(3),
    })
    .encode();

/// A time to the second: the databases store times with different precisions.
pub(super) fn text(time: OffsetDateTime) -> Result<String, Error> {
    let time = time.to_offset(UtcOffset::UTC);
    let seconds = time.replace_nanosecond(0).unwrap_or(time);
    // Only years with five digits cannot be formatted.
    seconds
        .format(&Rfc3339)
        .map_err(|error| Error::Internal(Cause::new(error)))
}

/// A time to the millisecond.
pub(super) fn precise_text(time: OffsetDateTime) -> Result<String, Error> {
    let time = time.to_offset(UtcOffset::UTC);
    // The format would round, to 60 seconds in the worst case.
    let milliseconds = time.replace_millisecond(time.millisecond()).unwrap_or(time);
    milliseconds
        .format(&Iso8601::<MILLISECONDS>)
        .map_err(|error| Error::Internal(Cause::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_have_three_digits() {
        for (nanoseconds, expected) in [
            (1_796_033_626_000_000_000, "2026-11-30T10:13:46.000Z"),
            (1_796_033_626_170_000_000, "2026-11-30T10:13:46.170Z"),
            (1_796_033_626_170_999_999, "2026-11-30T10:13:46.170Z"),
            (1_796_033_626_999_999_999, "2026-11-30T10:13:46.999Z"),
        ] {
            let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).expect("a time");
            assert_eq!(precise_text(time).expect("a text"), expected);
        }
    }
}
