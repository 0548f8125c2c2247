//! A connection that one task keeps over several statements. A pool would ask the server after each of them whether the
//! connection still lives, which costs a small call as much as the statement itself.

use std::time::{Duration, Instant};

use sea_orm::{
    DatabaseConnection, DbBackend,
    sqlx::{
        self, Connection as _, FromRow, PgConnection, Postgres, Sqlite, SqliteConnection, pool::PoolConnection,
        postgres::PgRow, sqlite::SqliteRow,
    },
};

use tokio::time::timeout;

use super::{
    DatabaseError,
    observed::{BEGIN, COMMIT, POSTGRES, SQLITE},
    sql::Statement,
};

/// A connection that was idle this long is tested before it is used: a restarted server or a proxy may have closed it. What
/// became of a write on a dead connection is not known, so that it cannot be tried again. Short, because a lane that is idle
/// has time for a test, and longer than one under load ever is.
const TEST_AFTER_IDLE: Duration = Duration::from_millis(10);

/// How long such a test may take: what a firewall has forgotten is never answered.
const TEST_TIMEOUT: Duration = Duration::from_secs(1);

/// A pool of one connection, which its owner keeps from one use to the next.
pub(super) struct OwnConnection {
    pool: DatabaseConnection,
    kept: Option<(Session, Instant)>,
}

impl OwnConnection {
    pub(super) fn new(pool: DatabaseConnection) -> Self {
        Self { pool, kept: None }
    }

    /// The connection, which is made when it is not there. What uses it gives it [back](Self::keep) unless it failed, and
    /// when it does not come to that, the connection is closed or tested.
    pub(super) async fn take(&mut self) -> Result<Session, DatabaseError> {
        if let Some((mut session, since)) = self.kept.take() {
            if since.elapsed() < TEST_AFTER_IDLE || session.is_alive().await {
                return Ok(session);
            }
            session.abandon();
        }
        Session::take(&self.pool).await
    }

    pub(super) fn keep(&mut self, session: Session) {
        self.kept = Some((session, Instant::now()));
    }

    pub(super) async fn close(self) {
        drop(self.kept);
        if let Err(error) = self.pool.close().await {
            tracing::debug!(%error, "closing a connection failed");
        }
    }
}

/// A connection, until it is dropped.
pub(super) enum Session {
    Postgres(PoolConnection<Postgres>),
    Sqlite(PoolConnection<Sqlite>),
}

/// Statements that happen all or not at all: not at all when it is dropped.
pub(super) enum Transaction<'s> {
    Postgres(sqlx::Transaction<'s, Postgres>),
    Sqlite(sqlx::Transaction<'s, Sqlite>),
}

/// What statements go over, in a transaction or each as one.
pub(super) enum Connection<'s> {
    Postgres(&'s mut PgConnection),
    Sqlite(&'s mut SqliteConnection),
}

impl Session {
    /// Takes a connection of `pool`, and makes it when it is not there.
    ///
    /// # Errors
    /// [`DatabaseError::NotConnected`] when the database is out of reach: unlike after [`DatabaseError::Unreachable`], nothing happened.
    pub(super) async fn take(pool: &DatabaseConnection) -> Result<Self, DatabaseError> {
        let taken = match pool.get_database_backend() {
            DbBackend::Sqlite => pool.get_sqlite_connection_pool().acquire().await.map(Self::Sqlite),
            _ => pool.get_postgres_connection_pool().acquire().await.map(Self::Postgres),
        };
        taken.map_err(|error| match error.into() {
            DatabaseError::Unreachable(error) => DatabaseError::NotConnected(error),
            failure => failure,
        })
    }

    async fn is_alive(&mut self) -> bool {
        let answer = match self {
            Self::Postgres(connection) => timeout(TEST_TIMEOUT, connection.ping()).await,
            Self::Sqlite(connection) => timeout(TEST_TIMEOUT, connection.ping()).await,
        };
        matches!(answer, Ok(Ok(())))
    }

    /// Lets go of a connection that is dead, without asking it once more as a pool would.
    fn abandon(self) {
        match self {
            Self::Postgres(connection) => drop(connection.detach()),
            Self::Sqlite(connection) => drop(connection.detach()),
        }
    }

    /// For statements of which each is a transaction by itself.
    pub(super) fn connection(&mut self) -> Connection<'_> {
        match self {
            Self::Postgres(connection) => Connection::Postgres(connection),
            Self::Sqlite(connection) => Connection::Sqlite(connection),
        }
    }

    /// Begins a transaction that may write.
    pub(super) async fn begin(&mut self) -> Result<Transaction<'_>, DatabaseError> {
        Ok(match self {
            Self::Postgres(connection) => Transaction::Postgres(BEGIN.observe(POSTGRES, connection.begin()).await?),
            // A transaction that only later wants to write may find that it cannot, and is not made to wait.
            Self::Sqlite(connection) => {
                let begin = connection.begin_with("BEGIN IMMEDIATE");
                Transaction::Sqlite(BEGIN.observe(SQLITE, begin).await?)
            }
        })
    }

    /// Carries out `statements` in order, all or none, and says how many rows each of them wrote. Durable on return.
    ///
    /// One statement is a transaction by itself, and several are made one.
    ///
    /// # Errors
    /// When nothing happened, with one exception: when the database became unreachable during the commit, the outcome
    /// is unknown.
    pub(super) async fn write(&mut self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DatabaseError> {
        let written = match statements {
            [] => Ok(Vec::new()),
            [statement] => self.connection().execute(statement).await.map(|rows| vec![rows]),
            _ => self.write_together(statements).await,
        };
        if matches!(&written, Err(failure) if !matches!(failure, DatabaseError::Conflict(_))) {
            self.close_on_drop();
        }
        written
    }

    async fn write_together(&mut self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DatabaseError> {
        let mut transaction = self.begin().await?;
        match transaction.execute(statements).await {
            Ok(written) => {
                transaction.commit().await?;
                Ok(written)
            }
            Err(failure) => {
                transaction.roll_back().await;
                Err(failure)
            }
        }
    }

    /// Closes the connection instead of giving it back: after a commit that failed, driver and database may not agree on
    /// whether there is a transaction.
    pub(super) fn close_on_drop(&mut self) {
        match self {
            Self::Postgres(connection) => connection.close_on_drop(),
            Self::Sqlite(connection) => connection.close_on_drop(),
        }
    }
}

impl Transaction<'_> {
    pub(super) fn connection(&mut self) -> Connection<'_> {
        match self {
            Self::Postgres(transaction) => Connection::Postgres(transaction),
            Self::Sqlite(transaction) => Connection::Sqlite(transaction),
        }
    }

    /// Carries out `statements` in order, and says how many rows each of them wrote.
    pub(super) async fn execute(&mut self, statements: &[Statement<'_>]) -> Result<Vec<u64>, DatabaseError> {
        let mut written = Vec::with_capacity(statements.len());
        // Not an iterator: the compiler cannot yet see that the future is `Send` when one is held.
        while let Some(statement) = statements.get(written.len()) {
            written.push(self.connection().execute(statement).await?);
        }
        Ok(written)
    }

    /// # Errors
    /// When nothing happened, with one exception: when the database became unreachable, the outcome is unknown.
    pub(super) async fn commit(self) -> Result<(), DatabaseError> {
        match self {
            Self::Postgres(transaction) => COMMIT.observe(POSTGRES, transaction.commit()).await?,
            Self::Sqlite(transaction) => COMMIT.observe(SQLITE, transaction.commit()).await?,
        }
        Ok(())
    }

    pub(super) async fn roll_back(self) {
        let rolled_back = match self {
            Self::Postgres(transaction) => transaction.rollback().await,
            Self::Sqlite(transaction) => transaction.rollback().await,
        };
        if let Err(error) = rolled_back {
            tracing::debug!(%error, "a rollback failed");
        }
    }
}

impl Connection<'_> {
    /// The rows that `statement` answers with.
    pub(super) async fn rows<T>(self, statement: &Statement<'_>) -> Result<Vec<T>, DatabaseError>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let kind = statement.kind();
        Ok(match self {
            Self::Postgres(connection) => {
                let (sql, arguments) = statement.for_postgres()?;
                let query = sqlx::query_as_with(sql, arguments);
                kind.observe(POSTGRES, query.fetch_all(connection)).await?
            }
            Self::Sqlite(connection) => {
                let (sql, arguments) = statement.for_sqlite()?;
                let query = sqlx::query_as_with(sql, arguments);
                kind.observe(SQLITE, query.fetch_all(connection)).await?
            }
        })
    }

    /// Says how many rows were written.
    async fn execute(self, statement: &Statement<'_>) -> Result<u64, DatabaseError> {
        let kind = statement.kind();
        Ok(match self {
            Self::Postgres(connection) => {
                let (sql, arguments) = statement.for_postgres()?;
                let query = sqlx::query_with(sql, arguments);
                kind.observe(POSTGRES, query.execute(connection)).await?.rows_affected()
            }
            Self::Sqlite(connection) => {
                let (sql, arguments) = statement.for_sqlite()?;
                let query = sqlx::query_with(sql, arguments);
                kind.observe(SQLITE, query.execute(connection)).await?.rows_affected()
            }
        })
    }
}
