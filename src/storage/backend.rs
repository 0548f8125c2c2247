//! PostgreSQL and SQLite behind one trait: what writes and what checks the health is written once, generic over the
//! database, and speaks to the driver directly.

use std::time::Duration;

use sea_orm::{
    DatabaseConnection,
    sqlx::{
        self, AssertSqlSafe, ConnectOptions as _, Connection as _, FromRow, PgConnection, Postgres, Sqlite,
        SqliteConnection, postgres::PgRow, sqlite::SqliteRow,
    },
};

use super::{
    DatabaseUrl,
    citus::{Dialect, adapt},
    options::{Purpose, SQLITE_BUSY_TIMEOUT},
    sql::Statement,
    statement_kind::{POSTGRES, SQLITE, System},
    timeline::{Timeline, follow_timeline},
};

/// How long writers wait for readers until SQLite's write-ahead log can be emptied.
const ERASE_TIMEOUT: Duration = Duration::from_millis(100);

/// The steps that the schema has taken.
const APPLIED_STEPS: &str = "SELECT version FROM seaql_migrations ORDER BY version";

/// A database that the service can use.
pub(super) trait Backend: sqlx::Database<Connection: 'static> {
    /// Its name in traces.
    const SYSTEM: System;
    /// Begins a transaction that may write.
    const BEGIN: &'static str;
    /// Begins a transaction whose reads all see the same snapshot, and that writes nothing.
    const BEGIN_SNAPSHOT: &'static str;
    /// Whether it runs in this process. Then it is slow at worst: no connection can be dead, and no answer can be lost.
    const IS_EMBEDDED: bool;

    /// The driver's pool of a pool of connections to this database.
    fn pool(connection: &DatabaseConnection) -> &sqlx::Pool<Self>;

    /// Makes a connection.
    fn connect(
        url: &DatabaseUrl,
        purpose: Purpose,
    ) -> impl Future<Output = Result<Self::Connection, sqlx::Error>> + Send;

    /// Finds the dialect of the database, and prepares a new connection for it.
    fn adapt(connection: &mut Self::Connection) -> impl Future<Output = Result<Dialect, sqlx::Error>> + Send;

    /// Runs a statement and returns its rows.
    fn rows<T>(
        connection: &mut Self::Connection,
        statement: &Statement<'_>,
    ) -> impl Future<Output = Result<Vec<T>, sqlx::Error>> + Send
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin;

    /// Runs a statement and returns how many rows it wrote.
    fn execute(
        connection: &mut Self::Connection,
        statement: &Statement<'_>,
    ) -> impl Future<Output = Result<u64, sqlx::Error>> + Send;

    /// Begins a new history if the server is on another timeline than the stored one.
    fn follow_timeline(
        connection: &mut Self::Connection,
        dialect: Dialect,
    ) -> impl Future<Output = Result<Timeline, sqlx::Error>> + Send;

    /// Removes what was deleted from where the database keeps earlier versions. Returns false if somebody still reads them.
    fn erase(connection: &mut Self::Connection) -> impl Future<Output = Result<bool, sqlx::Error>> + Send;

    /// Whether an embedded database keeps in memory what it needs to undo a statement. It copies each page before the statement
    /// changes it, and as a file, that doubles what a small batch writes. For a large batch it would be too much memory. Not within
    /// a transaction.
    fn keep_journals_in_memory(
        connection: &mut Self::Connection,
        in_memory: bool,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// The steps that the schema has taken; an error if there is no table of them.
    fn applied_steps(
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<Vec<String>, sqlx::Error>> + Send;

    /// Checks that the file of an embedded database can be written: with a small write if `with_write`, and otherwise
    /// without access to the disk.
    fn check_writable(
        connection: &mut Self::Connection,
        with_write: bool,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

impl Backend for Postgres {
    const SYSTEM: System = POSTGRES;
    const BEGIN: &'static str = "BEGIN";
    const BEGIN_SNAPSHOT: &'static str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    const IS_EMBEDDED: bool = false;

    fn pool(connection: &DatabaseConnection) -> &sqlx::Pool<Self> {
        connection.get_postgres_connection_pool()
    }

    async fn connect(url: &DatabaseUrl, purpose: Purpose) -> Result<PgConnection, sqlx::Error> {
        url.connect_to_postgres(purpose).await
    }

    async fn adapt(connection: &mut PgConnection) -> Result<Dialect, sqlx::Error> {
        adapt(connection).await
    }

    async fn rows<T>(connection: &mut PgConnection, statement: &Statement<'_>) -> Result<Vec<T>, sqlx::Error>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let (sql, arguments) = statement.for_postgres()?;
        sqlx::query_as_with(sql, arguments).fetch_all(connection).await
    }

    async fn execute(connection: &mut PgConnection, statement: &Statement<'_>) -> Result<u64, sqlx::Error> {
        let (sql, arguments) = statement.for_postgres()?;
        let result = sqlx::query_with(sql, arguments).execute(connection).await?;
        Ok(result.rows_affected())
    }

    async fn follow_timeline(connection: &mut PgConnection, dialect: Dialect) -> Result<Timeline, sqlx::Error> {
        follow_timeline(connection, dialect).await
    }

    async fn erase(_: &mut PgConnection) -> Result<bool, sqlx::Error> {
        Ok(true)
    }

    async fn keep_journals_in_memory(_: &mut PgConnection, _: bool) -> Result<(), sqlx::Error> {
        Ok(())
    }

    async fn applied_steps(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar(APPLIED_STEPS).fetch_all(connection).await
    }

    async fn check_writable(_: &mut PgConnection, _: bool) -> Result<(), sqlx::Error> {
        Ok(())
    }
}

impl Backend for Sqlite {
    const SYSTEM: System = SQLITE;
    // A transaction that reads first and writes later fails, without waiting, if another writer came in between.
    const BEGIN: &'static str = "BEGIN IMMEDIATE";
    const BEGIN_SNAPSHOT: &'static str = "BEGIN DEFERRED";
    const IS_EMBEDDED: bool = true;

    fn pool(connection: &DatabaseConnection) -> &sqlx::Pool<Self> {
        connection.get_sqlite_connection_pool()
    }

    async fn connect(url: &DatabaseUrl, purpose: Purpose) -> Result<SqliteConnection, sqlx::Error> {
        url.sqlite_options(purpose)?.connect().await
    }

    async fn adapt(_: &mut SqliteConnection) -> Result<Dialect, sqlx::Error> {
        Ok(Dialect::Plain)
    }

    async fn rows<T>(connection: &mut SqliteConnection, statement: &Statement<'_>) -> Result<Vec<T>, sqlx::Error>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let (sql, arguments) = statement.for_sqlite()?;
        sqlx::query_as_with(sql, arguments).fetch_all(connection).await
    }

    async fn execute(connection: &mut SqliteConnection, statement: &Statement<'_>) -> Result<u64, sqlx::Error> {
        let (sql, arguments) = statement.for_sqlite()?;
        let result = sqlx::query_with(sql, arguments).execute(connection).await?;
        Ok(result.rows_affected())
    }

    async fn follow_timeline(_: &mut SqliteConnection, _: Dialect) -> Result<Timeline, sqlx::Error> {
        Ok(Timeline::Same)
    }

    async fn erase(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
        let wait = |timeout: Duration| AssertSqlSafe(format!("PRAGMA busy_timeout = {}", timeout.as_millis()));
        sqlx::query(wait(ERASE_TIMEOUT)).execute(&mut *connection).await?;
        let emptied = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_one(&mut *connection)
            .await;
        sqlx::query(wait(SQLITE_BUSY_TIMEOUT)).execute(connection).await?;
        let (is_busy, _, _): (bool, i64, i64) = emptied?;
        Ok(!is_busy)
    }

    async fn keep_journals_in_memory(connection: &mut SqliteConnection, in_memory: bool) -> Result<(), sqlx::Error> {
        let pragma = if in_memory {
            "PRAGMA temp_store = MEMORY"
        } else {
            "PRAGMA temp_store = FILE"
        };
        sqlx::query(pragma).execute(connection).await?;
        Ok(())
    }

    async fn applied_steps(connection: &mut SqliteConnection) -> Result<Vec<String>, sqlx::Error> {
        sqlx::query_scalar(APPLIED_STEPS).fetch_all(connection).await
    }

    async fn check_writable(connection: &mut SqliteConnection, with_write: bool) -> Result<(), sqlx::Error> {
        let mut transaction = match connection.begin_with(Self::BEGIN).await {
            Ok(transaction) => transaction,
            // SQLITE_BUSY, SQLITE_BUSY_RECOVERY: somebody else writes, so it can be written.
            Err(error) if !with_write && matches!(code(&error).as_deref(), Some("5" | "261")) => return Ok(()),
            Err(error) => return Err(error),
        };
        // A number in the header of the file that nothing else uses. Setting it fails on a read-only file, and writes a page
        // even if the number stays the same, which no UPDATE does.
        let number: i64 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&mut *transaction)
            .await?;
        sqlx::query(AssertSqlSafe(format!("PRAGMA user_version = {number}")))
            .execute(&mut *transaction)
            .await?;
        if with_write {
            transaction.commit().await
        } else {
            transaction.rollback().await
        }
    }
}

/// PostgreSQL's SQLSTATE or SQLite's result code.
pub(super) fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}
