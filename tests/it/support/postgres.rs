//! A private PostgreSQL server, started from the installed binaries and removed after the tests, or the server that
//! `TEST_POSTGRES_URL` or `TEST_CITUS_URL` names.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// How long a server may take to start. The tests wait for its log line; this is the limit.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A server to create databases on.
pub struct PostgresServer {
    /// Connects as a user that may create databases.
    admin_url: String,
    private: Option<Private>,
}

/// The files of a server, and its process if it runs.
pub struct Private {
    child: Mutex<Option<Child>>,
    root: TempDir,
    binaries: PathBuf,
    /// As `name=value`.
    pub settings: Vec<String>,
}

impl PostgresServer {
    /// The server to run most tests on: with `TEST_CITUS_URL`, the coordinator of Citus. Its databases live no longer than the tests, so it need not wait for the disk.
    pub fn start_shared() -> Result<Self, String> {
        let url = env::var("TEST_CITUS_URL").or_else(|_| env::var("TEST_POSTGRES_URL"));
        match url {
            Ok(admin_url) => Ok(Self {
                admin_url,
                private: None,
            }),
            Err(_) => Self::start_private(&["fsync=off", "max_connections=400"]),
        }
    }

    /// A separate server with full durability and more settings.
    pub fn start_durable(settings: &[&'static str]) -> Result<Self, String> {
        Self::start_private(&[&["max_connections=100"], settings].concat())
    }

    fn start_private(settings: &[&str]) -> Result<Self, String> {
        let private = Private::new(settings)?;
        private.initialize()?;
        private.serve()
    }

    /// A standby of a private server, with what the server holds now.
    pub fn start_standby(&self) -> Result<Self, String> {
        let primary = self.private();
        let private = Private::in_new_folder(&primary.binaries, primary.settings.clone())?;
        let mut backup = primary.base_backup(&private.data());
        backup.arg("--write-recovery-conf");
        finish(backup)?;
        private.serve()
    }

    /// The private server.
    pub fn private(&self) -> &Private {
        self.private.as_ref().expect("a private server")
    }

    /// The URL of a database of this name.
    pub fn url(&self, database: &str) -> String {
        let (base, options) = self.admin_url.split_once('?').unwrap_or((&self.admin_url, ""));
        let (server, _admin_database) = base.rsplit_once('/').expect("a URL with a database");
        let separator = if options.is_empty() { "" } else { "?" };
        format!("{server}/{database}{separator}{options}")
    }

    /// The URL of the database that others are created from.
    pub fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// Kills every process of the server at once, as a power cut would.
    pub fn kill(&self) {
        self.private().kill();
    }

    /// Starts the server again after [`kill`](Self::kill).
    pub fn restart(&self) {
        self.private().start().expect("PostgreSQL starts again");
    }

    /// Stops a private server, and removes its files.
    pub fn stop(&self) {
        if let Some(private) = &self.private {
            private.stop();
            let _ = fs::remove_dir_all(private.root.path());
        }
    }
}

impl Private {
    /// The folder of the server, which belongs to the user that runs it.
    pub fn folder(&self) -> &Path {
        self.root.path()
    }

    /// The folder of its databases.
    pub fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// A program of the version of this server.
    pub fn program(&self, name: &str) -> Command {
        unprivileged(&self.binaries.join(name))
    }

    /// A server that has yet to be initialized.
    pub fn new(settings: &[&str]) -> Result<Self, String> {
        let binaries = binaries().ok_or("no PostgreSQL server is installed, and TEST_POSTGRES_URL is not set")?;
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        Self::in_new_folder(&binaries, settings)
    }

    fn in_new_folder(binaries: &Path, settings: Vec<String>) -> Result<Self, String> {
        let root = TempDir::with_prefix("postgres-").map_err(|error| error.to_string())?;
        if is_root() {
            let (user, group) = unprivileged_ids()?;
            chown(root.path(), Some(user), Some(group)).map_err(|error| error.to_string())?;
        }
        Ok(Self {
            child: Mutex::default(),
            root,
            binaries: binaries.to_owned(),
            settings,
        })
    }

    /// Makes the databases of a new server.
    pub fn initialize(&self) -> Result<(), String> {
        let mut initdb = self.program("initdb");
        initdb.args([
            "--no-sync",
            "--auth=trust",
            "--encoding=UTF8",
            "--username=postgres",
            "--pgdata",
        ]);
        initdb.arg(self.data());
        finish(initdb)
    }

    /// The command that copies the running server into a new folder.
    pub fn base_backup(&self, folder: &Path) -> Command {
        let mut backup = self.program("pg_basebackup");
        backup.args(["--no-sync", "--checkpoint=fast", "--username=postgres", "--host"]);
        backup.arg(self.folder()).arg("--pgdata").arg(folder);
        backup
    }

    /// Starts the server.
    pub fn serve(self) -> Result<PostgresServer, String> {
        self.start()?;
        let socket = self.root.path().display().to_string().replace('/', "%2F");
        Ok(PostgresServer {
            admin_url: format!("postgres://postgres@localhost/postgres?host={socket}"),
            private: Some(self),
        })
    }

    /// Starts the server, and returns when it says that it is ready.
    fn start(&self) -> Result<(), String> {
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.root.path());
        // On a Unix socket only, so that ports cannot collide.
        command.args(["-c", "listen_addresses=", "-c", "port=5432"]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("postgres: {error}"))?;
        let log = child.stderr.take().expect("a pipe");
        let (ready, is_ready) = mpsc::channel();
        thread::spawn(move || {
            let mut log = BufReader::new(log);
            let mut line = String::new();
            let mut seen = String::new();
            while log.read_line(&mut line).is_ok_and(|count| count > 0) {
                // A standby accepts "read-only connections".
                if line.contains("ready to accept") {
                    let _ = ready.send(Ok(()));
                    break;
                }
                seen.push_str(&std::mem::take(&mut line));
            }
            let _ = ready.send(Err(seen));
            // Closing the pipe would stop the server at its next line.
            let _ = log.read_to_end(&mut Vec::new());
        });
        *self.child.lock().expect("no panic") = Some(child);
        is_ready
            .recv_timeout(START_TIMEOUT)
            .map_err(|_| "postgres does not get ready".to_owned())?
            .map_err(|log| format!("postgres ended: {log}"))
    }

    fn kill(&self) {
        let Some(mut child) = self.child.lock().expect("no panic").take() else {
            return;
        };
        // The children too: without their parent they would notice only at their next wait. Halted first, the parent
        // starts no other while that happens; one that outlived it would keep the server from starting again.
        let _ = Command::new("kill").args(["-STOP", &child.id().to_string()]).status();
        let _ = Command::new("pkill")
            .args(["-KILL", "-P", &child.id().to_string()])
            .status();
        let _ = child.kill();
        let _ = child.wait();
    }

    fn stop(&self) {
        if let Some(mut child) = self.child.lock().expect("no panic").take() {
            let _ = Command::new("kill").args(["-QUIT", &child.id().to_string()]).status();
            let _ = child.wait();
        }
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What `pg_dump` writes of a database: its schema and all rows.
pub fn dump(url: &str) -> String {
    let program = binaries().map_or_else(|| PathBuf::from("pg_dump"), |binaries| binaries.join("pg_dump"));
    let output = Command::new(program).args(["--dbname", url]).output().expect("pg_dump");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Where the server's programs are: the folder that `TEST_POSTGRES_BINARIES` names, beside `pg_config`, or where Debian keeps
/// them, newest version first.
fn binaries() -> Option<PathBuf> {
    let named = env::var_os("TEST_POSTGRES_BINARIES").map(PathBuf::from);
    let from_config = Command::new("pg_config")
        .arg("--bindir")
        .output()
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|path| PathBuf::from(path.trim()));
    let mut installed: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    installed.sort();
    // Another version than the named one would test something else.
    if named.is_some() {
        return named;
    }
    from_config
        .into_iter()
        .chain(installed.into_iter().rev())
        .find(|path| path.join("initdb").exists() && path.join("postgres").exists())
}

fn is_root() -> bool {
    id("-u", None).is_ok_and(|id| id == 0)
}

/// PostgreSQL refuses to run as root, which containers often are.
fn unprivileged_ids() -> Result<(u32, u32), String> {
    Ok((id("-u", Some("postgres"))?, id("-g", Some("postgres"))?))
}

fn id(what: &str, user: Option<&str>) -> Result<u32, String> {
    let output = Command::new("id")
        .arg(what)
        .args(user)
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().map_err(|_| format!("there is no user {user:?}"))
}

/// Runs a command to its end, which must be a success.
pub fn finish(mut command: Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// A command that runs as a user who may run PostgreSQL, and that the kernel ends with the thread that started it.
pub fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig=KILL");
    if is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.arg("--").arg(program);
    // A working directory that the user cannot enter makes initdb complain.
    command.current_dir("/");
    command
}
