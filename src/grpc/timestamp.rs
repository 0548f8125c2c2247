//! Times in messages.

use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};

use crate::domain::{Cause, Error};

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
    let milliseconds = time.replace_millisecond(time.millisecond()).unwrap_or(time);
    milliseconds
        .format(&Rfc3339)
        .map_err(|error| Error::Internal(Cause::new(error)))
}
