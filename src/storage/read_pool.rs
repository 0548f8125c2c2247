//! A pool of connections for reads, which is replaced as a whole when its connections hang or are dead.

use std::{
    sync::{PoisonError, RwLock},
    time::Duration,
};

use sea_orm::{ConnectOptions, DatabaseConnection, DbErr};

use super::{
    DatabaseError, DatabaseUrl, FileError,
    citus::{KnownDialect, adapt},
    options::{Purpose, postgres_options, set_up_postgres, sqlite_options},
};
use crate::telemetry::metrics;

/// How long to wait for a connection of a pool before the database counts as out of reach.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that was idle this long is tested before it is used: a restarted server or a proxy may have closed it.
const TEST_AFTER_IDLE: Duration = Duration::from_secs(1);
/// The connections of a pool.
pub(super) const POOL_CONNECTIONS: u32 = 4;

/// A pool of connections to one database for one purpose.
#[derive(Debug)]
pub(super) struct ReadPool {
    url: DatabaseUrl,
    purpose: Purpose,
    dialect: KnownDialect,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    connection: DatabaseConnection,
    generation: u64,
}

impl ReadPool {
    /// Opens a pool. Connections to PostgreSQL are made when they are needed.
    ///
    /// # Errors
    /// When the driver does not accept the URL, and when an SQLite file cannot be opened.
    pub(super) async fn open(
        url: &DatabaseUrl,
        purpose: Purpose,
        dialect: &KnownDialect,
    ) -> Result<Self, DatabaseError> {
        let connection = connect(url, POOL_CONNECTIONS, purpose, dialect).await;
        let connection = match (connection, url.sqlite_path()) {
            (Err(source), Some(path)) => return Err(FileError::CannotOpen { path, source }.into()),
            (result, _) => result?,
        };
        Ok(Self {
            url: url.clone(),
            purpose,
            dialect: dialect.clone(),
            current: RwLock::new(Current {
                connection,
                generation: 0,
            }),
        })
    }

    /// The pool, and the number of times that it was replaced.
    pub(super) fn current(&self) -> (DatabaseConnection, u64) {
        // Nothing panics while it holds the lock.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        (current.connection.clone(), current.generation)
    }

    /// Replaces the connections of this generation, unless that is done already.
    pub(super) async fn replace(&self, generation: u64) -> Result<(), DatabaseError> {
        let fresh = connect(&self.url, POOL_CONNECTIONS, self.purpose, &self.dialect).await?;
        let stuck = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            if current.generation != generation {
                return Ok(());
            }
            current.generation += 1;
            std::mem::replace(&mut current.connection, fresh)
        };
        tracing::warn!("the connections for reads are dead or hang; replacing them");
        // Closing waits for a peer that may not answer.
        tokio::spawn(async move { stuck.close().await });
        Ok(())
    }

    /// Replaces the connections, whatever their generation.
    pub(super) async fn renew(&self) -> Result<(), DatabaseError> {
        let (_, generation) = self.current();
        self.replace(generation).await
    }

    /// Opens the pool again after it was closed.
    pub(super) async fn reopen(&self) -> Result<(), DatabaseError> {
        let fresh = connect(&self.url, POOL_CONNECTIONS, self.purpose, &self.dialect).await?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.generation += 1;
        current.connection = fresh;
        Ok(())
    }

    /// Updates the metrics of the pool under this name.
    pub(super) fn count(&self, name: &'static str) {
        let (pool, _) = self.current();
        let (size, idle) = if self.url.is_sqlite() {
            let pool = pool.get_sqlite_connection_pool();
            (pool.size(), pool.num_idle())
        } else {
            let pool = pool.get_postgres_connection_pool();
            (pool.size(), pool.num_idle())
        };
        metrics::pool(name, idle, (size as usize).saturating_sub(idle));
    }

    pub(super) async fn close(&self) {
        let (pool, _) = self.current();
        if let Err(error) = pool.close_by_ref().await {
            tracing::debug!(%error, "closing a connection failed");
        }
    }
}

/// A pool of at most so many connections for this purpose. Each of them sets `dialect`.
pub(super) async fn connect(
    url: &DatabaseUrl,
    connections: u32,
    purpose: Purpose,
    dialect: &KnownDialect,
) -> Result<DatabaseConnection, DbErr> {
    let dialect = dialect.clone();
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
        .map_sqlx_postgres_opts(move |options| postgres_options(options, purpose))
        .map_sqlx_postgres_pool_opts(move |pool| {
            let dialect = dialect.clone();
            pool.after_connect(move |connection, _| {
                let dialect = dialect.clone();
                Box::pin(async move {
                    set_up_postgres(connection, purpose).await?;
                    dialect.set(adapt(connection).await?);
                    Ok(())
                })
            })
        });
    sea_orm::Database::connect(options).await
}
