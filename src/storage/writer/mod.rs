//! Group commit: calls wait in a queue before a lane, and a lane takes what waits for one organization and carries it
//! out in one transaction.
//!
//! There is no timer: a lane that is free starts at once, so a lone call waits for nobody; while it works, the next batch
//! gathers. The transaction belongs to the lane. A caller holds nothing but a slot for the answer, and may leave at any
//! time.

mod lane;
mod queue;

use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, task::JoinSet};

use self::{
    lane::Lane,
    queue::{Call, Queue},
};
use super::{Database, Failure};
use crate::domain::{
    Cause, Error,
    assign_devices::{AssignDevices, Outcome},
    id::OrganizationId,
};

/// How much a writer takes on. The defaults suit two cores; they are bounds, not targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriterSettings {
    /// Lanes, each with a connection of its own. SQLite has one writer, and gets one lane whatever stands here.
    pub lanes: usize,
    /// The most calls in one transaction.
    pub batch_calls: usize,
    /// The most device identifiers in one transaction; a call that has more goes alone.
    pub batch_devices: usize,
    /// The most calls that wait before one lane; of one organization, half as many.
    pub queue_calls: usize,
    /// The most device identifiers that wait before one lane; of one organization, half as many. What bounds the memory.
    pub queue_devices: usize,
    /// How long a batch may take before its connection is given up as dead.
    pub batch_timeout: Duration,
}

impl Default for WriterSettings {
    fn default() -> Self {
        Self {
            lanes: 4,
            batch_calls: 64,
            batch_devices: 10_000,
            queue_calls: 4_096,
            queue_devices: 1_500_000,
            batch_timeout: Duration::from_secs(8),
        }
    }
}

/// Carries out commands, several in one transaction.
#[derive(Debug)]
pub struct Writer {
    queues: Vec<Arc<Queue>>,
    lanes: tokio::sync::Mutex<JoinSet<()>>,
}

impl Writer {
    /// Starts the lanes.
    ///
    /// # Errors
    /// When the driver does not accept the database's URL.
    pub async fn start(database: &Database, settings: WriterSettings) -> Result<Self, Failure> {
        let count = if database.url().is_sqlite() {
            1
        } else {
            settings.lanes.max(1)
        };
        let mut queues = Vec::with_capacity(count);
        let mut lanes = JoinSet::new();
        for _ in 0..count {
            let queue = Arc::new(Queue::new(settings.queue_calls, settings.queue_devices));
            let lane = Lane::new(database.clone(), Arc::clone(&queue), settings).await?;
            lanes.spawn(lane.run());
            queues.push(queue);
        }
        let lanes = tokio::sync::Mutex::new(lanes);
        Ok(Self { queues, lanes })
    }

    /// Carries out `command` in `organization`, and returns when it is durable. A command whose `deadline` has passed
    /// when its turn comes is not carried out.
    ///
    /// Dropping the future is safe at any time: the command is carried out whole or not at all.
    ///
    /// # Errors
    /// As [`Error`] says. After [`Error::Unavailable`] the outcome may be unknown.
    pub async fn assign_devices(
        &self,
        organization: OrganizationId,
        command: AssignDevices,
        deadline: Instant,
    ) -> Result<Outcome, Error> {
        let queue = self.queue_for(organization, &command)?;
        let (reply, answer) = oneshot::channel();
        queue.push(
            organization,
            Call {
                command,
                deadline,
                reply,
            },
        )?;
        // A lane answers every call it takes; it can fail to only by a fault of its own.
        answer
            .await
            .unwrap_or_else(|_| Err(Error::Internal(Cause::new("a lane dropped a call"))))
    }

    /// Takes no further calls, and returns when those that wait are answered.
    pub async fn close(&self) {
        for queue in &self.queues {
            queue.close();
        }
        let mut lanes = self.lanes.lock().await;
        while lanes.join_next().await.is_some() {}
    }

    /// Calls for one customer meet in one lane, where they share a batch instead of waiting for each other's locks.
    fn queue_for(&self, organization: OrganizationId, command: &AssignDevices) -> Result<&Arc<Queue>, Error> {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let hash = hasher.hash_one((organization.uuid(), command.customer()));
        let lane = hash.checked_rem(self.queues.len() as u64).unwrap_or_default();
        usize::try_from(lane)
            .ok()
            .and_then(|lane| self.queues.get(lane))
            .ok_or_else(|| Error::Internal(Cause::new("there is no lane")))
    }
}
