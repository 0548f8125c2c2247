//! A connection that writes, for what is not generic over the database.

use std::time::Instant;

use sea_orm::sqlx::{Postgres, Sqlite};

use super::{
    Database, DatabaseError,
    commit::{Committed, Locking},
    group::Group,
    sql::Statement,
    write_connection::WriteConnection,
};

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

    /// As [`WriteConnection::execute`].
    pub(super) async fn execute(&mut self, statement: &Statement<'_>) -> Result<u64, DatabaseError> {
        match self {
            Self::Postgres(connection) => connection.execute(statement).await,
            Self::Sqlite(connection) => connection.execute(statement).await,
        }
    }

    /// Commits one group, as [`WriteConnection::commit`] does.
    pub(super) async fn commit(&mut self, group: Group<'_>, deadline: Instant) -> Result<Committed, DatabaseError> {
        let groups = &mut [group];
        let committed = match self {
            Self::Postgres(connection) => connection.commit(groups, Locking::Exclusive, deadline).await?,
            Self::Sqlite(connection) => connection.commit(groups, Locking::Exclusive, deadline).await?,
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
