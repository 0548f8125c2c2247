//! The health of the database: one task checks it, and everybody else relies on its result.

use std::time::{Duration, Instant};

use sea_orm::sqlx::{self, Postgres, Sqlite};
use tokio::sync::watch;

use super::{
    Database, DatabaseError, SchemaStatus,
    backend::{Backend, code},
    options::Purpose,
};
use crate::telemetry::metrics;

/// A SQLSTATE.
const TOO_MANY_CONNECTIONS: &str = "53300";

/// How long after a failed write the next one is tried. It is small, and may succeed where those of calls fail: readiness must
/// not change with every check.
const PROBE_AFTER: Duration = Duration::from_secs(2);

/// The result of the last check of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answers and has the schema of this program. Also assumed before the first check.
    Good,
    /// It cannot be reached, rejects connections, or does not answer.
    OutOfReach,
    /// An embedded database that can be read but not written: its file is read-only, or its disk is full or fails.
    NotWritable {
        /// When a write last failed.
        failed_at: Instant,
    },
    /// Its schema lacks steps of this program.
    SchemaBehind,
    /// A newer version of the program has changed its schema.
    SchemaAhead,
}

/// How often and how patiently a database is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthSettings {
    /// The time between checks.
    pub interval: Duration,
    /// How long it may be silent before it counts as out of reach.
    pub timeout: Duration,
}

impl HealthSettings {
    /// How long an answer may take. A check begins one interval after the last answer.
    pub fn answer_within(&self) -> Duration {
        self.timeout.saturating_sub(self.interval).max(self.interval)
    }
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(500),
            // Long enough for a busy machine: when a database counts as out of reach, the calls in progress fail.
            timeout: Duration::from_secs(2),
        }
    }
}

impl Database {
    /// The result of the last check and of those to come. Only [`watch`] checks.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Fails at once if the database is out of reach, instead of after a time-out.
    ///
    /// # Errors
    /// [`DatabaseError::OutOfReach`].
    pub fn check_reach(&self) -> Result<(), DatabaseError> {
        match self.current_health() {
            Health::OutOfReach => Err(DatabaseError::OutOfReach),
            Health::Good | Health::NotWritable { .. } | Health::SchemaBehind | Health::SchemaAhead => Ok(()),
        }
    }

    /// Whether calls can read here: the schema is there, too. A standby gets it from the primary.
    pub(super) fn is_usable(&self) -> bool {
        matches!(*self.health.borrow(), Health::Good | Health::SchemaAhead)
    }

    /// As [`check_reach`](Self::check_reach), for what would write.
    pub(super) fn check_writable(&self) -> Result<(), DatabaseError> {
        match self.current_health() {
            Health::NotWritable { .. } => Err(DatabaseError::KnownNotWritable),
            _ => self.check_reach(),
        }
    }

    /// A copy: whoever holds the health itself while it asks again waits for a check that waits for it.
    fn current_health(&self) -> Health {
        *self.health.borrow()
    }

    /// Publishes that the database cannot be written.
    pub(super) fn note_failed_write(&self, error: &DatabaseError) {
        let failed_at = Instant::now();
        self.publish(Health::NotWritable { failed_at }, failed_at, Some(error));
    }

    /// Publishes the health; the only place where it changes. Returns whether it is new.
    fn publish(&self, health: Health, asked_at: Instant, cause: Option<&DatabaseError>) -> bool {
        let is_new = self.health.send_if_modified(|known| {
            // A write that failed since then is newer.
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
        let is_up = matches!(health, Health::Good | Health::SchemaAhead);
        let cause = cause.map(tracing::field::display);
        if self.is_replica {
            metrics::replica_up(is_up);
            if is_up {
                tracing::info!("the read database is within reach");
            } else {
                tracing::warn!(
                    cause,
                    "the read database cannot be used; calls read from the primary until it can"
                );
            }
            return true;
        }
        metrics::database_up(is_up);
        match health {
            Health::Good => tracing::info!("the database is within reach, and its schema fits"),
            Health::OutOfReach => tracing::warn!(
                cause,
                "the database is out of reach; calls are rejected until it is back"
            ),
            Health::NotWritable { .. } => {
                tracing::warn!(cause, "the database is not writable; calls are rejected until it is")
            }
            Health::SchemaBehind => tracing::warn!("the schema of the database is behind this program"),
            Health::SchemaAhead => tracing::warn!("the schema of the database is ahead of this program"),
        }
        true
    }
}

/// Waits until the database is out of reach.
pub(super) async fn out_of_reach(health: &mut watch::Receiver<Health>) {
    if health.wait_for(|health| *health == Health::OutOfReach).await.is_err() {
        // Nobody checks any more.
        std::future::pending().await
    }
}

/// Checks `database` again and again, and publishes what it finds.
pub async fn watch(database: Database, settings: HealthSettings) {
    if database.url().is_sqlite() {
        Watcher::<Sqlite>::new(database, settings).run().await;
    } else {
        Watcher::<Postgres>::new(database, settings).run().await;
    }
}

struct Watcher<B: Backend> {
    database: Database,
    settings: HealthSettings,
    /// Its own connection: the others may be busy.
    connection: Option<B::Connection>,
}

impl<B: Backend> Watcher<B> {
    fn new(database: Database, settings: HealthSettings) -> Self {
        Self {
            database,
            settings,
            connection: None,
        }
    }

    async fn run(mut self) {
        loop {
            let next = Instant::now() + self.settings.interval;
            self.check().await;
            tokio::time::sleep_until(next.into()).await;
        }
    }

    async fn check(&mut self) {
        let known = self.database.current_health();
        if matches!(known, Health::NotWritable { failed_at } if failed_at.elapsed() < PROBE_AFTER) {
            return;
        }
        let limit = if B::IS_EMBEDDED {
            Duration::MAX
        } else {
            self.settings.answer_within()
        };
        let asked_at = Instant::now();
        let answer = match self.database.check_file() {
            Ok(()) => tokio::time::timeout(limit, self.applied_steps()).await,
            Err(error) => {
                self.database.publish(Health::OutOfReach, asked_at, Some(&error.into()));
                return;
            }
        };
        let (health, cause) = match answer {
            Ok(Ok(applied)) => (health_of(&SchemaStatus::of(applied)), None),
            // The database works for those who have a connection.
            Ok(Err(error)) if code(&error).as_deref() == Some(TOO_MANY_CONNECTIONS) => return,
            Ok(Err(error)) => match DatabaseError::from(error) {
                DatabaseError::Busy(_) | DatabaseError::Conflict(_) => return,
                error @ DatabaseError::NotWritable(_) => {
                    self.database.note_failed_write(&error);
                    return;
                }
                error => (Health::OutOfReach, Some(error)),
            },
            Err(_elapsed) => (Health::OutOfReach, Some(DatabaseError::Silent(limit))),
        };
        let is_new = self.database.publish(health, asked_at, cause.as_ref());
        if is_new
            && health == Health::OutOfReach
            && !B::IS_EMBEDDED
            && let Err(error) = self.database.renew_reads().await
        {
            tracing::error!(%error, "reconnecting failed");
        }
    }

    /// Reads the applied steps of the schema. Tries twice: perhaps only the connection is broken.
    async fn applied_steps(&mut self) -> Result<Vec<String>, sqlx::Error> {
        let first = self.try_applied_steps().await;
        if let Err(error) = &first {
            tracing::debug!(%error, "a health check of the database failed");
            return self.try_applied_steps().await;
        }
        first
    }

    async fn try_applied_steps(&mut self) -> Result<Vec<String>, sqlx::Error> {
        let is_in_doubt = matches!(
            self.database.current_health(),
            Health::OutOfReach | Health::NotWritable { .. }
        );
        // Taken out, so that it is closed on an error or a time-out. While in doubt, a new one: a connection that was opened
        // when its file was read-only stays read-only.
        let mut connection = match self.connection.take() {
            Some(connection) if !is_in_doubt => connection,
            _ => {
                let mut fresh = B::connect(self.database.url(), Purpose::Health).await?;
                B::check_writable(&mut fresh, is_in_doubt).await?;
                fresh
            }
        };
        let applied = match B::applied_steps(&mut connection).await {
            // The table does not exist. (PostgreSQL: undefined_table; SQLite: ERROR.)
            Err(error) if matches!(code(&error).as_deref(), Some("42P01" | "1")) => Vec::new(),
            applied => applied?,
        };
        self.connection = Some(connection);
        Ok(applied)
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

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
            mpsc,
        },
        thread,
    };

    use tempfile::TempDir;

    use super::*;
    use crate::storage::DatabaseUrl;

    /// A call that asks for the health while it holds it waits for a check that waits to publish, and the check waits for the
    /// call. The threads of both stay blocked, and soon all others, too.
    #[tokio::test]
    async fn calls_and_checks_do_not_block_each_other() {
        let folder = TempDir::with_prefix("health-").expect("a folder");
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("test.db").display());
        let url = DatabaseUrl::parse(&url).expect("a URL");
        let database = Database::open(url).await.expect("a database");
        let is_over = Arc::<AtomicBool>::default();
        let (checks, until) = (database.clone(), Arc::clone(&is_over));
        thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                checks.publish(Health::Good, Instant::now(), None);
            }
        });
        let (done, is_done) = mpsc::channel();
        thread::spawn(move || {
            let _ = done.send((0..100_000).all(|_| database.check_writable().is_ok()));
        });
        let is_writable = is_done.recv_timeout(Duration::from_secs(60));
        is_over.store(true, Ordering::Relaxed);
        assert_eq!(is_writable, Ok(true), "the calls are done");
    }
}
