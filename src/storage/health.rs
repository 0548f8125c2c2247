//! Whether the database can be worked with: one task asks it all the time, and everybody else goes by what it found.

use std::time::{Duration, Instant};

use sea_orm::sqlx::{self, AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use tokio::sync::watch;

use super::{Database, DatabaseError, SchemaStatus};
use crate::telemetry::metrics;

/// The SQLSTATE of PostgreSQL for it.
const TOO_MANY_CONNECTIONS: &str = "53300";

/// How long after a failed write another one is tried. That one is small, and may succeed where the calls' do not: not so
/// often that readiness turns with every question.
const PROBE_AFTER: Duration = Duration::from_secs(2);

/// What was last found out about a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answers, and has the schema that this program was written for. Also what is supposed until it is asked.
    Good,
    /// It cannot be reached, lets nobody in, or does not answer.
    OutOfReach,
    /// It is an embedded one that can be read and not written: its file is read-only, or its disk is full or fails.
    NotWritable {
        /// When a write last failed.
        failed_at: Instant,
    },
    /// Its schema lacks steps.
    SchemaBehind,
    /// A newer version of the program has changed its schema.
    SchemaAhead,
}

/// How closely a database is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthSettings {
    /// How often it is asked.
    pub interval: Duration,
    /// How long nothing may be heard of it before it counts as out of reach.
    pub timeout: Duration,
}

impl HealthSettings {
    /// How long an answer may take: the question came an interval after the last answer.
    pub fn answer_within(&self) -> Duration {
        self.timeout.saturating_sub(self.interval).max(self.interval)
    }
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            // Long for a machine that is merely busy: a database that is given up loses the calls under way.
            timeout: Duration::from_secs(2),
        }
    }
}

impl Database {
    /// What was last found out about it, and whatever is from now on. Only [`watch`] finds anything out.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Refuses at once what would only find out, after a while, that the database is out of reach.
    pub(super) fn check_reach(&self) -> Result<(), DatabaseError> {
        match *self.health.borrow() {
            Health::OutOfReach => Err(DatabaseError::OutOfReach),
            Health::Good | Health::NotWritable { .. } | Health::SchemaBehind | Health::SchemaAhead => Ok(()),
        }
    }

    /// As [`check_reach`](Self::check_reach), for what would write.
    pub(super) fn check_writable(&self) -> Result<(), DatabaseError> {
        match *self.health.borrow() {
            Health::NotWritable { .. } => Err(DatabaseError::KnownNotWritable),
            _ => self.check_reach(),
        }
    }

    /// Tells everybody that a write failed because nothing can be written.
    pub(super) fn note_failed_write(&self, failure: &DatabaseError) {
        let failed_at = Instant::now();
        self.tell(Health::NotWritable { failed_at }, failed_at, Some(failure));
    }

    /// The one place where what is known of the database changes. Says whether anything is new.
    fn tell(&self, health: Health, asked_at: Instant, cause: Option<&DatabaseError>) -> bool {
        let is_new = self.health.send_if_modified(|known| {
            // A write that failed since says more.
            if matches!(known, Health::NotWritable { failed_at } if *failed_at > asked_at) {
                return false;
            }
            let is_new = std::mem::discriminant(known) != std::mem::discriminant(&health);
            *known = health;
            is_new
        });
        if !is_new {
            return false;
        }
        metrics::database_up(matches!(health, Health::Good | Health::SchemaAhead));
        let cause = cause.map(tracing::field::display);
        match health {
            Health::Good => tracing::info!("the database is within reach, and its schema fits"),
            Health::OutOfReach => tracing::warn!(
                cause,
                "the database is out of reach; calls are refused until it is back"
            ),
            Health::NotWritable { .. } => tracing::warn!(
                cause,
                "the database cannot be written; calls are refused until it can be"
            ),
            Health::SchemaBehind => tracing::warn!("the schema of the database is behind this program"),
            Health::SchemaAhead => tracing::warn!("the schema of the database is ahead of this program"),
        }
        true
    }
}

/// Returns when the database is out of reach.
pub(super) async fn out_of_reach(health: &mut watch::Receiver<Health>) {
    if health.wait_for(|health| *health == Health::OutOfReach).await.is_err() {
        // Nobody is left who could tell.
        std::future::pending().await
    }
}

/// Asks `database` how it is, for ever, and tells everybody what it says.
pub async fn watch(database: Database, settings: HealthSettings) {
    let mut watcher = Watcher {
        // An embedded database is slow at worst.
        answer_within: if database.url().is_sqlite() {
            Duration::MAX
        } else {
            settings.answer_within()
        },
        database,
        connection: None,
    };
    loop {
        let next = Instant::now() + settings.interval;
        watcher.look().await;
        tokio::time::sleep_until(next.into()).await;
    }
}

struct Watcher {
    database: Database,
    answer_within: Duration,
    /// Of its own: those of the others may be busy.
    connection: Option<Connection>,
}

/// A connection to ask after the database's health.
pub(super) enum Connection {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

impl Watcher {
    async fn look(&mut self) {
        let known = *self.database.health.borrow();
        if matches!(known, Health::NotWritable { failed_at } if failed_at.elapsed() < PROBE_AFTER) {
            return;
        }
        let limit = self.answer_within;
        let asked_at = Instant::now();
        let (health, cause) = match tokio::time::timeout(limit, self.ask()).await {
            Ok(Ok(taken)) => (health_of(&SchemaStatus::of(taken)), None),
            // A database that has no room for one more connection is there for those who have one.
            Ok(Err(error)) if code(&error).as_deref() == Some(TOO_MANY_CONNECTIONS) => return,
            Ok(Err(error)) => match DatabaseError::from(error) {
                DatabaseError::Busy(_) | DatabaseError::Conflict(_) => return,
                failure @ DatabaseError::NotWritable(_) => {
                    self.database.note_failed_write(&failure);
                    return;
                }
                failure => (Health::OutOfReach, Some(failure)),
            },
            Err(_elapsed) => (Health::OutOfReach, Some(DatabaseError::Silent(limit))),
        };
        let is_new = self.database.tell(health, asked_at, cause.as_ref());
        if is_new
            && health == Health::OutOfReach
            && !self.database.url().is_sqlite()
            && let Err(error) = self.database.renew_reads().await
        {
            tracing::error!(%error, "reconnecting failed");
        }
    }

    /// Asks which steps the schema has taken: who can say that is within reach.
    async fn ask(&mut self) -> Result<Vec<String>, sqlx::Error> {
        let first = self.ask_once().await;
        if let Err(error) = &first {
            // It may be no more than this connection that has ended.
            tracing::debug!(%error, "asking after the database's health failed");
            return self.ask_once().await;
        }
        first
    }

    async fn ask_once(&mut self) -> Result<Vec<String>, sqlx::Error> {
        let is_in_doubt = matches!(
            *self.database.health.borrow(),
            Health::OutOfReach | Health::NotWritable { .. }
        );
        // Taken out, so that one that failed, or whose answer is no longer waited for, is not used again. One that was
        // opened when its file was read-only stays so.
        let mut connection = match self.connection.take() {
            Some(connection) if !is_in_doubt => connection,
            _ => {
                let mut fresh = self.database.health_connection().await?;
                fresh.check_writable(is_in_doubt).await?;
                fresh
            }
        };
        let taken = connection.steps().await?;
        self.connection = Some(connection);
        Ok(taken)
    }
}

impl Connection {
    /// Checks that an embedded database can be written: `really`, or as far as the file is open for that, which costs a
    /// healthy one no access to the disk.
    async fn check_writable(&mut self, really: bool) -> Result<(), sqlx::Error> {
        let Self::Sqlite(connection) = self else {
            return Ok(());
        };
        let mut transaction = match connection.begin_with("BEGIN IMMEDIATE").await {
            Ok(transaction) => transaction,
            // Somebody writes: so it can be written.
            Err(error) if !really && matches!(code(&error).as_deref(), Some("5" | "261")) => return Ok(()),
            Err(error) => return Err(error),
        };
        // A number in the head of the file that nothing else uses. To set it needs a file that is not read-only, and
        // changes a page even if it stays the same, which no UPDATE does.
        let number: i64 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&mut *transaction)
            .await?;
        sqlx::query(AssertSqlSafe(format!("PRAGMA user_version = {number}")))
            .execute(&mut *transaction)
            .await?;
        if really {
            transaction.commit().await
        } else {
            transaction.rollback().await
        }
    }

    /// The steps that the schema has taken.
    async fn steps(&mut self) -> Result<Vec<String>, sqlx::Error> {
        const STEPS: &str = "SELECT version FROM seaql_migrations ORDER BY version";
        let steps = match self {
            Self::Postgres(connection) => sqlx::query_scalar(STEPS).fetch_all(connection).await,
            Self::Sqlite(connection) => sqlx::query_scalar(STEPS).fetch_all(connection).await,
        };
        match steps {
            // Without that table, none. (PostgreSQL: undefined_table; SQLite: ERROR.)
            Err(error) if matches!(code(&error).as_deref(), Some("42P01" | "1")) => Ok(Vec::new()),
            steps => steps,
        }
    }
}

fn health_of(schema: &SchemaStatus) -> Health {
    if !schema.unknown.is_empty() {
        Health::SchemaAhead
    } else if schema.pending.is_empty() {
        Health::Good
    } else {
        Health::SchemaBehind
    }
}

/// The SQLSTATE, or the result code of SQLite.
fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}
