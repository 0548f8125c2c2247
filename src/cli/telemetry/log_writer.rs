//! Writes the log on a thread of its own. A program that takes the log and does not read it stops that thread, and no call.

use std::{
    io::{self, BufWriter, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;

use crate::telemetry::metrics;

/// The most lines that wait to be written: about 4 MiB. Further ones are dropped.
const WAITING_LINES: usize = 8_192;
/// The most bytes of lines that are written together, unless one line is longer. Linux writes so many to a pipe as a whole
/// (PIPE_BUF), so lines of several programs are not mixed.
const BYTES_TOGETHER: usize = 4_096;
/// How long the end of the program may wait for the last lines.
const FLUSH: Duration = Duration::from_secs(2);

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
        let (lines, thread) = NonBlockingBuilder::default()
            .buffered_lines_limit(WAITING_LINES)
            .lossy(true)
            .thread_name("log")
            .finish(BufWriter::with_capacity(BYTES_TOGETHER, io::stderr()));
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
            metrics::log_lines_dropped(dropped);
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
        let Self(guard) = self;
        let (flushed, is_flushed) = mpsc::channel::<()>();
        // When the guard cannot reach the thread, it prints that, which can block, too.
        thread::spawn(move || {
            drop(guard);
            drop(flushed);
        });
        let _ = is_flushed.recv_timeout(FLUSH);
    }
}
