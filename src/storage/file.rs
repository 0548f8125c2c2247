//! The file of an SQLite database.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use sea_orm::DbErr;

use super::DatabaseUrl;

/// Why the file of an SQLite database cannot be used, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is no such file.
    #[error("no database at {}", .0.display())]
    Missing(PathBuf),
    /// There is no such file, and the URL does not ask to create it.
    #[error("no database at {}; to create it, add ?mode=rwc to the database URL", .0.display())]
    NotCreated(PathBuf),
    /// There is no such file, but the write-ahead log of one. A new database would overwrite it.
    #[error(
        "no database at {path}, but {path}-wal has changes of one; move the database file back to it, or delete {path}-wal to begin \
         anew",
        path = .0.display()
    )]
    LogWithoutDatabase(PathBuf),
    /// The file is not the one that was opened.
    #[error(
        "the database file {} was moved, deleted or replaced while this process uses it; move it back, with the files beside it",
        .0.display()
    )]
    Moved(PathBuf),
    /// The file cannot be created.
    #[error(
        "cannot create the database file {}: {source}; check that its folder exists and that this user may write to the \
         folder",
        .path.display()
    )]
    CannotCreate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has the file open, and an upgrade needs it alone.
    #[error(
        "another process has the database file {path} open, and this upgrade needs it alone; stop the service and everything \
         else that uses the file (`fuser -v {path}` lists it), then run this again",
        path = .0.display()
    )]
    InUse(PathBuf),
    /// The file exists, and SQLite cannot open it.
    #[error(
        "cannot open the database file {}: {source}; check that it is a file and that this user may read and write it \
         and its folder",
        .path.display()
    )]
    CannotOpen {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DbErr,
    },
}

/// Checks that the file of an SQLite database exists, or that the URL asks to create it: then creates it. Does nothing for
/// PostgreSQL.
pub(super) fn create(url: &DatabaseUrl) -> Result<(), FileError> {
    match check(url) {
        Err(FileError::Missing(path)) if url.creates_file() => {
            if has_log(&path) {
                return Err(FileError::LogWithoutDatabase(path));
            }
            // Only the owner may read and write it, and SQLite gives the files beside it the same mode. Never opens a file
            // that exists: closing it would release the locks that SQLite holds on it in this process.
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                // Another process created it in the meantime.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                Err(source) => Err(FileError::CannotCreate { path, source }),
                Ok(_) => Ok(()),
            }
        }
        Err(FileError::Missing(path)) => Err(FileError::NotCreated(path)),
        result => result,
    }
}

/// Whether the write-ahead log of a database file has content. SQLite deletes it when the last process closes the database.
fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// Which file a path names: a process keeps an open file when its path names another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The file of an SQLite database.
    pub(super) fn of(url: &DatabaseUrl) -> Option<Self> {
        let found = fs::metadata(url.sqlite_path()?).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
        })
    }

    /// Checks that the path of the database still names this file.
    pub(super) fn check(self, url: &DatabaseUrl) -> Result<(), FileError> {
        match url.sqlite_path() {
            Some(path) if Self::of(url) != Some(self) => Err(FileError::Moved(path)),
            _ => Ok(()),
        }
    }
}

/// Checks that the file of an SQLite database exists. Does nothing for PostgreSQL.
pub(super) fn check(url: &DatabaseUrl) -> Result<(), FileError> {
    match url.sqlite_path() {
        Some(path) if matches!(fs::metadata(&path), Err(error) if error.kind() == io::ErrorKind::NotFound) => {
            Err(FileError::Missing(path))
        }
        // If the file cannot be opened, SQLite says why.
        _ => Ok(()),
    }
}
