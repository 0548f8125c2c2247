//! The file of an SQLite database.

use std::{
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
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
