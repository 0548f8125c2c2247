//! A connection that writes, for what is not generic over the database.

use std::time::Duration;

use futures_util::TryFutureExt;
use sea_orm::sqlx::{FromRow, Postgres, Sqlite, postgres::PgRow, sqlite::SqliteRow};
use tokio::time::timeout;

use super::{
    Database, DatabaseError,
    group::{Committed, Group},
    locking::{LockWait, Locking},
    sql::Statement,
    write_connection::WriteConnection,
};

/// How long a write may take before its connection counts as dead: longer than its statements may take by themselves.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to either database, for what is not generic over the database.
pub(super) enum AnyWriteConnection {
    Postgres(WriteConnection<Postgres>),
    Sqlite(WriteConnection<Sqlite>),
}

impl AnyWriteConnection {
    pub(super) fn new(database: &Database) -> Self {
        if database.url().is_sqlite() {
            Self::Sqlite(WriteConnection::new(database))
        } else {
            Self::Postgres(WriteConnection::new(database))
        }
    }

    /// As [`WriteConnection::execute`], within a bounded time.
    pub(super) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, DatabaseError> {
        match self {
            Self::Postgres(connection) => bounded(connection.execute(statement)).await,
            Self::Sqlite(connection) => connection.execute(statement).await,
        }
    }

    /// As [`WriteConnection::rows`], within a bounded time.
    pub(super) async fn rows<T>(&mut self, statement: Statement<'_>) -> Result<Vec<T>, DatabaseError>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        match self {
            Self::Postgres(connection) => bounded(connection.rows(statement)).await,
            Self::Sqlite(connection) => connection.rows(statement).await,
        }
    }

    /// Commits one group, as [`WriteConnection::commit`] does, within a bounded time. It waits up to `lock_wait` for the lock of its organization.
    pub(super) async fn commit(&mut self, group: Group<'_>, lock_wait: Duration) -> Result<Committed, DatabaseError> {
        let (groups, lock_wait) = (&mut [group], &mut LockWait::up_to(lock_wait));
        let committed = match self {
            Self::Postgres(connection) => {
                let commit = connection.commit(groups, Locking::Exclusive, lock_wait);
                bounded(commit.map_err(DatabaseError::from)).await?
            }
            Self::Sqlite(connection) => connection.commit(groups, Locking::Exclusive, lock_wait).await?,
        };
        Ok(committed.first().copied().unwrap_or(Committed::Held))
    }

    pub(super) async fn close(self) {
        match self {
            Self::Postgres(connection) => connection.close().await,
            Self::Sqlite(connection) => connection.close().await,
        }
    }
}

/// Bounds the time of a write. Its connection is closed with the future that uses it.
async fn bounded<T>(write: impl Future<Output = Result<T, DatabaseError>>) -> Result<T, DatabaseError> {
    timeout(TIMEOUT, write)
        .await
        .unwrap_or(Err(DatabaseError::Silent(TIMEOUT)))
}
