//! An SQLite database that cannot be written: the service says so, rejects calls at once, and recovers by itself.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process,
    time::{Duration, Instant},
};

use device_assignment::{
    server::ServerSettings,
    storage::{Database, DatabaseUrl},
};
use tokio::process::Command;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::{
    health::{RETURNS, Shown, TURNS},
    support::{
        Api, Client, Kind, Load, Program, Suite, TestDatabase, TestServer,
        effects::faults,
        load::{self, Fate, clients, tally},
        organization,
        program::{is_on_path, refused, run},
    },
};

const NOT_WRITABLE: &str = "database: not writable";
const OUT_OF_REACH: &str = "database: out of reach";

pub fn register(suite: &mut Suite) {
    suite.on(Kind::Sqlite, "writable::a_url_that_says_read_only", read_only_url);
    suite.on_sqlite_unless("writable::a_file_that_is_read_only", no_permissions, read_only_file);
    suite.on_sqlite_unless("writable::a_full_disk", no_limits, full_disk);
    suite.on(Kind::Sqlite, "writable::a_file_that_is_moved", moved);
    suite.on(Kind::Sqlite, "writable::a_log_without_its_database", log_alone);
}

fn path_of(database: &TestDatabase) -> PathBuf {
    let path = database.url().trim_start_matches("sqlite://");
    path.trim_end_matches("?mode=rwc").into()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
}

/// Calls are rejected at once, and an invalid key is still reported as invalid.
async fn is_refused(client: &Client) {
    let start = Instant::now();
    let call = load::create(client, "refused@example.com".into()).await;
    let expected = Fate::Answered {
        code: "UNAVAILABLE".into(),
        retry_after: Some(1),
    };
    assert_eq!(call.fate, expected, "{call:?}");
    let wrong = client.with_key(Some("tlm_wrong"));
    let answer = wrong.assign("a@example.com", &["SN-1"]).await;
    assert_eq!(answer.code, "UNAUTHENTICATED", "{answer:?}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

async fn read_only_url(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let url = database.url().replace("mode=rwc", "mode=ro");
    let url = DatabaseUrl::parse(&url).expect("a URL");
    let opened = Database::open(url).await.expect("a database");
    let server = TestServer::start_over(opened, ServerSettings::default()).await;
    let shown = Shown::at(server.admin, &server.client(Api::Grpc, ""));
    // The service finds that out before the first call.
    shown.turns_to(NOT_WRITABLE, TURNS).await;
    for api in Api::ALL {
        is_refused(&server.client(api, &key)).await;
    }
    server.stop().await;
    assert_eq!(database.count("customer").await, 0);
}

/// A command that runs the program at `path` without root's right to ignore permissions.
fn obeying(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    let drop_right = ["--inh-caps=-dac_override", "--bounding-set=-dac_override"];
    command.env_clear().envs(path_variable()).args(drop_right).arg(program);
    command.kill_on_drop(true).stdin(process::Stdio::null());
    command
}

fn path_variable() -> Option<(&'static str, std::ffi::OsString)> {
    Some(("PATH", std::env::var_os("PATH")?))
}

/// Why permissions cannot keep a process from writing a file, if so.
fn no_permissions() -> Option<String> {
    if !is_on_path("setpriv") {
        return Some("setpriv is not on the PATH".into());
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    set_mode(file.path(), 0o444);
    let mut read = obeying("cat").into_std();
    let can_read = read.arg(file.path()).status().is_ok_and(|status| status.success());
    let mut write = obeying("tee").into_std();
    let can_write = write.arg(file.path()).stderr(process::Stdio::null()).status();
    match can_write {
        Ok(status) if can_read && !status.success() => None,
        _ => Some("permissions cannot keep this user from writing a file".into()),
    }
}

/// The service says `problem` and rejects calls until `repair`. Then it serves again, without a restart.
async fn until_repaired(
    program: Program,
    database: &TestDatabase,
    key: &str,
    problem: &'static str,
    repair: impl FnOnce(),
) {
    let shown = Shown::by(&program);
    shown.turns_to(problem, TURNS).await;
    for api in [Api::Grpc, Api::Rest] {
        is_refused(&program.client(api, key)).await;
    }
    repair();
    shown.turns_to("ok", RETURNS).await;
    let call = load::create(&program.client(Api::Grpc, key), "after@example.com".into()).await;
    assert!(call.is_ok(), "{call:?}");
    program.terminate().await;
    assert_eq!(faults(database, &[call]).await, [""; 0]);
}

async fn read_only_file(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let path = path_of(database);
    set_mode(&path, 0o444);
    let mut command = obeying(env!("CARGO_BIN_EXE_device-assignment"));
    command.args(["serve", "--database-url", database.url()]);
    let program = Program::spawn(command).await;
    until_repaired(program, database, &key, NOT_WRITABLE, || set_mode(&path, 0o600)).await;
}

/// What is written to a file when its path names another one would be lost with the next start.
async fn moved(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let path = path_of(database);
    let elsewhere = path.with_extension("moved");
    let program = Program::serve(database.url()).await;
    let shown = Shown::by(&program);
    shown.turns_to("ok", TURNS).await;
    fs::hard_link(&path, &elsewhere).expect("a second name");
    let copy = path.with_extension("copy");
    fs::copy(&path, &copy).expect("copied");
    fs::rename(&copy, &path).expect("replaced");
    let move_back = || fs::rename(&elsewhere, &path).expect("moved back");
    until_repaired(program, database, &key, OUT_OF_REACH, move_back).await;
}

/// A new database would overwrite the changes that are only in the log.
async fn log_alone(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let path = path_of(database);
    let elsewhere = path.with_extension("moved");
    let program = Program::serve(database.url()).await;
    let call = load::create(&program.client(Api::Grpc, &key), "before@example.com".into()).await;
    assert!(call.is_ok(), "{call:?}");
    program.kill().await;
    fs::rename(&path, &elsewhere).expect("moved");
    let output = run(&["serve", "--database-url", database.url()]).await;
    let said = refused(&output, 1);
    assert!(
        said.contains("-wal has changes of one; move the database file back"),
        "{said}"
    );
    assert!(!path.exists());
    fs::rename(&elsewhere, &path).expect("moved back");
    Program::serve(database.url()).await.terminate().await;
    assert_eq!(faults(database, &[call]).await, [""; 0]);
}

/// Why the size of files cannot be limited, if so.
fn no_limits() -> Option<String> {
    (!is_on_path("prlimit")).then(|| "prlimit is not on the PATH".into())
}

/// Limits the size of the files that a program writes. As on a full disk, existing data stays and none can be added.
async fn limit_files(program: &Program, limit: &str) {
    let mut command = Command::new("prlimit");
    command.args(["--pid", &program.id().to_string(), &format!("--fsize={limit}:")]);
    assert!(command.status().await.expect("prlimit").success());
}

async fn full_disk(database: &'static TestDatabase) {
    let keys = load::keys(database, 2).await;
    let mut keys = keys.iter().cycle();
    // A file that gets too large is an error and does not end the program.
    let mut command = Command::new("sh");
    command.env_clear().envs(path_variable()).args([
        "-c",
        "trap '' XFSZ; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_device-assignment"),
        "serve",
        "--database-url",
        database.url(),
    ]);
    command.kill_on_drop(true).stdin(process::Stdio::null());
    let program = Program::spawn(command).await;
    let shown = Shown::by(&program);
    shown.turns_to("ok", TURNS).await;
    let watch = shown.watch().await;
    let all = clients(16, |api| program.client(api, keys.next().expect("a key")));
    let load = Load::start("load", all.clone());
    load.succeeds(200).await;

    limit_files(&program, "1").await;
    shown.turns_to(NOT_WRITABLE, TURNS).await;
    // Long enough for several probes; each fails.
    for _ in 0..5 {
        for client in all.iter().take(2) {
            is_refused(client).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        shown.turns_to(NOT_WRITABLE, TURNS).await;
    }
    limit_files(&program, "unlimited").await;
    shown.turns_to("ok", RETURNS).await;
    load.succeeds(200).await;
    let calls = load.finish().await;
    println!("{}", tally(&calls));
    assert!(
        calls.iter().all(|call| call.is(&["OK", "UNAVAILABLE"])),
        "{}",
        tally(&calls)
    );
    program.terminate().await;
    let (serving, not) = (ServingStatus::Serving, ServingStatus::NotServing);
    let statuses = watch.await.expect("no panic");
    assert_eq!(
        statuses,
        [serving, not, serving, not],
        "once each, the last time because it stops"
    );
    assert_eq!(faults(database, &calls).await, [""; 0]);
}
