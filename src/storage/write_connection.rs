//! The connection of one writer, used for one transaction after another. A pool would test the connection after each
//! statement, which costs as much as the statement of a small call.

use std::{
    io,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use sea_orm::sqlx::{self, Connection as _, FromRow, Postgres, Sqlite, postgres::PgRow, sqlite::SqliteRow};
use tokio::time::{sleep, timeout};

use super::{
    Database, DatabaseError, DatabaseUrl,
    backend::Backend,
    error::BatchError,
    options::Purpose,
    sql::Statement,
    statement_kind::{BEGIN, COMMIT},
};
use crate::telemetry::metrics::BATCHES;

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

/// How often a transaction is tried. Each rerun means that another writer has committed rows that this one wanted to create,
/// so that fewer are left to collide on.
const ATTEMPTS: u32 = 16;
/// The longest pause before a rerun. The pause is random, so that two that collided do not collide again.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// A connection to database `B`, made when it is needed.
pub(super) struct WriteConnection<B: Backend> {
    url: DatabaseUrl,
    /// The connection, and since when it is idle.
    idle: Option<(B::Connection, Instant)>,
}

/// A transaction as a function: of a connection, and of what the transaction is about.
type Transact<B, I, T> =
    for<'c> fn(&'c mut <B as sqlx::Database>::Connection, &'c I) -> BoxFuture<'c, Result<T, BatchError>>;

impl<B: Backend> WriteConnection<B> {
    pub(super) fn new(database: &Database) -> Self {
        Self {
            url: database.url().clone(),
            idle: None,
        }
    }

    /// Runs a transaction, and runs it again as long as another writer comes first.
    ///
    /// # Errors
    /// When nothing happened, with one exception: if the connection broke during the commit, the outcome is unknown.
    pub(super) async fn run<I, T>(&mut self, input: &I, transact: Transact<B, I, T>) -> Result<T, BatchError>
    where
        I: ?Sized,
    {
        let mut attempt = 1;
        loop {
            let mut connection = self.take().await?;
            let result = transact(&mut connection, input).await;
            let conflict = match &result {
                Err(error) => error.conflict(),
                Ok(_) => None,
            };
            if result.is_ok() || conflict.is_some() {
                self.idle = Some((connection, Instant::now()));
            }
            // After any other error the connection is closed: driver and database may disagree on whether there is a
            // transaction.
            let Some(conflict) = conflict.filter(|_| attempt < ATTEMPTS) else {
                return result;
            };
            tracing::debug!(attempt, error = %conflict, "running a transaction again");
            BATCHES.reruns_after_conflict.increment(1);
            attempt += 1;
            sleep(rand::random_range(Duration::ZERO..LONGEST_PAUSE)).await;
        }
    }

    /// Runs `statements` in one transaction, and returns how many rows each of them wrote.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(super) async fn write<const N: usize>(
        &mut self,
        statements: &[Statement<'_>; N],
    ) -> Result<[u64; N], DatabaseError> {
        let written = self.run(statements, |connection, statements| {
            Box::pin(async move { Ok(write::<B, N>(connection, statements).await?) })
        });
        Ok(written.await?)
    }

    /// Drops the connection; the next transaction makes a new one.
    pub(super) fn discard(&mut self) {
        self.idle = None;
    }

    pub(super) async fn close(self) {
        if let Some((connection, _)) = self.idle
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "closing a connection failed");
        }
    }

    /// Takes the connection out: if the transaction on it fails, or its future is dropped, the connection is closed.
    async fn take(&mut self) -> Result<B::Connection, DatabaseError> {
        if let Some((mut connection, since)) = self.idle.take()
            && (since.elapsed() < TEST_AFTER_IDLE
                || matches!(timeout(TEST_TIMEOUT, connection.ping()).await, Ok(Ok(()))))
        {
            return Ok(connection);
        }
        connect::<B>(&self.url).await
    }
}

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

    /// As [`WriteConnection::write`].
    pub(super) async fn write<const N: usize>(
        &mut self,
        statements: &[Statement<'_>; N],
    ) -> Result<[u64; N], DatabaseError> {
        match self {
            Self::Postgres(connection) => connection.write(statements).await,
            Self::Sqlite(connection) => connection.write(statements).await,
        }
    }

    pub(super) async fn close(self) {
        match self {
            Self::Postgres(connection) => connection.close().await,
            Self::Sqlite(connection) => connection.close().await,
        }
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
pub(super) async fn commit<B: Backend>(transaction: sqlx::Transaction<'_, B>) -> Result<(), DatabaseError> {
    Ok(COMMIT.observe(B::SYSTEM, transaction.commit()).await?)
}

pub(super) async fn roll_back<B: Backend>(transaction: sqlx::Transaction<'_, B>) {
    if let Err(error) = transaction.rollback().await {
        tracing::debug!(%error, "a rollback failed");
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
async fn execute<B: Backend>(connection: &mut B::Connection, statement: &Statement<'_>) -> Result<u64, DatabaseError> {
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

/// Runs `statements` all or none, and returns how many rows each wrote. A single one is a transaction by itself.
pub(super) async fn write<B: Backend, const N: usize>(
    connection: &mut B::Connection,
    statements: &[Statement<'_>; N],
) -> Result<[u64; N], DatabaseError> {
    if statements.iter().filter(|statement| !statement.is_void()).count() < 2 {
        return execute_all::<B, N>(connection, statements).await;
    }
    let mut transaction = begin::<B>(connection).await?;
    match execute_all::<B, N>(&mut transaction, statements).await {
        Ok(written) => {
            commit(transaction).await?;
            Ok(written)
        }
        Err(error) => {
            roll_back(transaction).await;
            Err(error)
        }
    }
}
