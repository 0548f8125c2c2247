//! Who may read the file of an SQLite database.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process,
};

use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{Api, Kind, Program, Suite, TestDatabase, TestServer, effects::faults, load, organization};

pub fn register(suite: &mut Suite) {
    suite.test("file_mode::a_new_file_is_its_owners_alone", new_file);
    suite.on(Kind::Sqlite, "file_mode::a_file_that_exists_keeps_its_mode", kept_mode);
}

fn mode(path: &Path) -> String {
    let mode = fs::metadata(path).expect("a file").permissions().mode();
    format!("{:o}", mode & 0o777)
}

/// Under the usual umask, which lets everybody read new files.
async fn new_file() {
    let folder = TempDir::with_prefix("sqlite-").expect("a folder");
    let mut command = Command::new("sh");
    command.env_clear().current_dir(folder.path()).args([
        "-c",
        "umask 022; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_device-assignment"),
        "serve",
        "--database-url",
        "sqlite://new.db?mode=rwc",
    ]);
    command.kill_on_drop(true).stdin(process::Stdio::null());
    let program = Program::spawn(command).await;
    for name in ["new.db", "new.db-wal", "new.db-shm"] {
        assert_eq!(mode(&folder.path().join(name)), "600", "{name}");
    }
    program.terminate().await;
}

async fn kept_mode(database: &'static TestDatabase) {
    let path = database.url().trim_start_matches("sqlite://");
    let path = Path::new(path.trim_end_matches("?mode=rwc"));
    fs::set_permissions(path, Permissions::from_mode(0o640)).expect("a mode");
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let call = load::create(&server.client(Api::Grpc, &key), "a@example.com".into()).await;
    assert!(call.is_ok(), "{call:?}");
    assert_eq!(mode(path), "640");
    server.stop().await;
    assert_eq!(faults(database, &[call]).await, [""; 0]);
}
