//! A reader of a document: types what it says into a shell, in a folder of their own, and has a terminal for each service.

use std::{env, fs, path::Path, process::Stdio};

use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{
    Program,
    program::{finish, stdout},
    tls::{Authority, Identity},
};

/// An address that documents use for a service with TLS somewhere else.
const ELSEWHERE: &str = "devices.example.com";

pub struct Session {
    folder: TempDir,
    /// What documents say for what only the machine knows that they are read on.
    names: Vec<(String, String)>,
    services: Vec<Program>,
    key: Option<String>,
}

impl Session {
    /// One that says `names` for what a document does, in turn.
    pub fn start(names: Vec<(String, String)>) -> Self {
        let folder = TempDir::with_prefix("document-").expect("a folder");
        let authority = Authority::new("authority");
        let Identity { certificate, key } = authority.issue("service");
        for (file, text) in [
            ("ca.crt", &authority.pem()),
            ("tls.crt", &certificate),
            ("tls.key", &key),
        ] {
            fs::write(folder.path().join(file), text).expect("a file");
        }
        // No bar of curl's among the output that is no terminal's.
        fs::write(folder.path().join(".curlrc"), "silent\nshow-error\n").expect("a file");
        fs::write(folder.path().join(".exports"), "").expect("a file");
        Self {
            folder,
            names,
            services: Vec::new(),
            key: None,
        }
    }

    /// Types in the lines of a block, and returns what they print. A service that the last one starts goes on; a line that
    /// ends in `# exit code N` has to end so.
    pub async fn type_in(&mut self, lines: &str) -> Result<String, String> {
        if lines.contains(ELSEWHERE) {
            self.start_elsewhere().await;
        }
        let lines = self.adapted(lines);
        let (before, last) = lines.split_at(start_of_last_command(&lines));
        if !["device-assignment serve", "device-assignment gateway"]
            .iter()
            .any(|serve| last.starts_with(serve))
        {
            return self.run(&lines).await;
        }
        let printed = self.run(before).await?;
        self.serve(last).await;
        Ok(printed)
    }

    /// The first key, once the first service has created it.
    pub fn key(&self) -> Option<String> {
        self.key.clone()
    }

    pub async fn stop(self) {
        for service in self.services {
            let (code, log) = service.terminate().await;
            assert_eq!(code, Some(0), "{log}");
        }
    }

    fn adapted(&self, text: &str) -> String {
        let names = self.names.iter();
        names.fold(text.to_owned(), |text, (written, meant)| text.replace(written, meant))
    }

    /// What `script` prints, if it ends as it says.
    async fn run(&self, script: &str) -> Result<String, String> {
        let code = script.trim_end().rsplit_once("# exit code ");
        let code = code.map_or(0, |(_, code)| code.parse().expect("an exit code is a number"));
        let output = finish(self.shell(script, "")).await;
        let printed = stdout(&output);
        // The log is another's to read.
        let printed = printed
            .split_inclusive('\n')
            .filter(|line| !line.starts_with("{\"timestamp\""));
        let printed: String = printed.collect();
        if output.status.code() == Some(code) {
            Ok(printed)
        } else {
            Err(format!("{script}\nends with {}, not {code}:\n{printed}", output.status))
        }
    }

    /// Runs a command that goes on, and goes by its addresses from then on.
    async fn serve(&mut self, command: &str) {
        let is_first = !self.folder.path().join("device-assignment.db").exists();
        let service = Program::serving(self.shell(command, "exec"), None).await;
        if is_first {
            let key = fs::read_to_string(self.folder.path().join("device-assignment.api-key"));
            self.key = Some(key.expect("a key").trim().to_owned());
        }
        let reached = |port: u16| format!("127.0.0.1:{port}");
        let addresses = [
            ("127.0.0.1:50051", reached(service.grpc.port())),
            ("127.0.0.1:8080", reached(service.rest.port())),
            ("127.0.0.1:9090", reached(service.admin.port())),
        ];
        self.names
            .retain(|(written, _)| addresses.iter().all(|(address, _)| address != written));
        self.names
            .extend(addresses.map(|(written, meant)| (written.to_owned(), meant)));
        self.services.push(service);
    }

    /// Starts a service with TLS on the same database, and has its addresses stand for one that is elsewhere.
    async fn start_elsewhere(&mut self) {
        let command = "device-assignment serve --tls-cert tls.crt --tls-key tls.key";
        let service = Program::serving(self.shell(command, "exec"), None).await;
        let (grpc, rest) = (service.grpc.port(), service.rest.port());
        self.names.extend([
            (format!("{ELSEWHERE}:443"), format!("localhost:{grpc}")),
            (format!("https://{ELSEWHERE}/"), format!("https://localhost:{rest}/")),
        ]);
        self.services.insert(0, service);
    }

    /// A shell that knows what was exported before, and stops at the first command that fails.
    fn shell(&self, script: &str, how: &str) -> Command {
        let folder = self.folder.path();
        let program = Path::new(env!("CARGO_BIN_EXE_device-assignment"));
        let beside = program.parent().expect("a folder").to_owned();
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([beside].into_iter().chain(env::split_paths(&path))).expect("a PATH");
        let mut command = Command::new("bash");
        let script = match how {
            "exec" => format!("source .exports; exec {script}"),
            _ => format!("exec 2>&1; source .exports; trap 'export -p > .exports' EXIT\n{script}"),
        };
        command
            .args(["--norc", "-e", "-o", "pipefail", "-c", &script])
            .current_dir(folder);
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", folder)
            .env("NO_PROXY", "*");
        // Ports that nobody else has.
        for listener in ["GRPC_ADDR", "REST_ADDR", "ADMIN_ADDR"] {
            command.env(listener, "127.0.0.1:0");
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

/// Where the last command begins, of lines that may go on after a backslash.
fn start_of_last_command(lines: &str) -> usize {
    let mut start = 0;
    let mut at = 0;
    let mut goes_on = false;
    for line in lines.split_inclusive('\n') {
        if !goes_on && !line.trim().is_empty() {
            start = at;
        }
        goes_on = line.trim_end().ends_with('\\');
        at += line.len();
    }
    start
}
