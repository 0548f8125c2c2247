//! Writes the log on a thread of its own. If nobody reads it, this thread waits, but no call does.

use std::{
    io::{self, BufWriter, ErrorKind, Stderr, Write},
    time::Duration,
};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    cli::output,
    telemetry::metrics::{self, LostLines},
};

/// The most lines that wait to be written: about 4 MiB. Further ones are dropped.
const WAITING_LINES: usize = 8_192;
/// The most bytes of lines that are written together, unless one line is longer. Linux writes up to this many bytes to a pipe in
/// one piece (PIPE_BUF), so lines of several programs do not mix.
const BYTES_TOGETHER: usize = 4_096;
/// How long the end of the program may wait for the last lines. The library itself gives up after 1.1 seconds.
const FLUSH: Duration = Duration::from_millis(1_200);

/// Takes lines for stderr, and never waits.
#[derive(Debug, Clone)]
pub(super) struct LogWriter {
    lines: NonBlocking,
    dropped: ErrorCounter,
}

/// The thread that writes the log.
#[derive(Debug)]
pub(super) struct LogThread(WorkerGuard);

impl LogWriter {
    /// Starts the thread.
    pub(super) fn start() -> (Self, LogThread) {
        let output = LogOutput {
            stderr: io::stderr(),
            lost: 0,
        };
        let (lines, thread) = NonBlockingBuilder::default()
            .buffered_lines_limit(WAITING_LINES)
            .lossy(true)
            .thread_name("log")
            .finish(BufWriter::with_capacity(BYTES_TOGETHER, output));
        let dropped = lines.error_counter();
        (Self { lines, dropped }, LogThread(thread))
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let before = self.dropped.dropped_lines();
        let written = self.lines.write(line)?;
        let dropped = self.dropped.dropped_lines();
        if dropped > before {
            metrics::log_lines_lost(LostLines::TooSlow, dropped);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.flush()
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl LogThread {
    /// Waits until the last lines are written, within a bound.
    pub(super) fn flush(self) {
        // When the guard cannot reach the thread, it prints that, which can block, too.
        let Self(guard) = self;
        output::within(FLUSH, move || drop(guard));
    }
}

/// Writes to stderr. Lines that it does not take, because their reader has gone or a disk is full, are counted and gone.
#[derive(Debug)]
struct LogOutput {
    stderr: Stderr,
    lost: usize,
}

impl Write for LogOutput {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        match self.stderr.write(lines) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                self.lost += memchr::memchr_iter(b'\n', lines).count();
                metrics::log_lines_lost(LostLines::NotWritten, self.lost);
                Ok(lines.len())
            }
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
