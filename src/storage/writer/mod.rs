//! Writes for all calls: they wait in a queue, and are committed many at a time.
//!
//! - A **batch** is what one worker commits in one transaction: calls of one or several organizations.
//! - A **group** is the part of a batch that belongs to one organization.
//! - A **writer worker** ([`Worker`]) is a task that owns one connection and commits one batch after another.
//!
//! There is no timer: a free worker starts at once, so a lone call does not wait. While the worker is busy, the next batch
//! gathers. The transaction belongs to the worker; a caller only waits for the outcome, and may leave at any time.

mod batch;
mod call;
mod exclusion;
mod queue;
mod taken_organizations;
mod worker;

use std::{
    fmt, iter,
    num::NonZero,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

pub use self::call::{Completed, PendingOutcome};
use self::{call::Call, exclusion::Class, queue::Queue, worker::Worker};
use super::{Database, backend::Backend};
use crate::{
    domain::{Error, change::ChangeOrigin, command::Command, id::OrganizationId},
    supervision::{Supervisor, Tasks},
    telemetry::trace::Wait,
};
use sea_orm::sqlx::{Postgres, Sqlite};

/// The bounds of a writer. The defaults suit two cores; they are bounds, not targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterSettings {
    /// Workers for small calls. SQLite has one writer, and always one worker for all calls.
    pub workers: usize,
    /// Workers for large calls alone, so that small ones do not wait behind them. Each carries other organizations.
    pub bulk_workers: usize,
    /// The most device identifiers of a small call.
    pub small_devices: usize,
    /// The most calls in a batch.
    pub batch_calls: usize,
    /// The most device identifiers in a batch; a call that has more is a batch by itself.
    pub batch_devices: usize,
    /// The most calls that wait in each queue; half as many of one organization.
    pub queue_calls: usize,
    /// The most device identifiers that wait in each queue; half as many of one organization. Bounds the memory.
    pub queue_devices: usize,
    /// How long a batch may take before its connection counts as dead.
    pub batch_timeout: Duration,
}

impl Default for WriterSettings {
    fn default() -> Self {
        Self {
            workers: 4,
            bulk_workers: default_bulk_workers(thread::available_parallelism().map_or(1, NonZero::get)),
            small_devices: 100,
            batch_calls: 64,
            batch_devices: 2_000,
            queue_calls: 4_096,
            queue_devices: 1_500_000,
            batch_timeout: Duration::from_secs(8),
        }
    }
}

/// Half the cores: a large call keeps the database about as busy as this process. At least 2, so that a large call of one
/// organization does not hold up those of another, and at most 8, because each has a connection.
fn default_bulk_workers(cores: usize) -> usize {
    (cores / 2).clamp(2, 8)
}

/// Runs commands, many in one transaction.
pub struct Writer {
    small: Arc<Queue>,
    bulk: Arc<Queue>,
    /// The most device identifiers of a call in the queue for small calls.
    small_devices: usize,
    database: Database,
    supervisor: Supervisor,
    workers: tokio::sync::Mutex<Tasks>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the workers. `supervisor` keeps them running.
    pub fn start(database: &Database, settings: WriterSettings, supervisor: &Supervisor) -> Self {
        if database.url().is_sqlite() {
            let settings = WriterSettings {
                workers: 1,
                bulk_workers: 0,
                small_devices: usize::MAX,
                ..settings
            };
            Self::start_on::<Sqlite>(database, settings, supervisor)
        } else {
            let settings = WriterSettings {
                workers: settings.workers.max(1),
                bulk_workers: settings.bulk_workers.max(1),
                ..settings
            };
            Self::start_on::<Postgres>(database, settings, supervisor)
        }
    }

    fn start_on<B: Backend>(database: &Database, settings: WriterSettings, supervisor: &Supervisor) -> Self {
        let queue = |class, workers| Queue::new(class, settings.queue_calls, settings.queue_devices, workers);
        let small = queue(Class::Small, settings.workers);
        let bulk = queue(Class::Bulk, settings.bulk_workers).beside(&small);
        let (small, bulk) = (Arc::new(small), Arc::new(bulk));
        let mut workers = Tasks::new(supervisor);
        for queue in iter::repeat_n(&small, settings.workers).chain(iter::repeat_n(&bulk, settings.bulk_workers)) {
            let (database, queue) = (database.clone(), Arc::clone(queue));
            workers.keep_running("writer_worker", move || {
                Worker::<B>::new(database.clone(), Arc::clone(&queue), settings).run()
            });
        }
        Self {
            small,
            bulk,
            small_devices: settings.small_devices,
            database: database.clone(),
            supervisor: supervisor.clone(),
            workers: tokio::sync::Mutex::new(workers),
        }
    }

    /// Queues `command` for `organization`. The outcome comes when it is durable. A command does not run if its `deadline` has
    /// passed when its turn comes.
    ///
    /// # Errors
    /// When the command is not queued. The outcome may be an error, too; after [`Error::Unavailable`] it may be unknown.
    pub fn submit<C: Command>(
        &self,
        organization: OrganizationId,
        command: C,
        origin: ChangeOrigin,
        deadline: Instant,
    ) -> Result<PendingOutcome<C::Outcome>, Error> {
        self.database.check_writable()?;
        let queue = if command.weight() <= self.small_devices {
            &self.small
        } else {
            &self.bulk
        };
        let wait = Wait::begin(queue.class().name());
        let (call, outcome) = Call::new(command, origin, deadline, wait);
        queue.push(organization, call, Instant::now())?;
        Ok(outcome)
    }

    /// Takes no further calls, and returns when all queued ones are done: the process stops.
    pub async fn close(&self) {
        self.supervisor.stop();
        self.small.close();
        self.bulk.close();
        self.workers.lock().await.ended().await;
    }
}

#[cfg(test)]
mod tests {
    use super::default_bulk_workers;

    #[test]
    fn half_the_cores_carry_large_calls() {
        let workers = [1, 2, 4, 6, 8, 16, 64].map(default_bulk_workers);
        assert_eq!(workers, [2, 2, 2, 3, 4, 8, 8]);
    }
}
