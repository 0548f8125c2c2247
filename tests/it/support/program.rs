//! The real program, as an operator starts it.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, ChildStdout, Command},
    task::JoinHandle,
};

use super::{Client, Face};

/// The program with its own environment only: no setting of whoever runs the tests reaches it.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_device-assignment"));
    command
        .env_clear()
        .args(arguments)
        .kill_on_drop(true)
        .stdin(Stdio::null());
    command
}

/// How long the program may take to end by itself: for one that serves where it should refuse.
const END: Duration = Duration::from_secs(60);

/// Runs the program to its end.
pub async fn run(arguments: &[&str]) -> Output {
    finish(command(arguments)).await
}

/// Runs a command to its end: one that serves where it should refuse fails its test, and does not hang it.
pub async fn finish(mut command: Command) -> Output {
    let output = tokio::time::timeout(END, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{command:?} does not end"));
    output.expect("the program runs")
}

/// Standard output, which must be text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// Standard error, which must be text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// Checks that the program refused with this exit code, printed no data and did not crash; returns what it said.
#[track_caller]
pub fn refused(output: &Output, code: i32) -> String {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(stdout(output), "", "{said}");
    for word in ["panicked", "backtrace"] {
        assert!(!said.contains(word), "{said}");
    }
    said
}

/// As [`refused`], and in one sentence of its own.
#[track_caller]
pub fn sentence(output: &Output, code: i32) -> String {
    let said = refused(output, code);
    // A database that is new is brought up to date before, which the log tells.
    let talk: Vec<&str> = said.lines().filter(|line| !line.starts_with('{')).collect();
    assert_eq!(talk.len(), 1, "{said}");
    assert!(talk[0].starts_with("device-assignment: "), "{said}");
    talk[0].to_owned()
}

/// A running `serve`.
pub struct Program {
    child: Child,
    pub grpc: SocketAddr,
    pub rest: SocketAddr,
    pub admin: SocketAddr,
    pub stdout: BufReader<ChildStdout>,
    log: JoinHandle<String>,
}

impl Program {
    /// Starts `serve` on ports of its own, and returns when it says where it listens.
    pub async fn serve(database_url: &str) -> Self {
        Self::spawn(command(&["serve", "--database-url", database_url])).await
    }

    /// As [`serve`](Self::serve), in a folder of its own on the embedded default.
    pub async fn serve_in(folder: &Path) -> Self {
        let mut command = command(&["serve"]);
        command.current_dir(folder);
        Self::spawn(command).await
    }

    /// Starts `command`, a `serve` without addresses.
    pub async fn spawn(mut command: Command) -> Self {
        let mut child = command
            .args(["--grpc-addr", "127.0.0.1:0", "--rest-addr", "127.0.0.1:0"])
            .args(["--admin-addr", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stderr = child.stderr.take().expect("a pipe");
        let log = tokio::spawn(async move {
            let mut log = String::new();
            let _ = stderr.read_to_string(&mut log).await;
            log
        });
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let grpc = listening(&mut stdout, "gRPC listening on ").await;
        let rest = listening(&mut stdout, "REST listening on http://").await;
        let admin = listening(&mut stdout, "admin listening on http://").await;
        Self {
            child,
            grpc,
            rest,
            admin,
            stdout,
            log,
        }
    }

    pub fn client(&self, face: Face, key: &str) -> Client {
        let address = if face == Face::Grpc { self.grpc } else { self.rest };
        Client::new(face, address, key)
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("still running")
    }

    /// Ends the program at once, as `kill -9` does, and returns its log.
    pub async fn kill(mut self) -> String {
        self.child.kill().await.expect("killed");
        self.log.await.expect("a log")
    }

    /// Asks the program to stop, as a supervisor does, and returns its exit code and its log.
    pub async fn terminate(self) -> (Option<i32>, String) {
        let ended = self.end_by("-TERM").await;
        (ended.code, ended.log)
    }

    /// Sends the program a signal.
    pub async fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        let asked = Command::new("kill").args([signal, &id]).status().await.expect("kill");
        assert!(asked.success());
    }

    /// Sends the program a signal, and waits until it has ended.
    pub async fn end_by(mut self, signal: &str) -> Ended {
        self.signal(signal).await;
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).await.expect("text");
        let code = self.child.wait().await.expect("an exit").code();
        let log = self.log.await.expect("a log");
        Ended { code, stdout, log }
    }
}

/// What a program left that has ended.
#[derive(Debug)]
pub struct Ended {
    /// None when a signal killed it.
    pub code: Option<i32>,
    /// What it printed that was not read before.
    pub stdout: String,
    pub log: String,
}

async fn listening(stdout: &mut BufReader<ChildStdout>, prefix: &str) -> SocketAddr {
    let mut line = String::new();
    stdout.read_line(&mut line).await.expect("a line");
    let address = line.trim().strip_prefix(prefix);
    address
        .unwrap_or_else(|| panic!("expected {prefix:?}, found {line:?}"))
        .parse()
        .expect("an address")
}
