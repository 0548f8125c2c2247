//! Database URLs.

use std::{fmt, path::PathBuf};

use sea_orm::{
    DbBackend,
    sqlx::{postgres::PgConnectOptions, sqlite::SqliteConnectOptions},
};

/// The URL of a database. `Display` and `Debug` print no password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    url: String,
    backend: DbBackend,
}

/// An invalid database URL. Prints what to do about it, and nothing of the URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidDatabaseUrl(&'static str);

impl DatabaseUrl {
    /// Parses `sqlite://FILE?mode=rwc` or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`.
    ///
    /// # Errors
    /// When the URL is not one of these.
    pub fn parse(url: &str) -> Result<Self, InvalidDatabaseUrl> {
        let backend = if url.starts_with("sqlite:") {
            let path = url.split_once('?').map_or(url, |(path, _options)| path);
            let path = path.trim_start_matches("sqlite:").trim_start_matches('/');
            if path.is_empty() || path.starts_with(":memory:") || url.contains("mode=memory") {
                return Err(InvalidDatabaseUrl(
                    "an in-memory SQLite database cannot keep anything; name a file, as in sqlite://devices.db?mode=rwc",
                ));
            }
            let parsed = url.parse::<SqliteConnectOptions>().map(drop);
            parsed.map(|()| DbBackend::Sqlite)
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let parsed = url.parse::<PgConnectOptions>().map(drop);
            parsed.map(|()| DbBackend::Postgres)
        } else {
            return Err(InvalidDatabaseUrl(
                "the database URL must start with sqlite:// or postgres://",
            ));
        };
        let backend = backend.map_err(|_| {
            InvalidDatabaseUrl(
                "the database URL cannot be read; write sqlite://FILE?mode=rwc or \
                 postgres://USER:PASSWORD@HOST:PORT/DATABASE, with special characters percent-encoded",
            )
        })?;
        let url = url.to_owned();
        Ok(Self { url, backend })
    }

    /// The URL as it was given. It may contain a password: for the driver only.
    pub(super) fn as_str(&self) -> &str {
        &self.url
    }

    /// Whether this is the embedded database.
    pub fn is_sqlite(&self) -> bool {
        self.backend == DbBackend::Sqlite
    }

    /// Whether the URL asks to create the file of an SQLite database.
    pub(super) fn creates_file(&self) -> bool {
        let query = self.url.split_once('?').map_or("", |(_, query)| query);
        self.is_sqlite() && query.split('&').any(|option| option == "mode=rwc")
    }

    /// The file of an SQLite database.
    pub(super) fn sqlite_path(&self) -> Option<PathBuf> {
        let options = self.url.parse::<SqliteConnectOptions>();
        let options = options.ok().filter(|_| self.is_sqlite())?;
        Some(options.get_filename().to_owned())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.url.split_once("//").unwrap_or((&self.url, ""));
        // Both may contain a password, and options may contain an @.
        let rest = rest.split_once('?').map_or(rest, |(rest, _options)| rest);
        let rest = rest.rsplit_once('@').map_or(rest, |(_user, rest)| rest);
        write!(f, "{scheme}//{rest}")
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
