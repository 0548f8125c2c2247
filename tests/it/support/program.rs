//! The real program, as an operator starts it.

use std::{
    env,
    ffi::OsString,
    fs::File,
    net::SocketAddr,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
};

use super::{Api, Client};

/// The program with its own environment only: no setting of whoever runs the tests reaches it. `TEST_PROGRAM` names another
/// build of it.
pub fn command(arguments: &[&str]) -> Command {
    let program = env::var_os("TEST_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_device-assignment").into());
    command_of(program, arguments)
}

/// As [`command`], of another program.
pub fn command_of(program: OsString, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .args(arguments)
        .kill_on_drop(true)
        .stdin(Stdio::null());
    command
}

/// Whether another program can be called by its name.
pub fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// How long the program may take to end by itself: for one that serves where it should refuse.
const END: Duration = Duration::from_secs(300);

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

/// Runs a command to its end, which must be a success, and returns what a terminal shows of its data.
pub async fn shown(mut command: Command) -> String {
    let (terminal, stdout) = terminal();
    let child = command.stdout(stdout).stderr(Stdio::piped()).spawn();
    let child = child.expect("the program runs");
    // Its copy of the terminal would keep that open.
    drop(command);
    let mut terminal = tokio::fs::File::from_std(terminal);
    let (shown, output) = tokio::join!(whole(&mut terminal), child.wait_with_output());
    let output = output.expect("an exit");
    assert!(output.status.success(), "{}", stderr(&output));
    shown.replace("\r\n", "\n")
}

/// What is read until a program has ended: from a pipe or from a terminal.
async fn whole(stdout: &mut (impl AsyncRead + Unpin)) -> String {
    let mut read = Vec::new();
    if let Err(error) = stdout.read_to_end(&mut read).await {
        // How a terminal says that nobody writes to it any more.
        assert_eq!(Errno::from_io_error(&error), Some(Errno::IO), "{error}");
    }
    String::from_utf8(read).expect("text")
}

/// Standard output, which must be text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// Standard error, which must be text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// Standard error without the log.
pub fn talk(output: &Output) -> String {
    let said = stderr(output);
    let lines = said.lines().filter(|line| !line.starts_with('{'));
    lines.map(|line| format!("{line}\n")).collect()
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
    let talk = talk(output);
    assert_eq!(talk.lines().count(), 1, "{said}");
    assert!(talk.starts_with("device-assignment: "), "{said}");
    talk.trim_end().to_owned()
}

/// How much memory a process has now, in bytes.
pub fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).expect("a size");
    kib.parse::<u64>().expect("a number") * 1024
}

/// Where a program writes its data: a pipe or a terminal.
type Stdout = Box<dyn AsyncRead + Send + Sync + Unpin>;

/// A running `serve`.
pub struct Program {
    child: Child,
    pub grpc: SocketAddr,
    pub rest: SocketAddr,
    pub admin: SocketAddr,
    pub stdout: BufReader<Stdout>,
    log: Log,
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
        command.args(["--grpc-addr", "127.0.0.1:0"]);
        Self::start(command, None).await
    }

    /// Starts `gateway`, with more arguments and environment in `command`, before the service at `upstream`.
    pub async fn gateway(mut command: Command, upstream: SocketAddr) -> Self {
        command.args(["--upstream", &format!("http://{upstream}")]);
        Self::start(command, Some(upstream)).await
    }

    async fn start(mut command: Command, upstream: Option<SocketAddr>) -> Self {
        command.args(["--rest-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0"]);
        Self::serving(command, upstream).await
    }

    /// As [`serve_in`](Self::serve_in), for a person at a terminal, with more arguments in `command`.
    pub async fn on_terminal(mut command: Command) -> Self {
        for listener in ["--grpc-addr", "--rest-addr", "--admin-addr"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        let (terminal, stdout) = terminal();
        let child = command.stdout(stdout).stderr(Stdio::piped()).spawn();
        let child = child.expect("the program starts");
        // Its copy of the terminal would keep that open.
        drop(command);
        let terminal = tokio::fs::File::from_std(terminal);
        Self::started(child, Box::new(terminal), None).await
    }

    /// Starts a `serve` or, before `upstream`, a `gateway` that has all its arguments, and returns when it listens.
    pub async fn serving(mut command: Command, upstream: Option<SocketAddr>) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = child.stdout.take().expect("a pipe");
        Self::started(child, Box::new(stdout), upstream).await
    }

    async fn started(mut child: Child, stdout: Stdout, upstream: Option<SocketAddr>) -> Self {
        let mut log = Log::of(&mut child);
        let grpc = match upstream {
            Some(upstream) => upstream,
            None => log.listening("grpc").await.address,
        };
        let rest = log.listening("rest").await.address;
        let admin = log.listening("admin").await.address;
        Self {
            child,
            grpc,
            rest,
            admin,
            stdout: BufReader::new(stdout),
            log,
        }
    }

    pub fn client(&self, api: Api, key: &str) -> Client {
        let address = if api == Api::Grpc { self.grpc } else { self.rest };
        Client::new(api, address, key)
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("still running")
    }

    /// What it has logged so far.
    pub fn logged(&self) -> String {
        self.log.so_far()
    }

    /// Ends the program at once, as `kill -9` does, and returns its log.
    pub async fn kill(mut self) -> String {
        self.child.kill().await.expect("killed");
        self.log.whole().await
    }

    /// Asks the program to stop, as a supervisor does, and returns its exit code and its log.
    pub async fn terminate(self) -> (Option<i32>, String) {
        let ended = self.end_by("-TERM").await;
        (ended.code, ended.log)
    }

    /// Sends the program a signal, and waits until it has ended.
    pub async fn end_by(self, signal: &str) -> Ended {
        self.signal(signal).await;
        self.ended().await
    }

    /// Sends the program a signal.
    pub async fn signal(&self, signal: &str) {
        let id = self.id().to_string();
        let asked = Command::new("kill").args([signal, &id]).status().await.expect("kill");
        assert!(asked.success());
    }

    /// Leaves unread what it logs from now on, until it has ended.
    pub fn stop_reading_its_log(&self) {
        self.log.read(false);
    }

    /// Leaves its log as a reader does that ends.
    pub fn close_its_log(&self) {
        self.log.reader.abort();
    }

    /// Waits until the program has ended.
    pub async fn ended(mut self) -> Ended {
        let stdout = whole(&mut self.stdout).await;
        let code = self.child.wait().await.expect("an exit").code();
        self.log.read(true);
        let log = self.log.whole().await;
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

/// A new terminal: what it shows, and what a program writes to.
fn terminal() -> (File, File) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&terminal).expect("a terminal");
    unlockpt(&terminal).expect("a terminal");
    let name = ptsname(&terminal, Vec::new()).expect("a name");
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let inside = open(name, flags, Mode::empty()).expect("a terminal");
    (terminal.into(), inside.into())
}

/// What a running program writes to standard error.
pub struct Log {
    lines: watch::Receiver<String>,
    is_read: watch::Sender<bool>,
    reader: JoinHandle<()>,
}

/// What the log says of a listener.
#[derive(Debug, Clone, Copy)]
pub struct Listening {
    pub address: SocketAddr,
    pub tls: bool,
}

impl Log {
    pub fn of(child: &mut Child) -> Self {
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (written, lines) = watch::channel(String::new());
        let (is_read, mut may_read) = watch::channel(true);
        let reader = tokio::spawn(async move {
            let mut line = String::new();
            while may_read.wait_for(|is_read| *is_read).await.is_ok()
                && stderr.read_line(&mut line).await.is_ok_and(|count| count > 0)
            {
                written.send_modify(|lines| lines.push_str(&line));
                line.clear();
            }
        });
        Self { lines, is_read, reader }
    }

    /// Reads on, or no longer. The pipe stays open.
    fn read(&self, is_read: bool) {
        self.is_read.send_replace(is_read);
    }

    /// Waits for the line that says where an API listens.
    pub async fn listening(&mut self, api: &str) -> Listening {
        let find = |log: &str| log.lines().find_map(|line| Listening::parse(line, api));
        let found = self.lines.wait_for(|log| find(log).is_some()).await;
        let found = found.ok().and_then(|log| find(&log));
        found.unwrap_or_else(|| panic!("the program does not listen for {api}: {}", self.so_far()))
    }

    pub fn so_far(&self) -> String {
        self.lines.borrow().clone()
    }

    /// Waits until the program has ended, or the log was closed.
    pub async fn whole(self) -> String {
        let Self {
            lines,
            is_read: _open,
            reader,
        } = self;
        match reader.await {
            Err(error) if error.is_cancelled() => {}
            read => read.expect("no panic"),
        }
        lines.borrow().clone()
    }
}

impl Listening {
    /// Reads a line of the log, in either format.
    fn parse(line: &str, api: &str) -> Option<Self> {
        let (address, tls) = match serde_json::from_str::<Value>(line) {
            Ok(line) => {
                let is_it = line["message"] == "listening" && line["api"] == api;
                is_it.then(|| Some((line["address"].as_str()?.to_owned(), line["tls"].as_bool()?)))??
            }
            Err(_) => {
                let (_, fields) = line.split_once(&format!(": listening api=\"{api}\" address="))?;
                let (address, tls) = fields.split_once(" tls=")?;
                (address.to_owned(), tls.parse().ok()?)
            }
        };
        let address = address.parse().expect("an address");
        Some(Self { address, tls })
    }
}
