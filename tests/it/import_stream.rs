//! An import while it runs, fed through a pipe that stays open: what memory it needs, and what a kill leaves.

use std::{
    fmt::Write as _,
    fs,
    process::{Output, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStderr, ChildStdin, Command},
};

use crate::{
    import::{import, report},
    support::{Kind, Suite, TestDatabase, organization, program::command},
};

/// Rows that are written in one transaction.
const BATCH: i64 = 1_000;
/// A row that is refused as soon as it is read: the sign that all before it was.
const BAD_ROW: &str = ",\n";

pub fn register(suite: &mut Suite) {
    suite.on_each("import_stream::reads_standard_input", from_stdin);
    suite.on_each("import_stream::memory_does_not_grow_with_the_list", memory);
    suite.on_each("import_stream::a_killed_import_leaves_whole_batches", killed);
}

async fn from_stdin(database: &'static TestDatabase) {
    organization(database, "acme").await;
    let mut running = Running::start(database).await;
    running.feed("SN-1,sensor\nSN-2,sensor").await;
    let output = running.finish().await;
    assert_eq!(report(&output, 0), [2, 0, 0, 0]);
    assert_eq!(database.count("device").await, 2);
}

/// A program that reads a list from a pipe.
pub struct Running {
    pub child: Child,
    /// Nothing while something else feeds it.
    pub stdin: Option<ChildStdin>,
    stderr: BufReader<ChildStderr>,
}

impl Running {
    /// Starts an import, and sends the header.
    async fn start(database: &TestDatabase) -> Self {
        let import = [
            "device",
            "import",
            "--json",
            "--organization",
            "acme",
            "--database-url",
            database.url(),
            "-",
        ];
        Self::spawn(command(&import), "identifier,type\n").await
    }

    /// Starts `command`, and sends the header.
    pub async fn spawn(mut command: Command, header: &str) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut running = Self {
            stdin: child.stdin.take(),
            stderr: BufReader::new(child.stderr.take().expect("a pipe")),
            child,
        };
        running.feed(header).await;
        running
    }

    pub async fn feed(&mut self, list: &str) {
        let stdin = self.stdin.as_mut().expect("a pipe");
        stdin.write_all(list.as_bytes()).await.expect("fed");
    }

    /// Returns when the program has refused the row that stands in this line.
    pub async fn refusal(&mut self, line: usize) {
        self.says(&format!("line {line}: ")).await;
    }

    /// Returns when the program has said something.
    pub async fn says(&mut self, expected: &str) {
        let mut said = String::new();
        while !said.contains(expected) {
            said.clear();
            let count = self.stderr.read_line(&mut said).await.expect("text");
            assert!(count > 0, "the program ended before it said {expected:?}");
        }
    }

    /// The most memory that the program has had so far, in KiB, without the pages of the program file: a debug build has 30 MiB
    /// of these, and more with every feature.
    pub fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id().expect("still running"));
        let status = fs::read_to_string(path).expect("a status");
        let kib = |name| {
            let value = status.lines().find_map(|line| line.strip_prefix(name));
            let value = value.expect("a value").trim().trim_end_matches(" kB");
            value.parse::<u64>().expect("a number")
        };
        kib("VmHWM:") - kib("RssFile:")
    }

    pub async fn finish(self) -> Output {
        drop(self.stdin);
        let mut stderr = self.stderr;
        let mut said = Vec::new();
        let (said_all, output) = tokio::join!(stderr.read_to_end(&mut said), self.child.wait_with_output());
        said_all.expect("text");
        let mut output = output.expect("an exit");
        output.stderr = said;
        output
    }
}

fn rows(numbers: std::ops::Range<usize>) -> String {
    let mut rows = String::new();
    for number in numbers {
        writeln!(rows, "SN-{number:09},sensor").expect("a string");
    }
    rows
}

async fn memory(database: &'static TestDatabase) {
    organization(database, "acme").await;
    let mut peaks = Vec::new();
    for (count, created) in [(20_000, 20_000), (200_000, 180_000)] {
        let mut running = Running::start(database).await;
        for start in (0..count).step_by(10_000) {
            running.feed(&rows(start..start + 10_000)).await;
        }
        running.feed(BAD_ROW).await;
        running.refusal(count + 2).await;
        peaks.push(running.peak_memory());
        let count = i64::try_from(count).expect("a number");
        assert_eq!(report(&running.finish().await, 1), [created, 0, count - created, 1]);
    }
    // SQLite keeps pages in this process, up to a bound.
    let cache = if database.kind == Kind::Sqlite { 64 * 1024 } else { 0 };
    assert!(peaks[1] < peaks[0] + cache + 16 * 1024, "peaks in KiB: {peaks:?}");
}

async fn killed(database: &'static TestDatabase) {
    organization(database, "acme").await;
    let mut running = Running::start(database).await;
    running.feed(&rows(0..5_500)).await;
    running.feed(BAD_ROW).await;
    running.refusal(5_502).await;
    // From here on it is busy: it is killed while it reads and writes.
    let mut stdin = running.stdin.take().expect("a pipe");
    let feeding = tokio::spawn(async move {
        let mut next = 5_500;
        while stdin.write_all(rows(next..next + 1_000).as_bytes()).await.is_ok() {
            next += 1_000;
        }
    });
    let more = format!("SELECT count(*) FROM device WHERE identifier >= 'SN-{:09}'", 8_000);
    while database.number(&more).await == 0 {
        assert!(running.child.try_wait().expect("a status").is_none(), "ended too early");
    }
    running.child.kill().await.expect("killed");
    feeding.await.expect("no panic");

    let written = database.count("device").await;
    assert!(written > 8_000, "{written}");
    assert_eq!(written % BATCH, 0, "{written} rows are no whole batches");
    let again = usize::try_from(written).expect("a number") + 1_500;
    let list = format!("identifier,type\n{}", rows(0..again));
    assert_eq!(
        report(&import(database, list, &["--json"]).await, 0),
        [1_500, 0, written, 0]
    );
    assert_eq!(database.count("device").await, written + 1_500);
}
