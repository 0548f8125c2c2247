//! Driver errors, classified once by what to do about them.

use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, sqlx};

use super::{FileError, backend};
use crate::{
    domain::{Cause, Error},
    error_chain::error_chain,
};

/// Why the database did not run a statement or a transaction.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Another writer came first, with the same rows or with a lock. Nothing happened; a rerun may succeed.
    #[error("conflict with another writer: {0}")]
    Conflict(#[source] DbErr),
    /// Other writers came first each time.
    #[error("other writers came first each time")]
    TooMuchContention,
    /// A lock or a statement took too long.
    #[error("the database is busy: {0}")]
    Busy(#[source] DbErr),
    /// The database cannot be reached, or the connection broke: if it was during a commit, the outcome is unknown.
    #[error("the database is out of reach: {}", cause(.0))]
    Unreachable(DbErr),
    /// No connection can be made. Nothing happened.
    #[error("cannot connect to the database: {}", cause(.0))]
    NotConnected(DbErr),
    /// The file of an embedded database is read-only, or its disk is full or fails. It can still be read.
    #[error("the database cannot be written: {0}")]
    NotWritable(#[source] DbErr),
    /// The file of an SQLite database cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database is known not to be writable, so that nothing was tried.
    #[error("the database is not writable")]
    KnownNotWritable,
    /// The database did not answer in time.
    #[error("the database did not answer within {0:?}")]
    Silent(std::time::Duration),
    /// The database is known to be out of reach. Nothing was tried, or the answer was not waited for: then the outcome is
    /// unknown.
    #[error("the database is out of reach")]
    OutOfReach,
    /// The database cannot be distributed.
    #[error(
        "the database does not have the extension Citus; run CREATE EXTENSION citus in it, on the coordinator and on each worker"
    )]
    NoCitus,
    /// Anything else: a bug or a wrong schema.
    #[error("the database rejected a statement: {0}")]
    Fault(#[source] DbErr),
    /// The code that runs a transaction panicked.
    #[error("a transaction panicked")]
    Panicked,
}

/// Why a batch was not committed.
#[derive(Debug)]
pub(super) struct BatchError {
    /// The index of the group that failed, if it was one of them.
    pub(super) index: Option<usize>,
    pub(super) error: DatabaseError,
}

impl BatchError {
    /// The error if another writer came first.
    pub(super) fn conflict(&self) -> Option<&DatabaseError> {
        Some(&self.error).filter(|error| matches!(error, DatabaseError::Conflict(_)))
    }
}

impl From<DatabaseError> for BatchError {
    fn from(error: DatabaseError) -> Self {
        Self { index: None, error }
    }
}

impl DatabaseError {
    /// Whether the server runs no statement that could write: a standby.
    pub(super) fn is_read_only(&self) -> bool {
        let Self::Unreachable(DbErr::Query(RuntimeErr::SqlxError(error))) = self else {
            return false;
        };
        backend::code(error).as_deref() == Some("25006")
    }
}

impl DatabaseError {
    /// Whether the server itself has answered with this error, for example because it has too many connections.
    pub(super) fn is_of_the_server(&self) -> bool {
        let (Self::Unreachable(error) | Self::NotConnected(error) | Self::Fault(error)) = self else {
            return false;
        };
        matches!(
            error,
            DbErr::Conn(RuntimeErr::SqlxError(error))
                | DbErr::Exec(RuntimeErr::SqlxError(error))
                | DbErr::Query(RuntimeErr::SqlxError(error)) if error.as_database_error().is_some()
        )
    }
}

impl From<BatchError> for DatabaseError {
    fn from(error: BatchError) -> Self {
        error.error
    }
}

/// The cause of a failed connection. It explains TLS errors, which sea-orm does not list among the sources of its own.
fn cause(error: &DbErr) -> String {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => error_chain(error.as_ref()),
        error => error.to_string(),
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        DbErr::Query(RuntimeErr::SqlxError(error.into())).into()
    }
}

impl From<DbErr> for DatabaseError {
    fn from(error: DbErr) -> Self {
        let sqlx = match &error {
            DbErr::ConnectionAcquire(ConnAcquireErr::Timeout | ConnAcquireErr::ConnectionClosed) => {
                return Self::Unreachable(error);
            }
            DbErr::Conn(RuntimeErr::SqlxError(sqlx))
            | DbErr::Exec(RuntimeErr::SqlxError(sqlx))
            | DbErr::Query(RuntimeErr::SqlxError(sqlx)) => sqlx.as_ref(),
            _ => return Self::Fault(error),
        };
        match sqlx {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unreachable(error),
            sqlx::Error::Database(database) => match Class::of_error(database.as_ref()) {
                Class::Conflict => Self::Conflict(error),
                Class::Busy => Self::Busy(error),
                Class::Unreachable => Self::Unreachable(error),
                Class::NotWritable => Self::NotWritable(error),
                Class::Fault => Self::Fault(error),
            },
            _ => Self::Fault(error),
        }
    }
}

impl From<DatabaseError> for Error {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Fault(_) | DatabaseError::Panicked => Self::Internal(Cause::new(error)),
            DatabaseError::TooMuchContention => Self::TooMuchContention,
            DatabaseError::Conflict(_)
            | DatabaseError::Busy(_)
            | DatabaseError::Unreachable(_)
            | DatabaseError::NotConnected(_)
            | DatabaseError::NotWritable(_)
            | DatabaseError::File(_)
            | DatabaseError::NoCitus
            | DatabaseError::KnownNotWritable
            | DatabaseError::Silent(_)
            | DatabaseError::OutOfReach => Self::Unavailable(Cause::new(error)),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Class {
    Conflict,
    Busy,
    Unreachable,
    NotWritable,
    Fault,
}

/// PostgreSQL's `internal_error`. Citus reports some errors of its servers with it, and with their text.
const INTERNAL_ERROR: &str = "XX000";

impl Class {
    fn of_error(error: &dyn sqlx::error::DatabaseError) -> Self {
        match error.code() {
            Some(code) if code == INTERNAL_ERROR => Self::of_text(error.message()),
            Some(code) => Self::of(&code),
            None => Self::Fault,
        }
    }

    /// The class of an error of one of Citus' servers, by PostgreSQL's English text.
    fn of_text(text: &str) -> Self {
        match text {
            _ if text.starts_with("duplicate key value violates unique constraint")
                || text.starts_with("deadlock detected")
                || text.starts_with("could not serialize access") =>
            {
                Self::Conflict
            }
            _ if text.starts_with("canceling statement due to") => Self::Busy,
            _ if text.starts_with("terminating connection") => Self::Unreachable,
            _ => Self::Fault,
        }
    }

    /// The class of a SQLSTATE (PostgreSQL, five characters, appendix A of its manual) or of a result code (SQLite, a
    /// decimal number of which the low byte is the primary code, sqlite.org/rescode.html).
    fn of(code: &str) -> Self {
        match code {
            // serialization_failure, deadlock_detected, unique_violation; CONSTRAINT_PRIMARYKEY, CONSTRAINT_UNIQUE
            "40001" | "40P01" | "23505" | "1555" | "2067" => return Self::Conflict,
            "55P03" | "57014" => return Self::Busy, // lock_not_available, query_canceled
            // read_only_sql_transaction (a standby, during a failover), idle_in_transaction_session_timeout,
            // statement_completion_unknown
            "25006" | "25P03" | "40003" => return Self::Unreachable,
            _ => {}
        }
        if code.len() == 5 {
            return match code.get(..2) {
                // connection exception, insufficient resources, operator intervention, system error
                Some("08" | "53" | "57" | "58") => Self::Unreachable,
                _ => Self::Fault,
            };
        }
        let Ok(code) = code.parse::<u32>() else {
            return Self::Fault;
        };
        match (code & 0xff, code >> 8) {
            (5 | 6, _) => Self::Busy,         // BUSY, LOCKED
            (8 | 13, _) => Self::NotWritable, // READONLY, FULL
            // IOERR_WRITE, _FSYNC, _DIR_FSYNC, _TRUNCATE, _DELETE, _SHMSIZE: the others may be of a read.
            (10, 3..=6 | 10 | 19) => Self::NotWritable,
            (10 | 14, _) => Self::Unreachable, // IOERR, CANTOPEN
            _ => Self::Fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_without_a_code_of_their_own_fall_into_the_class_of_their_text() {
        for (text, class) in [
            (
                "duplicate key value violates unique constraint \"change_log_pkey_102039\"",
                Class::Conflict,
            ),
            ("deadlock detected", Class::Conflict),
            ("could not serialize access due to concurrent update", Class::Conflict),
            ("canceling statement due to lock timeout", Class::Busy),
            (
                "terminating connection due to administrator command",
                Class::Unreachable,
            ),
            ("cache lookup failed for relation 1", Class::Fault),
        ] {
            assert_eq!(Class::of_text(text), class, "{text}");
        }
    }

    #[test]
    fn codes_fall_into_their_class() {
        for (code, class) in [
            ("40001", Class::Conflict),
            ("40P01", Class::Conflict),
            ("55P03", Class::Busy),
            ("57014", Class::Busy),
            ("5", Class::Busy),
            ("517", Class::Busy),
            ("57P01", Class::Unreachable),
            ("57P03", Class::Unreachable),
            ("53300", Class::Unreachable),
            ("08006", Class::Unreachable),
            ("25006", Class::Unreachable),
            ("25P03", Class::Unreachable),
            ("40003", Class::Unreachable),
            ("14", Class::Unreachable),
            ("10", Class::Unreachable),
            ("266", Class::Unreachable),  // IOERR_READ
            ("778", Class::NotWritable),  // IOERR_WRITE
            ("1034", Class::NotWritable), // IOERR_FSYNC
            ("4874", Class::NotWritable), // IOERR_SHMSIZE
            ("8", Class::NotWritable),
            ("1032", Class::NotWritable), // READONLY_DBMOVED
            ("13", Class::NotWritable),
            ("23505", Class::Conflict),
            ("23503", Class::Fault),
            ("22021", Class::Fault),
            ("2067", Class::Conflict),
            ("787", Class::Fault),
            ("1", Class::Fault),
            ("", Class::Fault),
        ] {
            assert_eq!(Class::of(code), class, "{code}");
        }
    }
}
