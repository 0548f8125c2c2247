//! The database as the rest of the program knows it, and its pool of connections for reads.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use sea_orm::{
    ConnectOptions, DatabaseConnection, DbErr, RuntimeErr,
    sqlx::{Connection as _, Postgres},
};
use tokio::{sync::watch, time::timeout};

use super::{
    DatabaseError, FileError,
    backend::Backend as _,
    file,
    health::{Health, out_of_reach},
    options::{Purpose, postgres_options, sqlite_options},
    statement_kind::{POSTGRES, SQLITE, StatementKind},
    url::DatabaseUrl,
};
use crate::telemetry::metrics;

/// How long to wait for a connection of a pool before the database counts as out of reach.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long connecting may take when a command starts.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was idle this long is tested before it is used: a restarted server or a proxy may have closed it.
const TEST_AFTER_IDLE: Duration = Duration::from_secs(1);
/// How long the read of a call may take before its connection counts as dead: longer than the health check needs.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// Connections for reads: API keys, and what operators list.
const READ_CONNECTIONS: u32 = 4;

/// A database, with a pool of connections for reads. Each writer has its own connection.
#[derive(Debug, Clone)]
pub struct Database {
    url: DatabaseUrl,
    reads: Arc<RwLock<Reads>>,
    /// The result of the last health check.
    pub(super) health: Arc<watch::Sender<Health>>,
}

/// The pool for reads. It is replaced when its connections hang.
#[derive(Debug)]
struct Reads {
    connection: DatabaseConnection,
    generation: u64,
}

impl Database {
    /// Opens a database. Creates the file of an SQLite database if the URL says `mode=rwc`. Connections to PostgreSQL are
    /// made when they are needed.
    ///
    /// # Errors
    /// When the driver does not accept the URL, and when an SQLite file cannot be opened or created.
    pub async fn open(url: DatabaseUrl) -> Result<Self, DatabaseError> {
        file::create(&url)?;
        Self::open_file(url).await
    }

    /// Opens a database, and never creates one: for commands that only read.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`FileError::Missing`] when there is no SQLite file, whatever the URL says.
    pub async fn open_existing(url: DatabaseUrl) -> Result<Self, DatabaseError> {
        file::check(&url)?;
        Self::open_file(url).await
    }

    async fn open_file(url: DatabaseUrl) -> Result<Self, DatabaseError> {
        let connection = match (connect(&url, READ_CONNECTIONS, Purpose::Reads).await, url.sqlite_path()) {
            (Err(source), Some(path)) => return Err(FileError::CannotOpen { path, source }.into()),
            (result, _) => result?,
        };
        let reads = Arc::new(RwLock::new(Reads {
            connection,
            generation: 0,
        }));
        let health = Arc::new(watch::Sender::new(Health::Good));
        Ok(Self { url, reads, health })
    }

    /// Where the database is.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Whether the database can be connected to.
    ///
    /// # Errors
    /// Why not. Does not use the pool: it would retry, and its error would only be a time-out.
    pub async fn reach(&self) -> Result<(), DatabaseError> {
        if self.url.is_sqlite() {
            return Ok(self.reads().ping().await?);
        }
        let attempt = async { Postgres::connect(&self.url, Purpose::Health).await?.close().await };
        match timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(result) => Ok(result.map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error.into())))?),
            Err(_elapsed) => Err(DatabaseError::Silent(CONNECT_TIMEOUT)),
        }
    }

    /// The pool of connections for reads, also used for the few writes of operators.
    pub fn reads(&self) -> DatabaseConnection {
        self.current_reads().0
    }

    /// Reads for a call. A task of its own finishes the statement even if the caller leaves: a connection that is dropped in
    /// the middle of a statement stays in use until the server answers.
    ///
    /// # Errors
    /// As `query`, [`DatabaseError::Silent`] when the database does not answer in time, and [`DatabaseError::OutOfReach`] as
    /// soon as the health check finds that.
    pub(super) async fn read<T, F>(
        &self,
        kind: &'static StatementKind,
        query: impl Fn(DatabaseConnection) -> F + Send + 'static,
    ) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, DbErr>> + Send + 'static,
    {
        self.check_reach()?;
        let mut health = self.health();
        let database = self.clone();
        let span = kind.span(if self.url.is_sqlite() { SQLITE } else { POSTGRES });
        let reading = tokio::spawn(async move {
            let (connection, generation) = database.current_reads();
            let error = match bounded(kind.observe_in(span.clone(), query(connection))).await {
                Err(
                    error @ (DatabaseError::Unreachable(_) | DatabaseError::NotWritable(_) | DatabaseError::Silent(_)),
                ) => error,
                result => return result,
            };
            // The other connections may be like this one: closed while idle, or hanging in the pool's test, which has no bound.
            database.replace_reads(generation).await?;
            match error {
                DatabaseError::Silent(_) | DatabaseError::Unreachable(DbErr::ConnectionAcquire(_)) => Err(error),
                // It took no time, and a second read does no harm.
                _ => bounded(kind.observe_in(span, query(database.reads()))).await,
            }
        });
        tokio::select! {
            result = reading => result.unwrap_or(Err(DatabaseError::Panicked)),
            () = out_of_reach(&mut health) => Err(DatabaseError::OutOfReach),
        }
    }

    /// Replaces the connections for reads: they hang or are dead if the database was out of reach.
    pub(super) async fn renew_reads(&self) -> Result<(), DatabaseError> {
        let (_, generation) = self.current_reads();
        self.replace_reads(generation).await
    }

    fn current_reads(&self) -> (DatabaseConnection, u64) {
        // Nothing panics while it holds the lock.
        let reads = self.reads.read().unwrap_or_else(PoisonError::into_inner);
        (reads.connection.clone(), reads.generation)
    }

    /// Replaces the pool of this generation, unless that is done already.
    async fn replace_reads(&self, generation: u64) -> Result<(), DatabaseError> {
        let fresh = connect(&self.url, READ_CONNECTIONS, Purpose::Reads).await?;
        let stuck = {
            let mut reads = self.reads.write().unwrap_or_else(PoisonError::into_inner);
            if reads.generation != generation {
                return Ok(());
            }
            reads.generation += 1;
            std::mem::replace(&mut reads.connection, fresh)
        };
        tracing::warn!("the connections for reads are dead or hang; replacing them");
        // Closing waits for a peer that may not answer.
        tokio::spawn(async move { stuck.close().await });
        Ok(())
    }

    /// A connection that changes the schema.
    pub(super) async fn schema_connection(&self) -> Result<DatabaseConnection, DbErr> {
        connect(&self.url, 1, Purpose::Schema).await
    }

    /// Updates the metrics of the connections for reads.
    pub fn count_connections(&self) {
        let reads = self.reads();
        let (size, idle) = if self.url.is_sqlite() {
            let pool = reads.get_sqlite_connection_pool();
            (pool.size(), pool.num_idle())
        } else {
            let pool = reads.get_postgres_connection_pool();
            (pool.size(), pool.num_idle())
        };
        metrics::pool("reads", idle, (size as usize).saturating_sub(idle));
    }

    /// Closes the connections for reads.
    pub async fn close(&self) {
        if let Err(error) = self.reads().close_by_ref().await {
            tracing::debug!(%error, "closing a connection failed");
        }
    }
}

/// Bounds the time of a call's read.
async fn bounded<T>(read: impl Future<Output = Result<T, DbErr>>) -> Result<T, DatabaseError> {
    let result = timeout(READ_TIMEOUT, read).await;
    result.map_or(Err(DatabaseError::Silent(READ_TIMEOUT)), |result| Ok(result?))
}

async fn connect(url: &DatabaseUrl, connections: u32, purpose: Purpose) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url.as_str());
    options
        .max_connections(connections)
        // Either of these makes the pool start a task for idle connections, which can spin for ever: it counts them while they
        // are taken and returned, and may get a count below zero (sqlx-core 0.9.0, pool/inner.rs, `release` and
        // `spawn_maintenance_tasks`). A dead connection is found when it is next used.
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy(true)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire_if_idle_for(TEST_AFTER_IDLE)
        .record_stmt_in_spans(false)
        .map_sqlx_sqlite_opts(move |options| sqlite_options(options, purpose))
        .map_sqlx_postgres_opts(move |options| postgres_options(options, purpose));
    sea_orm::Database::connect(options).await
}

#[cfg(test)]
mod tests;
