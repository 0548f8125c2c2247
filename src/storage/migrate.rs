//! Migrations, and the state of the schema.

use migrations::{Migrator, MigratorTrait, SchemaManager, seaql_migrations};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, EntityTrait, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};

use super::{
    Database, DatabaseError, FileError,
    distribute::{distribute, is_distributed},
};

/// The advisory lock that makes instances migrate one after the other. An arbitrary number that must never change.
const MIGRATION_LOCK: i64 = 0x6465_7661_7373_6967;

/// How long a step may wait for a table that is in use.
const STEP_LOCK_TIMEOUT: &str = "2s";

/// The step that brings the change log.
const FIRST_WITH_LOG: &str = "m20261129_000005_add_change_log";

/// The schema of a database, compared with the schema of this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaStatus {
    /// Steps that are applied.
    pub applied: Vec<String>,
    /// Steps of this program that are not applied.
    pub pending: Vec<String>,
    /// Applied steps of a newer version of the program.
    pub unknown: Vec<String>,
}

impl SchemaStatus {
    /// Compares the applied steps of a database with those of this program.
    pub(super) fn of(applied: Vec<String>) -> Self {
        let known: Vec<String> = Migrator::migrations()
            .iter()
            .map(|step| step.name().to_owned())
            .collect();
        let pending = known.iter().filter(|step| !applied.contains(step)).cloned().collect();
        let (applied, unknown) = applied.into_iter().partition(|step| known.contains(step));
        Self {
            applied,
            pending,
            unknown,
        }
    }

    /// Whether the version that made the schema does not write the change log.
    fn lacks_log(&self) -> bool {
        !self.applied.is_empty() && self.pending.iter().any(|step| step == FIRST_WITH_LOG)
    }
}

/// Compares the schema of `database` with that of this program. Changes nothing.
///
/// # Errors
/// When the database cannot be read.
pub async fn schema_status(database: &Database) -> Result<SchemaStatus, DatabaseError> {
    let applied = database.operate(
        async |db| match SchemaManager::new(db).has_table("seaql_migrations").await? {
            true => seaql_migrations::Entity::find().all(db).await,
            false => Ok(Vec::new()),
        },
    );
    let mut applied: Vec<_> = applied.await?.into_iter().map(|step| step.version).collect();
    applied.sort_unstable();
    Ok(SchemaStatus::of(applied))
}

/// Applies every pending step, all or none. Instances that migrate at the same time wait for each other.
///
/// # Errors
/// When the database cannot be changed, or a newer version of the program has changed it. [`FileError::InUse`] when another
/// process has an SQLite file open that is upgraded from a version which does not write the change log.
pub async fn migrate(database: &Database) -> Result<(), DatabaseError> {
    migrate_to(database, Layout::Same).await
}

/// As [`migrate`], and distributes the tables over the servers of Citus, as far as they are not distributed yet. Statements of
/// running instances fail after that, until they connect again.
///
/// # Errors
/// As [`migrate`], and [`DatabaseError::NoCitus`].
pub async fn migrate_and_distribute(database: &Database) -> Result<(), DatabaseError> {
    migrate_to(database, Layout::Distributed).await?;
    database.empty_local_tables().await
}

/// Where the tables are after a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Where they were: new tables go where the others are.
    Same,
    /// On the servers of Citus.
    Distributed,
}

async fn migrate_to(database: &Database, layout: Layout) -> Result<(), DatabaseError> {
    // SQLite has no sessions that a trigger could tell apart, so the version before must not run while the log begins.
    if let Some(path) = database.url().sqlite_path()
        && schema_status(database).await?.lacks_log()
    {
        let migrated = match database.schema_connection_alone().await {
            Ok(connection) => migrate_and_close(connection, layout).await,
            Err(error) => Err(error),
        };
        database.reopen_reads().await?;
        return migrated.map_err(|error| match error {
            DatabaseError::Busy(_) => FileError::InUse(path).into(),
            error => error,
        });
    }
    // On its own connection: settings of its session must not stay behind on another one.
    let connection = database.schema_connection().await?;
    database.while_reachable(migrate_and_close(connection, layout)).await
}

async fn migrate_and_close(connection: DatabaseConnection, layout: Layout) -> Result<(), DatabaseError> {
    let result = migrate_on(&connection, layout).await;
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "closing a connection failed");
    }
    result
}

async fn migrate_on(connection: &DatabaseConnection, layout: Layout) -> Result<(), DatabaseError> {
    let options = TransactionOptions {
        // An SQLite transaction that reads first and writes later fails, without waiting, if another writer came in between.
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let transaction = connection.begin_with_options(options).await?;
    if transaction.get_database_backend() == DbBackend::Postgres {
        let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
        transaction.execute_unprepared(&lock).await?;
        // While a step waits for a table, everybody else waits behind it: better to fail and to be repeated.
        transaction
            .execute_unprepared(&format!("SET LOCAL lock_timeout = '{STEP_LOCK_TIMEOUT}'"))
            .await?;
    }
    Migrator::up(&transaction, None).await?;
    if layout == Layout::Distributed || is_distributed(&transaction).await? {
        distribute(&transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}
