//! Group commit: calls wait in a queue, and a lane that is free takes what waits and carries it out in one transaction.
//!
//! There is no timer: a lane that is free starts at once, so a lone call waits for nobody; while it works, the next batch
//! gathers. The transaction belongs to the lane. A caller holds nothing but a slot for the answer, and may leave at any
//! time.

mod lane;
mod queue;

use std::{
    iter,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, task::JoinSet};

use self::{
    lane::Lane,
    queue::{Call, Queue},
};
use super::{Database, DatabaseError};
use crate::{
    domain::{
        Cause, Error,
        assign_devices::{AssignDevices, Outcome},
        id::OrganizationId,
    },
    telemetry::trace::Wait,
};

/// The names of the queues, as operators know them.
const SMALL: &str = "small";
const BULK: &str = "bulk";

/// How much a writer takes on. The defaults suit two cores; they are bounds, not targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterSettings {
    /// Lanes, each with a connection of its own. SQLite has one writer, and gets one lane whatever stands here.
    pub lanes: usize,
    /// Lanes for large calls alone, so that small ones do not wait behind them.
    pub bulk_lanes: usize,
    /// The most device identifiers of a call that is not a large one.
    pub small_devices: usize,
    /// The most calls in one transaction.
    pub batch_calls: usize,
    /// The most device identifiers in one transaction; a call that has more goes alone.
    pub batch_devices: usize,
    /// The most calls that wait, of small and of large ones each; of one organization, half as many.
    pub queue_calls: usize,
    /// The most device identifiers that wait, of small and of large calls each; of one organization, half as many. What
    /// bounds the memory.
    pub queue_devices: usize,
    /// How long a batch may take before its connection is given up as dead.
    pub batch_timeout: Duration,
}

impl Default for WriterSettings {
    fn default() -> Self {
        Self {
            lanes: 4,
            bulk_lanes: 1,
            small_devices: 100,
            batch_calls: 64,
            batch_devices: 2_000,
            queue_calls: 4_096,
            queue_devices: 1_500_000,
            batch_timeout: Duration::from_secs(8),
        }
    }
}

/// What will have become of a command. Dropping it is safe at any time: the command is carried out whole or not at all.
#[derive(Debug)]
pub struct Answer {
    answer: oneshot::Receiver<Result<Outcome, Error>>,
    is_abandoned: Arc<AtomicBool>,
}

impl Answer {
    /// Says that nobody is left whom the command is to be carried out for. When its turn has not come yet, it is not.
    pub fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Relaxed);
    }
}

impl Future for Answer {
    type Output = Result<Outcome, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // A lane answers every call it takes; it can fail to only by a fault of its own.
        Pin::new(&mut self.answer)
            .poll(context)
            .map(|answer| answer.unwrap_or_else(|_| Err(Error::Internal(Cause::new("a lane dropped a call")))))
    }
}

/// Carries out commands, several in one transaction.
#[derive(Debug)]
pub struct Writer {
    small: Arc<Queue>,
    bulk: Arc<Queue>,
    /// The most device identifiers of a call that goes into the queue for small ones.
    small_devices: usize,
    database: Database,
    lanes: tokio::sync::Mutex<JoinSet<()>>,
}

impl Writer {
    /// Starts the lanes.
    ///
    /// # Errors
    /// When the driver does not accept the database's URL.
    pub async fn start(database: &Database, settings: WriterSettings) -> Result<Self, DatabaseError> {
        let (lanes, bulk_lanes, small_devices) = if database.url().is_sqlite() {
            (1, 0, usize::MAX)
        } else {
            (
                settings.lanes.max(1),
                settings.bulk_lanes.max(1),
                settings.small_devices,
            )
        };
        let queue = |name, lanes| Arc::new(Queue::new(name, settings.queue_calls, settings.queue_devices, lanes));
        let (small, bulk) = (queue(SMALL, lanes), queue(BULK, bulk_lanes));
        let before = iter::repeat_n(&small, lanes).chain(iter::repeat_n(&bulk, bulk_lanes));
        let mut lanes = JoinSet::new();
        for queue in before {
            let lane = Lane::new(database.clone(), Arc::clone(queue), settings).await?;
            lanes.spawn(lane.run());
        }
        Ok(Self {
            small,
            bulk,
            small_devices,
            database: database.clone(),
            lanes: tokio::sync::Mutex::new(lanes),
        })
    }

    /// Takes on `command` in `organization`; the answer comes when it is durable. A command whose `deadline` has passed when
    /// its turn comes is not carried out.
    ///
    /// # Errors
    /// When the command is not taken on. The answer's are as [`Error`] says; after [`Error::Unavailable`] the outcome may be
    /// unknown.
    pub fn assign_devices(
        &self,
        organization: OrganizationId,
        command: AssignDevices,
        deadline: Instant,
    ) -> Result<Answer, Error> {
        self.database.check_writable()?;
        let is_small = command.devices().len() <= self.small_devices;
        let (queue, name) = if is_small {
            (&self.small, SMALL)
        } else {
            (&self.bulk, BULK)
        };
        let (reply, answer) = oneshot::channel();
        let is_abandoned = Arc::<AtomicBool>::default();
        queue.push(
            organization,
            Call {
                command,
                deadline,
                reply,
                is_abandoned: Arc::clone(&is_abandoned),
                wait: Wait::begin(name),
            },
            Instant::now(),
        )?;
        Ok(Answer { answer, is_abandoned })
    }

    /// Takes no further calls, and returns when those that wait are answered.
    pub async fn close(&self) {
        self.small.close();
        self.bulk.close();
        let mut lanes = self.lanes.lock().await;
        while lanes.join_next().await.is_some() {}
    }
}
