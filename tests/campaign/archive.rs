//! PostgreSQL servers that archive their write-ahead log, dumps, and servers restored as of a time.

use std::path::{Path, PathBuf};

use crate::support::{
    PostgresServer,
    postgres::{Private, finish, unprivileged},
};

/// No power fails during the campaign, so nothing has to wait for the disk.
const SETTINGS: [&str; 2] = ["max_connections=100", "fsync=off"];

fn archive_of(server: &Private) -> PathBuf {
    server.folder().join("archive")
}

/// Starts a server that archives its write-ahead log.
pub fn start() -> Result<PostgresServer, String> {
    let mut server = Private::new(&SETTINGS)?;
    let archive = archive_of(&server);
    let mut folder = unprivileged(Path::new("mkdir"));
    folder.arg(&archive);
    finish(folder)?;
    let archive = archive.display();
    let command = format!("archive_command=test ! -f {archive}/%f && cp %p {archive}/%f");
    server.settings.extend(["archive_mode=on".to_owned(), command]);
    server.initialize()?;
    server.serve()
}

/// Makes a base backup into a new folder of this name.
pub fn back_up(server: &PostgresServer, name: &str) -> Result<PathBuf, String> {
    let backup = server.private().folder().join(name);
    finish(server.private().base_backup(&backup))?;
    Ok(backup)
}

/// Starts a server on a copy of a base backup. It replays the archive up to a time and is promoted then.
pub fn restore(server: &PostgresServer, backup: &Path, until: &str) -> Result<PostgresServer, String> {
    let mut restored = Private::new(&SETTINGS)?;
    restored.settings.extend([
        format!("restore_command=cp {}/%f %p", archive_of(server.private()).display()),
        format!("recovery_target_time={until}"),
        "recovery_target_action=promote".to_owned(),
    ]);
    let mut copy = unprivileged(Path::new("cp"));
    copy.arg("--archive").arg(backup).arg(restored.data());
    finish(copy)?;
    let mut signal = unprivileged(Path::new("touch"));
    signal.arg(restored.data().join("recovery.signal"));
    finish(signal)?;
    restored.serve()
}

/// Dumps a database into a new file of this name.
pub fn dump(server: &PostgresServer, database: &str, name: &str) -> Result<PathBuf, String> {
    let file = server.private().folder().join(name);
    let mut dump = server.private().program("pg_dump");
    dump.args(["--format=custom", "--file"]).arg(&file).arg(database);
    finish(dump)?;
    Ok(file)
}

/// Restores a dump into an empty database.
pub fn restore_dump(server: &PostgresServer, file: &Path, database: &str) -> Result<(), String> {
    let mut restore = server.private().program("pg_restore");
    restore.arg("--dbname").arg(database).arg(file);
    finish(restore)
}
