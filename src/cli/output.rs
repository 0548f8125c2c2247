//! The only place that prints.

use std::{
    env,
    io::{self, ErrorKind, IsTerminal, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::CommandError;

/// Prints a line of data to stdout. A reader that stops early, as `head` does, is not an error.
pub(super) fn print(line: &str) -> Result<(), CommandError> {
    print_lines([line]).map(drop)
}

/// Prints lines to stdout, and returns whether the reader is still there.
pub(super) fn print_lines<Line: AsRef<str>>(lines: impl IntoIterator<Item = Line>) -> Result<bool, CommandError> {
    let mut text = String::new();
    for line in lines {
        text.push_str(line.as_ref());
        text.push('\n');
    }
    print_bytes(text.as_bytes())
}

/// A message as a line of JSON, as the REST API has it.
///
/// # Errors
/// A bug: messages are always JSON.
pub(super) fn json_line(message: &impl Serialize) -> Result<String, CommandError> {
    serde_json::to_string(message).map_err(|error| {
        CommandError::Failed(format!(
            "the response cannot be printed as JSON: {error}; report this bug"
        ))
    })
}

/// As [`print_lines`], for bytes.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<bool, CommandError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CommandError::Failed(format!("stdout cannot be written: {error}"))),
    }
}

/// Whether stdout is a terminal.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether the terminal, if there is one, can only print.
pub(super) fn is_dumb_terminal() -> bool {
    env::var_os("TERM").is_none_or(|kind| kind == "dumb")
}

/// Prints a message to stderr. If that fails, nobody can be told.
pub(super) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Does `work`, and waits for it no longer than `limit`. What writes to a pipe that nobody reads would wait for ever.
pub(super) fn within(limit: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel::<()>();
    thread::spawn(move || {
        work();
        drop(done);
    });
    let _ = is_done.recv_timeout(limit);
}

/// A point in time, for people and machines alike: RFC 3339 in UTC, to the second.
pub(super) fn timestamp(time: OffsetDateTime) -> String {
    let time = time.replace_nanosecond(0).unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_default()
}

/// As [`timestamp`], for a time that may be missing.
pub(super) fn optional_timestamp(time: Option<OffsetDateTime>) -> Option<String> {
    time.map(timestamp)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_not_json_is_an_error() {
        assert_eq!(json_line(&BTreeMap::from([("a", 1)])).expect("JSON"), r#"{"a":1}"#);
        // A name of a member is text.
        assert!(json_line(&BTreeMap::from([((1, 2), 3)])).is_err());
    }
}
