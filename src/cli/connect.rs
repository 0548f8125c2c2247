//! Connects to the database, and checks that its schema fits.

use std::time::{Duration, Instant};

use super::{CommandError, output::say};
use crate::{
    config::DatabaseConfig,
    storage::{self, Database, DatabaseError, DatabaseUrl, FileError, SchemaStatus, schema_status},
};

/// The interval between attempts to reach the database.
const INTERVAL: Duration = Duration::from_secs(1);

/// Connects to a database, which is created if the URL says so. Waits while it is out of reach.
pub(super) async fn connect(config: &DatabaseConfig) -> Result<Database, CommandError> {
    let url = config.database_url.clone();
    let database = Database::open(url.clone()).await;
    reach(database.map_err(|error| failed(&url, &error))?, config).await
}

/// Connects to a database that exists. Waits while it is out of reach.
pub(super) async fn connect_existing(config: &DatabaseConfig) -> Result<Database, CommandError> {
    let url = config.database_url.clone();
    let database = Database::open_existing(url.clone()).await;
    let database = database.map_err(|error| match error {
        DatabaseError::File(error @ FileError::Missing(_)) => CommandError::Failed(format!(
            "{error}; check --database-url (DATABASE_URL), or create a database with `device-assignment organization create \
             NAME`"
        )),
        error => failed(&url, &error),
    })?;
    reach(database, config).await
}

/// Opens a database without waiting for it.
pub(super) async fn open(url: &DatabaseUrl) -> Result<Database, CommandError> {
    let database = Database::open_existing(url.clone()).await;
    database.map_err(|error| failed(url, &error))
}

fn failed(url: &DatabaseUrl, error: &DatabaseError) -> CommandError {
    CommandError::Failed(match error {
        // It names the file.
        DatabaseError::File(error) => error.to_string(),
        error => format!("{url}: {error}"),
    })
}

async fn reach(database: Database, config: &DatabaseConfig) -> Result<Database, CommandError> {
    let start = Instant::now();
    loop {
        let attempt = Instant::now();
        let problem = match database.reach().await {
            Ok(()) => return Ok(database),
            Err(error @ (DatabaseError::Unreachable(_) | DatabaseError::Silent(_))) if !database.url().is_sqlite() => {
                error.to_string()
            }
            Err(error) => return Err(failed(database.url(), &error)),
        };
        if start.elapsed() >= config.connect_timeout {
            return Err(CommandError::Failed(format!(
                "{}: {problem}; check that it runs and that the URL is right",
                database.url()
            )));
        }
        say(&format!("waiting for {}: {problem}", database.url()));
        tokio::time::sleep_until((attempt + INTERVAL).into()).await;
    }
}

/// Connects to a database whose schema fits this program. An embedded one is created if the URL says so, and brought up to
/// date. For commands that write: on another timeline of PostgreSQL, a new history begins.
pub(super) async fn connect_ready(config: &DatabaseConfig) -> Result<Database, CommandError> {
    let database = ready(connect(config).await?).await?;
    database.follow_timeline().await?;
    Ok(database)
}

/// As [`connect_ready`], without creating a database: for commands that have nothing to do in an empty one.
pub(super) async fn connect_existing_ready(config: &DatabaseConfig) -> Result<Database, CommandError> {
    ready(connect_existing(config).await?).await
}

/// Connects to a database that exists and has the schema of this program, and changes neither: for commands that only read.
pub(super) async fn connect_to_read(config: &DatabaseConfig) -> Result<Database, CommandError> {
    let database = connect_existing(config).await?;
    check_schema(&schema_status(&database).await?)?;
    Ok(database)
}

async fn ready(database: Database) -> Result<Database, CommandError> {
    if database.url().is_sqlite() {
        migrate(&database).await?;
    } else {
        check_schema(&schema_status(&database).await?)?;
    }
    Ok(database)
}

/// Brings the schema up to date, unless a newer version of this program has changed it.
pub(super) async fn migrate(database: &Database) -> Result<SchemaStatus, CommandError> {
    let status = schema_status(database).await?;
    check_not_ahead(&status)?;
    if !status.pending.is_empty() {
        storage::migrate(database).await?;
        database.follow_timeline().await?;
    }
    Ok(status)
}

/// As [`migrate`], and distributes the tables over the servers of Citus.
pub(super) async fn migrate_and_distribute(database: &Database) -> Result<SchemaStatus, CommandError> {
    let status = schema_status(database).await?;
    check_not_ahead(&status)?;
    storage::migrate_and_distribute(database).await?;
    database.follow_timeline().await?;
    Ok(status)
}

fn check_schema(status: &SchemaStatus) -> Result<(), CommandError> {
    check_not_ahead(status)?;
    if status.pending.is_empty() {
        return Ok(());
    }
    Err(CommandError::Failed(format!(
        "the schema of the database is behind by {} step(s); run `device-assignment migrate`, or start with --migrate",
        status.pending.len()
    )))
}

fn check_not_ahead(status: &SchemaStatus) -> Result<(), CommandError> {
    if status.unknown.is_empty() {
        return Ok(());
    }
    Err(CommandError::Failed(format!(
        "the schema of the database is ahead of this program ({}); run the version that it was made for, or a newer one",
        status.unknown.join(", ")
    )))
}
