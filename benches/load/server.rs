//! The measured service: the release build, in a process of its own.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::Value;

use crate::generator::{Load, Seen};

/// A running service.
pub struct Server {
    child: Child,
    pub grpc: SocketAddr,
    pub rest: SocketAddr,
}

/// The program that was built along with this one: not the release build, but it exists already.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_device-assignment");

/// Builds the program in the release profile and returns its path.
pub fn build() -> PathBuf {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", "dist", "--bin", "device-assignment"])
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the program does not build");
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    PathBuf::from(target).join("dist/device-assignment")
}

impl Server {
    /// Starts the program, and returns when it listens. It logs as it does in production, and nobody keeps its log.
    pub fn start(program: &Path, database_url: &str) -> Self {
        Self::start_with(program, database_url, &[])
    }

    /// As [`start`](Self::start), with settings of the environment that take numbers.
    pub fn start_with(program: &Path, database_url: &str, settings: &[(&str, usize)]) -> Self {
        let settings = settings.iter().map(|(name, value)| (name, value.to_string()));
        let mut child = Command::new(program)
            .arg("serve")
            // By the environment, of which a version that knows less takes what it knows.
            .env("GRPC_ADDR", "127.0.0.1:0")
            .env("REST_ADDR", "127.0.0.1:0")
            .env("ADMIN_ADDR", "127.0.0.1:0")
            .env("LOG_FORMAT", "json")
            // One key makes all the calls of an organization, as fast as they are answered.
            .env("KEY_CALLS_PER_SECOND", "0")
            .env("KEY_DEVICES_PER_SECOND", "0")
            .env("KEY_CHANGE_STREAMS", "100000")
            .env("MAX_CHANGE_STREAMS", "100000")
            .env("DATABASE_URL", database_url)
            .envs(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut address = |api: &str| -> SocketAddr {
            loop {
                let mut line = String::new();
                let count = log.read_line(&mut line).expect("text");
                assert!(count > 0, "the program does not listen for {api}");
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if line["message"] == "listening" && line["api"] == api {
                    return line["address"]
                        .as_str()
                        .expect("an address")
                        .parse()
                        .expect("an address");
                }
            }
        };
        let grpc = address("grpc");
        let rest = address("rest");
        thread::spawn(move || {
            let mut nowhere = fs::File::create("/dev/null")?;
            io::copy(&mut log.into_inner(), &mut nowhere)
        });
        Self { child, grpc, rest }
    }

    /// The most memory that the service has had at once, in MiB.
    pub fn peak_memory(&self) -> f64 {
        self.size("VmHWM:")
    }

    /// The memory that the service has, in MiB.
    pub fn memory(&self) -> f64 {
        self.size("VmRSS:")
    }

    fn size(&self, name: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib / 1_024.0
    }

    /// The CPU time that the service has used, in seconds.
    pub fn cpu(&self) -> f64 {
        cpu(&self.child.id().to_string())
    }
}

/// The CPU time that a process has used, in seconds. `self` is this one.
pub fn cpu(process: &str) -> f64 {
    /// The unit of these times, in all Linux systems.
    const PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a status");
    let (_, fields) = stat.rsplit_once(") ").expect("the name of the program");
    let times = fields.split(' ').skip(11).take(2);
    times.map(|time| time.parse::<f64>().expect("a time")).sum::<f64>() / PER_SECOND
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        let _ = self.child.wait();
    }
}

/// A running load generator.
pub struct Generator(Child);

/// Starts a generator, in a process of its own.
pub fn generate(load: &Load) -> Generator {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .arg("generate")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the generator starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let text = serde_json::to_string(load).expect("JSON");
    stdin.write_all(text.as_bytes()).expect("written");
    Generator(child)
}

impl Generator {
    /// Waits until the load is over.
    pub fn finish(self) -> Seen {
        let output = self.0.wait_with_output().expect("an end");
        assert!(output.status.success(), "the generator failed");
        let seen: Seen = serde_json::from_slice(&output.stdout).expect("what it saw");
        assert_eq!(seen.failures, 0, "a call failed: {seen:?}");
        seen
    }
}
