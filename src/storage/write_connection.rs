//! The connection of one writer, used for one transaction after another. A pool would test the connection after each
//! statement, which costs as much as the statement of a small call.

use std::{
    io,
    time::{Duration, Instant},
};

use sea_orm::sqlx::{self, Connection as _, FromRow, postgres::PgRow, sqlite::SqliteRow};
use tokio::time::{sleep, timeout};

use super::{
    Database, DatabaseError, DatabaseUrl,
    backend::Backend,
    citus::{Dialect, KnownDialect},
    options::Purpose,
    sql::Statement,
    statement_kind::{BEGIN, COMMIT},
    timeline::Timeline,
};

/// A connection that was idle this long is tested before it is used: a restarted server or a proxy may have closed it, and
/// the outcome of a write on a dead connection is unknown. Short, because an idle worker has time for a test, and longer
/// than a busy worker is ever idle.
const TEST_AFTER_IDLE: Duration = Duration::from_millis(10);
/// How long such a test may take: a firewall that has dropped the connection never answers.
const TEST_TIMEOUT: Duration = Duration::from_secs(1);

/// How long to try to make a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The pauses between attempts while the server starts: doubled until the longest.
const FIRST_CONNECT_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_CONNECT_PAUSE: Duration = Duration::from_millis(400);

/// A connection to database `B`, made when it is needed.
pub(super) struct WriteConnection<B: Backend> {
    url: DatabaseUrl,
    known_dialect: KnownDialect,
    /// The connection, and since when it is idle.
    idle: Option<(B::Connection, Instant)>,
    /// Whether the server's timeline has been compared with the stored one since the connection was made.
    is_on_timeline: bool,
    /// Since when there may be deleted data that is not erased; the last attempt, if there was one.
    pub(super) unerased: Option<Instant>,
}

impl<B: Backend> WriteConnection<B> {
    pub(super) fn new(database: &Database) -> Self {
        Self {
            url: database.url().clone(),
            known_dialect: database.known_dialect.clone(),
            idle: None,
            is_on_timeline: false,
            // A process that was killed may have left something.
            unerased: B::IS_EMBEDDED.then(Instant::now),
        }
    }

    /// Runs one statement, which is a transaction by itself, and returns how many rows it wrote.
    ///
    /// # Errors
    /// When nothing happened, with one exception: if the connection broke, the outcome is unknown.
    pub(super) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, DatabaseError> {
        let mut connection = self.take().await?;
        let written = execute::<B>(&mut connection, &statement.on(self.dialect())).await?;
        self.keep(connection);
        Ok(written)
    }

    /// Runs one statement, which is a transaction by itself, and returns its rows.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub(super) async fn rows<T>(&mut self, statement: Statement<'_>) -> Result<Vec<T>, DatabaseError>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let mut connection = self.take().await?;
        let found = rows::<B, T>(&mut connection, &statement.on(self.dialect())).await?;
        self.keep(connection);
        Ok(found)
    }

    /// Which statements the database takes. Known once a connection is taken.
    pub(super) fn dialect(&self) -> Dialect {
        self.known_dialect.get()
    }

    /// Drops the connection; the next transaction makes a new one.
    pub(super) fn discard(&mut self) {
        self.idle = None;
    }

    /// Keeps a connection for the next transaction.
    pub(super) fn keep(&mut self, connection: B::Connection) {
        self.idle = Some((connection, Instant::now()));
    }

    pub(super) async fn close(self) {
        if let Some((connection, _)) = self.idle
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "closing a connection failed");
        }
    }

    /// Takes the connection out. What uses it [keeps](Self::keep) it, unless a transaction on it fails or its future is dropped:
    /// then the connection is closed.
    pub(super) async fn take(&mut self) -> Result<B::Connection, DatabaseError> {
        let mut connection = if let Some((mut connection, since)) = self.idle.take()
            && (since.elapsed() < TEST_AFTER_IDLE
                || matches!(timeout(TEST_TIMEOUT, connection.ping()).await, Ok(Ok(()))))
        {
            connection
        } else {
            self.is_on_timeline = false;
            let mut connection = connect::<B>(&self.url).await?;
            self.known_dialect.set(B::adapt(&mut connection).await?);
            connection
        };
        // Nothing is written on another timeline before the new history has begun. A server changes its timeline only when a
        // standby is promoted, and its connections may survive that.
        if !self.is_on_timeline {
            self.is_on_timeline = B::follow_timeline(&mut connection, self.dialect()).await? != Timeline::Standby;
        }
        Ok(connection)
    }
}

/// Makes a connection. Tries again, for a while, if the server is about to start.
async fn connect<B: Backend>(url: &DatabaseUrl) -> Result<B::Connection, DatabaseError> {
    let attempts = async {
        let mut pause = FIRST_CONNECT_PAUSE;
        loop {
            match B::connect(url, Purpose::Writes).await {
                Err(error) if may_be_starting(&error) => sleep(pause).await,
                result => return result,
            }
            pause = LONGEST_CONNECT_PAUSE.min(2 * pause);
        }
    };
    let timed_out = || sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "connecting took too long"));
    let connected = timeout(CONNECT_TIMEOUT, attempts).await;
    connected
        .unwrap_or_else(|_| Err(timed_out()))
        .map_err(|error| match error.into() {
            // Unlike after an error of a statement, nothing can have happened.
            DatabaseError::Unreachable(error) => DatabaseError::NotConnected(error),
            error => error,
        })
}

fn may_be_starting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        sqlx::Error::Database(error) => error.is_transient_in_connect_phase(),
        _ => false,
    }
}

/// Begins a transaction that may write.
pub(super) async fn begin<B: Backend>(
    connection: &mut B::Connection,
) -> Result<sqlx::Transaction<'_, B>, DatabaseError> {
    Ok(BEGIN.observe(B::SYSTEM, connection.begin_with(B::BEGIN)).await?)
}

/// Commits a transaction, which is durable then.
///
/// # Errors
/// When nothing happened, with one exception: if the connection broke, the outcome is unknown.
async fn commit<B: Backend>(transaction: sqlx::Transaction<'_, B>) -> Result<(), DatabaseError> {
    Ok(COMMIT.observe(B::SYSTEM, transaction.commit()).await?)
}

/// Rolls a transaction back. If that fails, the connection must not be used again.
pub(super) async fn roll_back<B: Backend>(transaction: sqlx::Transaction<'_, B>) -> Result<(), DatabaseError> {
    Ok(transaction.rollback().await?)
}

/// Commits a transaction, or rolls it back after an error. If that fails, too, the connection must not be used again.
pub(super) async fn end<B: Backend, T>(
    transaction: sqlx::Transaction<'_, B>,
    result: Result<T, DatabaseError>,
) -> Result<T, DatabaseError> {
    match result {
        Ok(value) => {
            commit(transaction).await?;
            Ok(value)
        }
        Err(error) => {
            roll_back(transaction).await?;
            Err(error)
        }
    }
}

/// Runs a statement and returns its rows.
pub(super) async fn rows<B: Backend, T>(
    connection: &mut B::Connection,
    statement: &Statement<'_>,
) -> Result<Vec<T>, DatabaseError>
where
    T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let rows = B::rows(connection, statement);
    Ok(statement.kind().observe(B::SYSTEM, rows).await?)
}

/// Runs a statement and returns how many rows it wrote.
pub(super) async fn execute<B: Backend>(
    connection: &mut B::Connection,
    statement: &Statement<'_>,
) -> Result<u64, DatabaseError> {
    let written = B::execute(connection, statement);
    Ok(statement.kind().observe(B::SYSTEM, written).await?)
}

/// Runs `statements` one after the other, except those that write nothing, and returns how many rows each wrote.
pub(super) async fn execute_all<B: Backend, const N: usize>(
    connection: &mut B::Connection,
    statements: &[Statement<'_>; N],
) -> Result<[u64; N], DatabaseError> {
    let mut written = [0; N];
    for (statement, written) in statements.iter().zip(&mut written) {
        if !statement.is_void() {
            *written = execute::<B>(connection, statement).await?;
        }
    }
    Ok(written)
}
