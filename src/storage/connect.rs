//! Connections, and the settings that each of them has.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use sea_orm::{
    ConnectOptions, DatabaseConnection, DbErr, RuntimeErr,
    sqlx::{
        self, ConnectOptions as _, Connection as _,
        postgres::PgConnectOptions,
        sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
    },
};
use tokio::sync::watch;
use tracing::log::LevelFilter;

use super::{
    DatabaseError, FileError, file,
    health::{Connection, Health, out_of_reach},
    observed::{Kind, POSTGRES, SQLITE},
    url::DatabaseUrl,
};
use crate::telemetry::metrics;

/// How long to try to get a connection before the database counts as out of reach.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a single connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was idle this long is tested before it is used: a restarted server or a proxy may have closed it.
const TEST_AFTER_IDLE: Duration = Duration::from_secs(1);
/// How long one statement may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one statement may wait for a lock. On SQLite, how long to wait for the one writer.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How much of an SQLite database a connection that writes keeps in memory, in the form of the pragma: a negative number of
/// KiB. With the default of 2 MiB, the indexes of a million devices are read again and again.
const SQLITE_CACHE: &str = "-65536";
/// After how many pages of what was written ahead SQLite copies them into the database, in the midst of a commit: 16 MiB. With
/// the default of 1,000 the same pages of an index are copied again and again.
const SQLITE_CHECKPOINT: &str = "4000";
/// How long a call's read may take before its connection is given up as dead: longer than it takes to find that out.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the server keeps a transaction whose client went silent.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// A statement that takes longer than this is logged.
const SLOW_STATEMENT: Duration = Duration::from_secs(1);
/// Connections for reads: API keys, and what operators list.
const READ_CONNECTIONS: u32 = 4;

/// A database, and a pool of connections for reads. Writers have connections of their own.
#[derive(Debug, Clone)]
pub struct Database {
    url: DatabaseUrl,
    reads: Arc<RwLock<Reads>>,
    /// What is known of it; told by whoever watches it.
    pub(super) health: Arc<watch::Sender<Health>>,
}

/// The pool for reads. Another one takes its place when its connections hang.
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
    /// Why not. Past the pool, which would try again and again, and say no more than that its time was over.
    pub async fn reach(&self) -> Result<(), DatabaseError> {
        if self.url.is_sqlite() {
            return Ok(self.reads().ping().await?);
        }
        let attempt = async {
            let options: PgConnectOptions = self.url.as_str().parse()?;
            options.disable_statement_logging().connect().await?.close().await
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(result) => Ok(result.map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error.into())))?),
            Err(_elapsed) => Err(DatabaseError::Silent(CONNECT_TIMEOUT)),
        }
    }

    /// The pool of connections for reads, and for the few writes of operators.
    pub fn reads(&self) -> DatabaseConnection {
        self.current_reads().0
    }

    /// Reads on behalf of a call, which may go away at any time: the statement is finished all the same, because a
    /// connection that is left in the middle of one stays taken until the server answers.
    ///
    /// # Errors
    /// As `query`, [`DatabaseError::Silent`] when the database does not answer in time, and [`DatabaseError::OutOfReach`] as soon as
    /// that is known.
    pub(super) async fn read<T, F>(
        &self,
        kind: &'static Kind,
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
            let failure = match bounded(kind.observe_in(span.clone(), query(connection))).await {
                Err(
                    failure
                    @ (DatabaseError::Unreachable(_) | DatabaseError::NotWritable(_) | DatabaseError::Silent(_)),
                ) => failure,
                result => return result,
            };
            // Every other connection may be like this one: closed while nobody used it, or one that the pool asks, without
            // bound, whether it lives.
            database.replace_reads(generation).await?;
            match failure {
                DatabaseError::Silent(_) | DatabaseError::Unreachable(DbErr::ConnectionAcquire(_)) => Err(failure),
                // It took no time, and to read again does no harm.
                _ => bounded(kind.observe_in(span, query(database.reads()))).await,
            }
        });
        tokio::select! {
            result = reading => result.unwrap_or(Err(DatabaseError::Panicked)),
            () = out_of_reach(&mut health) => Err(DatabaseError::OutOfReach),
        }
    }

    /// Gives up the connections for reads, which hang or have died if the database was out of reach.
    pub(super) async fn renew_reads(&self) -> Result<(), DatabaseError> {
        let (_, generation) = self.current_reads();
        self.replace_reads(generation).await
    }

    fn current_reads(&self) -> (DatabaseConnection, u64) {
        // Nothing panics while it holds the lock.
        let reads = self.reads.read().unwrap_or_else(PoisonError::into_inner);
        (reads.connection.clone(), reads.generation)
    }

    /// Gives up the pool of this generation, unless that was done already.
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
        tracing::warn!("the connections for reads have died or hang; they are replaced");
        // Closing waits for the peer, which is just what does not answer.
        tokio::spawn(async move { stuck.close().await });
        Ok(())
    }

    /// A connection of one's own: a pool of one, which reconnects by itself.
    ///
    /// # Errors
    /// When the driver does not accept the URL.
    pub async fn own_connection(&self) -> Result<DatabaseConnection, DatabaseError> {
        Ok(connect(&self.url, 1, Purpose::Writes).await?)
    }

    /// A connection to ask after the database's health. Not in a pool, which would try again and again, and not in the log,
    /// which it would fill.
    pub(super) async fn health_connection(&self) -> Result<Connection, sqlx::Error> {
        let url = self.url.as_str();
        Ok(if self.url.is_sqlite() {
            let options = sqlite_options(url.parse()?, Purpose::Reads);
            Connection::Sqlite(options.disable_statement_logging().connect().await?)
        } else {
            let options = postgres_options(url.parse()?, Purpose::Reads);
            Connection::Postgres(options.disable_statement_logging().connect().await?)
        })
    }

    /// As [`own_connection`](Self::own_connection), for statements that may take long.
    pub(super) async fn schema_connection(&self) -> Result<DatabaseConnection, DbErr> {
        connect(&self.url, 1, Purpose::Schema).await
    }

    /// Tells operators how many connections for reads there are.
    pub fn count_connections(&self) {
        let reads = self.reads();
        let (size, idle) = if self.url.is_sqlite() {
            let pool = reads.get_sqlite_connection_pool();
            (pool.size(), pool.num_idle())
        } else {
            let pool = reads.get_postgres_connection_pool();
            (pool.size(), pool.num_idle())
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        metrics::pool("reads", idle, size.saturating_sub(idle));
    }

    /// Closes the connections for reads.
    pub async fn close(&self) {
        if let Err(error) = self.reads().close_by_ref().await {
            tracing::debug!(%error, "closing a connection failed");
        }
    }
}

/// Waits for a call's read, but not for ever.
async fn bounded<T>(read: impl Future<Output = Result<T, DbErr>>) -> Result<T, DatabaseError> {
    let result = tokio::time::timeout(READ_TIMEOUT, read).await;
    result.map_or(Err(DatabaseError::Silent(READ_TIMEOUT)), |result| Ok(result?))
}

/// What connections are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Short reads.
    Reads,
    /// Statements over sets of rows.
    Writes,
    /// What may take long.
    Schema,
}

async fn connect(url: &DatabaseUrl, connections: u32, purpose: Purpose) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url.as_str());
    options
        .max_connections(connections)
        // Either one makes the pool start a task that looks after idle connections, and that can spin for ever: it counts
        // them while others give one back and take it, and may see a count below zero (sqlx-core 0.9.0, pool/inner.rs,
        // `release` and `spawn_maintenance_tasks`). A connection that has died is found when it is next used.
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy(true)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire_if_idle_for(TEST_AFTER_IDLE)
        .record_stmt_in_spans(false)
        .sqlx_logging_level(LevelFilter::Debug)
        .sqlx_slow_statements_logging_settings(LevelFilter::Warn, SLOW_STATEMENT)
        .map_sqlx_sqlite_opts(move |options| sqlite_options(options, purpose))
        .map_sqlx_postgres_opts(move |options| postgres_options(options, purpose));
    sea_orm::Database::connect(options).await
}

fn sqlite_options(options: SqliteConnectOptions, purpose: Purpose) -> SqliteConnectOptions {
    let options = options
        // See `file::create`: a file that the driver creates can be read by everybody.
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(SQLITE_BUSY_TIMEOUT);
    match purpose {
        Purpose::Writes => options
            .pragma("cache_size", SQLITE_CACHE)
            .pragma("wal_autocheckpoint", SQLITE_CHECKPOINT),
        Purpose::Reads | Purpose::Schema => options,
    }
}

fn postgres_options(options: PgConnectOptions, purpose: Purpose) -> PgConnectOptions {
    let millis = |timeout: Duration| timeout.as_millis().to_string();
    let options = options.application_name("device-assignment").options([
        ("default_transaction_isolation", "read committed".to_owned()),
        ("synchronous_commit", "on".into()),
        (
            "idle_in_transaction_session_timeout",
            millis(IDLE_IN_TRANSACTION_TIMEOUT),
        ),
    ]);
    if purpose == Purpose::Schema {
        return options;
    }
    let options = options.options([
        ("statement_timeout", millis(STATEMENT_TIMEOUT)),
        ("lock_timeout", millis(LOCK_TIMEOUT)),
    ]);
    if purpose == Purpose::Reads {
        return options;
    }
    // Every statement looks rows up by their keys, and is planned once. What the planner thinks of a table that
    // was empty a minute ago must not make it read all of it for each row.
    options.options([("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off")])
}

#[cfg(test)]
mod tests;
