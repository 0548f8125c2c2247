//! Getting to the database, and seeing to it that its schema fits.

use std::time::{Duration, Instant};

use super::{CommandError, output::say};
use crate::{
    config::{DatabaseConfig, Discreet},
    storage::{self, Database, DatabaseUrl, SchemaStatus, schema_status},
};

/// How often a database that is out of reach is tried.
const INTERVAL: Duration = Duration::from_secs(1);

/// Judges a database URL before anything is done with it.
pub(super) fn check_url(url: &str) -> Result<String, Discreet> {
    match DatabaseUrl::parse(url) {
        Ok(_) => Ok(url.to_owned()),
        Err(error) => Err(Discreet(error.to_string())),
    }
}

/// Connects, and waits for a database that is out of reach.
pub(super) async fn connect(config: &DatabaseConfig) -> Result<Database, CommandError> {
    let url = DatabaseUrl::parse(&config.database_url).map_err(|error| CommandError::Usage(error.to_string()))?;
    let database = Database::open(url.clone())
        .await
        .map_err(|failure| CommandError::Failed(format!("{url}: {failure}")))?;
    let start = Instant::now();
    loop {
        let attempt = Instant::now();
        let problem = match database.reach().await {
            Ok(()) => return Ok(database),
            Err(failure @ (storage::DatabaseError::Unreachable(_) | storage::DatabaseError::Silent(_)))
                if !database.url().is_sqlite() =>
            {
                failure.to_string()
            }
            Err(failure) => return Err(CommandError::Failed(format!("{}: {failure}", database.url()))),
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

/// Connects to a database whose schema fits this program; an embedded one is brought up to date.
pub(super) async fn connect_ready(config: &DatabaseConfig) -> Result<Database, CommandError> {
    let database = connect(config).await?;
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
    }
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
