//! The only place that prints.

use std::io::{self, ErrorKind, Write};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::Failure;

/// Prints data, a line, to stdout. A reader that has seen enough, as `head` has, is no failure.
pub(super) fn print(line: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("stdout cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints talk, a line, to stderr. There is nobody to tell when that fails.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A point in time, for people and machines alike: RFC 3339 in UTC, to the second.
pub(super) fn timestamp(time: OffsetDateTime) -> String {
    let time = time.replace_nanosecond(0).unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_default()
}

/// As [`timestamp`], for what may not be set.
pub(super) fn optional_timestamp(time: Option<OffsetDateTime>) -> Option<String> {
    time.map(timestamp)
}
