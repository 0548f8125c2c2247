//! Writes the log on a thread of its own. If nobody reads it, this thread waits, but no call does.
//!
//! Lines that come in quick succession are written together. `tracing-appender` wakes its thread for each line, which made small
//! calls 4 to 8 % slower.

use std::{
    io::{self, ErrorKind, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

use crate::{
    cli::output,
    telemetry::metrics::{self, LostLines},
};

/// The most bytes of lines that wait to be written. Further lines are dropped.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// How long lines are collected after a write, before the next one.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the end of the program may wait for the last lines.
const FLUSH: Duration = Duration::from_secs(1);

/// Takes lines, and never waits.
#[derive(Debug, Clone)]
pub(super) struct LogWriter(Arc<Shared>);

/// The thread that writes the log.
#[derive(Debug)]
pub(super) struct LogThread {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Notified of the first line that waits, and of the end.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    /// How many lines were dropped so far.
    dropped: usize,
    is_closed: bool,
}

impl LogWriter {
    /// Starts the thread, which writes to `output`.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<(Self, LogThread)> {
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        let write = move || of_thread.write_all(output);
        let thread = thread::Builder::new().name("log".into()).spawn(write)?;
        Ok((Self(Arc::clone(&shared)), LogThread { shared, thread }))
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.0.waiting();
        if waiting.lines.len() + line.len() > MOST_BYTES {
            waiting.dropped += 1;
            metrics::log_lines_lost(LostLines::TooSlow, waiting.dropped);
            return Ok(line.len());
        }
        let is_first = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.0.changed.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl LogThread {
    /// Writes the last lines, within a bound. Later lines are lost.
    pub(super) fn flush(self) {
        self.shared.waiting().is_closed = true;
        self.shared.changed.notify_one();
        // It ends unless writing blocks.
        output::within(FLUSH, move || drop(self.thread.join()));
    }
}

impl Shared {
    /// Writes all lines until the end.
    fn write_all(&self, mut output: impl Write) {
        let mut lost = 0;
        let mut lines = Vec::new();
        loop {
            let is_closed = self.take(&mut lines);
            let failed = write(&mut output, &lines);
            if failed > 0 {
                lost += failed;
                metrics::log_lines_lost(LostLines::NotWritten, lost);
            }
            if is_closed {
                return;
            }
            let is_open = |waiting: &mut Waiting| !waiting.is_closed;
            drop(self.changed.wait_timeout_while(self.waiting(), PAUSE, is_open));
        }
    }

    /// Waits for lines, moves them to `lines`, and returns whether they are the last ones.
    fn take(&self, lines: &mut Vec<u8>) -> bool {
        let is_wanted = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.is_closed;
        let waiting = self.changed.wait_while(self.waiting(), is_wanted);
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        lines.clear();
        std::mem::swap(lines, &mut waiting.lines);
        waiting.is_closed
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes lines, and returns how many could not be written: their reader has gone, or a disk is full.
fn write(output: &mut impl Write, mut lines: &[u8]) -> usize {
    while !lines.is_empty() {
        match output.write(lines) {
            Ok(0) => break,
            Ok(count) => lines = lines.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    memchr::memchr_iter(b'\n', lines).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An output that shows what was written.
    #[derive(Debug, Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
            // A part, as a pipe may take.
            let part = &lines[..lines.len().min(100)];
            self.0.lock().expect("no panic").extend_from_slice(part);
            Ok(part.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_whole_and_in_order() {
        const WRITERS: usize = 4;
        const LINES: usize = 5_000;
        let written = Written::default();
        let (writer, thread) = LogWriter::start(written.clone()).expect("a thread");
        thread::scope(|scope| {
            for number in 0..WRITERS {
                let mut writer = writer.clone();
                scope.spawn(move || {
                    for line in 0..LINES {
                        let line = format!("{number} {line}\n");
                        writer.write_all(line.as_bytes()).expect("taken");
                    }
                });
            }
        });
        thread.flush();
        let text = String::from_utf8(written.0.lock().expect("no panic").clone()).expect("text");
        for number in 0..WRITERS {
            let own = text.lines().filter_map(|line| line.strip_prefix(&format!("{number} ")));
            assert!(own.eq((0..LINES).map(|line| line.to_string())), "of {number}");
        }
    }

    #[test]
    fn an_output_that_blocks_blocks_nobody_else() {
        let (reader, output) = io::pipe().expect("a pipe");
        let (mut writer, thread) = LogWriter::start(output).expect("a thread");
        let line = [b'.'; 64 * 1024];
        let most = 2 * MOST_BYTES / line.len();
        for _ in 0..most {
            writer.write_all(&line).expect("taken or dropped");
        }
        let dropped = writer.0.waiting().dropped;
        assert!((1..most).contains(&dropped), "{dropped}");
        thread.flush();
        drop(reader);
    }

    #[test]
    fn lines_that_are_not_written_are_counted() {
        let (reader, mut output) = io::pipe().expect("a pipe");
        drop(reader);
        assert_eq!(write(&mut output, b"one\ntwo\n"), 2);
        assert_eq!(write(&mut Written::default(), b"one\ntwo\n"), 0);
    }
}
