//! The settings of connections.

use std::time::Duration;

use sea_orm::sqlx::{
    self, AssertSqlSafe, ConnectOptions, Executor as _, PgConnection,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous},
};
use tracing::log::LevelFilter;

use super::DatabaseUrl;

/// How long one statement may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one statement may wait for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait for SQLite's only writer.
pub(super) const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait until nobody else has an SQLite file open: a command that ends soon is waited for, a service is not.
const SQLITE_ALONE_TIMEOUT: Duration = Duration::from_millis(500);
/// SQLite's page cache of a connection that writes: a negative number of KiB. With the default of 2 MiB, the indexes of a
/// million devices are read again and again.
const SQLITE_CACHE: &str = "-65536";
/// After how many pages in the write-ahead log a commit copies them into the database: 16 MiB. With the default of 1,000,
/// the same index pages are copied again and again.
const SQLITE_CHECKPOINT: &str = "4000";
/// How long the server keeps a transaction whose client is silent.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Statements that take longer are logged.
const SLOW_STATEMENT: Duration = Duration::from_secs(1);

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Short reads of API keys, and what operators list.
    Reads,
    /// The reads of calls.
    CallReads,
    /// Statements over sets of rows.
    Writes,
    /// Changes of the schema, which may take long.
    Schema,
    /// Changes of the schema that need an SQLite file alone: while the connection is open, no other process can use it.
    SchemaAlone,
    /// The health check, whose statements are not logged: there are several each second.
    Health,
}

impl DatabaseUrl {
    /// Connects to PostgreSQL.
    ///
    /// # Errors
    /// When the driver does not accept the URL, and when the server cannot be reached or rejects the connection.
    pub async fn connect_to_postgres(&self, purpose: Purpose) -> Result<PgConnection, sqlx::Error> {
        let options = postgres_options(self.as_str().parse()?, purpose);
        let mut connection = options.connect().await?;
        set_up_postgres(&mut connection, purpose).await?;
        Ok(connection)
    }

    /// The options of a connection to SQLite.
    ///
    /// # Errors
    /// When the driver does not accept the URL.
    pub fn sqlite_options(&self, purpose: Purpose) -> Result<SqliteConnectOptions, sqlx::Error> {
        Ok(sqlite_options(self.as_str().parse()?, purpose))
    }
}

pub(super) fn sqlite_options(options: SqliteConnectOptions, purpose: Purpose) -> SqliteConnectOptions {
    let options = with_log(options, purpose)
        // See `file::create`: everybody could read a file that the driver creates.
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(SQLITE_BUSY_TIMEOUT)
        // What is deleted is overwritten with zeros. FAST would leave it in pages that become free.
        .pragma("secure_delete", "ON");
    match purpose {
        Purpose::Writes => options
            .pragma("cache_size", SQLITE_CACHE)
            .pragma("wal_autocheckpoint", SQLITE_CHECKPOINT)
            // See `Backend::keep_journals_in_memory`.
            .pragma("temp_store", "MEMORY"),
        Purpose::SchemaAlone => options
            .locking_mode(SqliteLockingMode::Exclusive)
            .busy_timeout(SQLITE_ALONE_TIMEOUT),
        Purpose::Reads | Purpose::CallReads | Purpose::Schema | Purpose::Health => options,
    }
}

/// What the server is told when a connection begins. PgBouncer rejects parameters that it does not know, so everything else is set
/// by [`set_up_postgres`].
pub(super) fn postgres_options(options: PgConnectOptions, purpose: Purpose) -> PgConnectOptions {
    with_log(options, purpose)
        .application_name("device-assignment")
        // The text form of floats: there are none, and PgBouncer does not know this parameter.
        .extra_float_digits(None)
}

/// Sets a new connection up for its purpose.
pub(super) async fn set_up_postgres(connection: &mut PgConnection, purpose: Purpose) -> Result<(), sqlx::Error> {
    let sql: String = postgres_settings(purpose)
        .into_iter()
        .map(|(name, value)| format!("SET {name} = '{value}';"))
        .collect();
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
    Ok(())
}

fn postgres_settings(purpose: Purpose) -> Vec<(&'static str, String)> {
    let millis = |timeout: Duration| timeout.as_millis().to_string();
    let mut settings = vec![
        ("default_transaction_isolation", "read committed".to_owned()),
        ("synchronous_commit", "on".to_owned()),
        // Compiling a statement takes longer than any statement of a call, and is done again for each execution. The estimate
        // for a table that was never analyzed is high enough for it.
        ("jit", "off".to_owned()),
        (
            "idle_in_transaction_session_timeout",
            millis(IDLE_IN_TRANSACTION_TIMEOUT),
        ),
        // Tells the fence of the schema that this version writes the change log.
        ("device_assignment.log", "on".to_owned()),
    ];
    if matches!(purpose, Purpose::Schema | Purpose::SchemaAlone) {
        return settings;
    }
    settings.push(("statement_timeout", millis(STATEMENT_TIMEOUT)));
    settings.push(("lock_timeout", millis(LOCK_TIMEOUT)));
    let more: &[&[(&'static str, &'static str)]] = match purpose {
        Purpose::Writes => &[&BY_KEY],
        Purpose::CallReads => &[&BY_KEY, &IN_KEY_ORDER],
        Purpose::Reads | Purpose::Schema | Purpose::SchemaAlone | Purpose::Health => &[],
    };
    settings.extend(
        more.iter()
            .copied()
            .flatten()
            .map(|&(name, value)| (name, value.to_owned())),
    );
    settings
}

/// Every statement looks rows up by their keys and is planned once. A plan made for an empty table must not scan the whole table
/// for each row once the table is full.
const BY_KEY: [(&str, &str); 2] = [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off")];

/// A page is read in the order of an index, from where the page before ended, one row after the other. Any other plan reads
/// everything first, and is cheaper only in the estimate.
const IN_KEY_ORDER: [(&str, &str); 4] = [
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("default_transaction_read_only", "on"),
];

fn with_log<O: ConnectOptions>(options: O, purpose: Purpose) -> O {
    if purpose == Purpose::Health {
        options.disable_statement_logging()
    } else {
        options
            .log_statements(LevelFilter::Debug)
            .log_slow_statements(LevelFilter::Warn, SLOW_STATEMENT)
    }
}
