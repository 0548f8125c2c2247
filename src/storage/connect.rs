//! The database as the rest of the program knows it, and its pools of connections for reads.

use std::{sync::Arc, time::Duration};

use sea_orm::{
    DatabaseConnection, DbErr, RuntimeErr,
    sqlx::{Connection as _, Postgres},
};
use tokio::{sync::watch, time::timeout};

use super::{
    DatabaseError,
    backend::Backend as _,
    citus::{Dialect, KnownDialect},
    file::{self, FileError, FileId},
    heads::Heads,
    health::{Health, out_of_reach},
    options::Purpose,
    read_pool::{ReadPool, connect},
    statement_kind::{POSTGRES, SQLITE, StatementKind},
    url::DatabaseUrl,
};

/// How long connecting may take when a command starts.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the read of a call may take before its connection counts as dead: longer than the health check needs.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a statement of an operator may take: longer than the server allows one, so that its error comes first.
const OPERATOR_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the database is tested on another connection while a long statement runs.
const TEST_EVERY: Duration = Duration::from_secs(5);

/// A database, with two pools of connections for reads. Each writer has its own connection.
#[derive(Debug, Clone)]
pub struct Database {
    url: DatabaseUrl,
    /// For API keys, and for what operators list.
    reads: Arc<ReadPool>,
    /// For what calls read: many of them at once do not delay the look-up of an API key.
    call_reads: Arc<ReadPool>,
    /// As the newest connection has found.
    pub(super) known_dialect: KnownDialect,
    /// The result of the last health check.
    pub(super) health: Arc<watch::Sender<Health>>,
    /// The organizations that somebody follows.
    pub(super) heads: Arc<Heads>,
    /// The file of an SQLite database that was opened.
    file: Option<FileId>,
    /// A standby that calls read from while it is up to date.
    replica: Option<Arc<Database>>,
    /// Whether this is such a standby.
    pub(super) is_replica: bool,
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
        let known_dialect = KnownDialect::default();
        let reads = Arc::new(ReadPool::open(&url, Purpose::Reads, &known_dialect).await?);
        let call_reads = Arc::new(ReadPool::open(&url, Purpose::CallReads, &known_dialect).await?);
        let health = Arc::new(watch::Sender::new(Health::Good));
        let file = FileId::of(&url);
        let heads = Arc::default();
        Ok(Self {
            url,
            reads,
            call_reads,
            known_dialect,
            health,
            heads,
            file,
            replica: None,
            is_replica: false,
        })
    }

    /// This database, with `replica` as a standby that calls read from.
    #[must_use]
    pub fn with_replica(mut self, mut replica: Self) -> Self {
        replica.is_replica = true;
        self.replica = Some(Arc::new(replica));
        self
    }

    /// The standby that calls read from.
    pub fn replica(&self) -> Option<&Self> {
        self.replica.as_deref()
    }

    /// Where the database is.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Checks that the path of an SQLite database names the file that was opened.
    pub(super) fn check_file(&self) -> Result<(), FileError> {
        self.file.map_or(Ok(()), |file| file.check(&self.url))
    }

    /// Which statements the database takes. Known once it has been connected to.
    pub(super) fn dialect(&self) -> Dialect {
        self.known_dialect.get()
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

    /// The pool of connections for reads. [`operate`](Self::operate) and [`read`](Self::read) bound the time of a statement.
    pub fn reads(&self) -> DatabaseConnection {
        self.reads.current().0
    }

    /// Reads API keys. A task of its own finishes the statement even if the caller leaves: a connection that is dropped in the
    /// middle of a statement stays in use until the server answers.
    ///
    /// # Errors
    /// As `query`, [`DatabaseError::Silent`] when the database does not answer in time, and [`DatabaseError::OutOfReach`] as
    /// soon as the health check finds that.
    pub(super) async fn read<T, E, F>(
        &self,
        kind: &'static StatementKind,
        query: impl Fn(DatabaseConnection) -> F + Send + 'static,
    ) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        E: Into<DatabaseError> + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.read_from(&self.reads, kind, query).await
    }

    /// Reads for a call, as [`read`](Self::read) does, on connections of its own.
    pub(super) async fn read_for_call<T, E, F>(
        &self,
        kind: &'static StatementKind,
        query: impl Fn(DatabaseConnection) -> F + Send + 'static,
    ) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        E: Into<DatabaseError> + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.read_from(&self.call_reads, kind, query).await
    }

    async fn read_from<T, E, F>(
        &self,
        pool: &Arc<ReadPool>,
        kind: &'static StatementKind,
        query: impl Fn(DatabaseConnection) -> F + Send + 'static,
    ) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        E: Into<DatabaseError> + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.check_reach()?;
        // Started here: as a part of the future that waits, it would make the futures of calls too deep for the compiler.
        let reading = tokio::spawn(self.reading(pool, kind, query));
        let read = self.while_in_reach(reading).await?;
        read.unwrap_or(Err(DatabaseError::Panicked))
    }

    /// As [`read_for_call`](Self::read_for_call), for a task that is not dropped before it is done.
    pub(super) async fn read_in_task<T, E, F>(
        &self,
        kind: &'static StatementKind,
        query: impl Fn(DatabaseConnection) -> F + Send + 'static,
    ) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        E: Into<DatabaseError> + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.reading(&self.call_reads, kind, query).await
    }

    /// The statement and, if its connection was dead, a second attempt.
    fn reading<T, E, F, Q>(
        &self,
        pool: &Arc<ReadPool>,
        kind: &'static StatementKind,
        query: Q,
    ) -> impl Future<Output = Result<T, DatabaseError>> + Send + use<T, E, F, Q>
    where
        T: Send + 'static,
        E: Into<DatabaseError> + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
        Q: Fn(DatabaseConnection) -> F + Send + 'static,
    {
        let pool = Arc::clone(pool);
        // A new task does not know the span of the caller.
        let span = kind.span(if self.url.is_sqlite() { SQLITE } else { POSTGRES });
        async move {
            let (connection, generation) = pool.current();
            let error = match bounded(kind.observe_in(span.clone(), query(connection))).await {
                Err(
                    error @ (DatabaseError::Unreachable(_) | DatabaseError::NotWritable(_) | DatabaseError::Silent(_)),
                ) => error,
                result => return result,
            };
            // The other connections may be like this one: closed while idle, or hanging in the pool's test, which has no bound.
            pool.replace(generation).await?;
            match error {
                DatabaseError::Silent(_) | DatabaseError::Unreachable(DbErr::ConnectionAcquire(_)) => Err(error),
                // It took no time, and a second read does no harm.
                _ => bounded(kind.observe_in(span, query(pool.current().0))).await,
            }
        }
    }

    /// Waits for a result, but only while the database is in reach.
    ///
    /// # Errors
    /// [`DatabaseError::OutOfReach`] as soon as the health check finds that.
    pub(super) async fn while_in_reach<T>(&self, result: impl Future<Output = T>) -> Result<T, DatabaseError> {
        self.check_reach()?;
        let mut health = self.health();
        tokio::select! {
            result = result => Ok(result),
            () = out_of_reach(&mut health) => Err(DatabaseError::OutOfReach),
        }
    }

    /// Runs a short statement of an operator, within a bounded time. After an error of a write, the outcome is unknown.
    ///
    /// # Errors
    /// As `statement`, and [`DatabaseError::Silent`] when the database does not answer in time.
    pub(super) async fn operate<T>(
        &self,
        statement: impl AsyncFnOnce(&DatabaseConnection) -> Result<T, DbErr>,
    ) -> Result<T, DatabaseError> {
        let connection = self.reads();
        let statement = statement(&connection);
        if self.url.is_sqlite() {
            return Ok(statement.await?);
        }
        match timeout(OPERATOR_TIMEOUT, statement).await {
            Ok(result) => Ok(result?),
            Err(_elapsed) => Err(DatabaseError::Silent(OPERATOR_TIMEOUT)),
        }
    }

    /// Runs a long statement of an operator as long as the database answers on another connection.
    ///
    /// # Errors
    /// As `work`, and those of [`reach`](Self::reach).
    pub(super) async fn while_reachable<T>(
        &self,
        work: impl Future<Output = Result<T, DatabaseError>>,
    ) -> Result<T, DatabaseError> {
        if self.url.is_sqlite() {
            return work.await;
        }
        let unreachable = async {
            loop {
                tokio::time::sleep(TEST_EVERY).await;
                match self.reach().await {
                    Err(error) if !error.is_of_the_server() => return error,
                    _ => {}
                }
            }
        };
        tokio::select! {
            biased;
            result = work => result,
            error = unreachable => Err(error),
        }
    }

    /// Replaces the connections for reads: they hang or are dead if the database was out of reach.
    pub(super) async fn renew_reads(&self) -> Result<(), DatabaseError> {
        self.reads.renew().await?;
        self.call_reads.renew().await
    }

    /// A connection that changes the schema.
    pub(super) async fn schema_connection(&self) -> Result<DatabaseConnection, DbErr> {
        connect(&self.url, 1, Purpose::Schema, &self.known_dialect).await
    }

    /// As [`schema_connection`](Self::schema_connection), to an SQLite file that nobody else has open. Closes the connections for
    /// reads: [`reopen_reads`](Self::reopen_reads) must follow.
    ///
    /// # Errors
    /// [`DatabaseError::Busy`] when somebody else has the file open.
    pub(super) async fn schema_connection_alone(&self) -> Result<DatabaseConnection, DatabaseError> {
        self.reads.close().await;
        self.call_reads.close().await;
        Ok(connect(&self.url, 1, Purpose::SchemaAlone, &self.known_dialect).await?)
    }

    /// Opens the connections for reads again.
    pub(super) async fn reopen_reads(&self) -> Result<(), DatabaseError> {
        self.reads.reopen().await?;
        self.call_reads.reopen().await
    }

    /// Updates the metrics of the connections for reads.
    pub fn count_connections(&self) {
        self.reads.count("reads");
        self.call_reads.count("call_reads");
        if let Some(replica) = &self.replica {
            replica.call_reads.count("replica_reads");
        }
    }

    /// Closes the connections for reads.
    pub async fn close(&self) {
        let replica = async {
            if let Some(replica) = &self.replica {
                tokio::join!(replica.reads.close(), replica.call_reads.close());
            }
        };
        tokio::join!(self.reads.close(), self.call_reads.close(), replica);
    }
}

/// Bounds the time of a call's read.
async fn bounded<T, E: Into<DatabaseError>>(read: impl Future<Output = Result<T, E>>) -> Result<T, DatabaseError> {
    let result = timeout(READ_TIMEOUT, read).await;
    result.map_or(Err(DatabaseError::Silent(READ_TIMEOUT)), |result| {
        result.map_err(Into::into)
    })
}

#[cfg(test)]
mod tests;
