//! A writer worker.

use std::{
    collections::VecDeque,
    iter,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{sync::watch, time::timeout_at};
use tracing::Instrument;

use super::{
    WriterSettings,
    batch::{calls_of, hold, reject, settle, split, still_wanted},
    exclusion::Class,
    queue::{Batch, Group, Queue},
    taken_organizations::TakenOrganizations,
};
use crate::{
    domain::change::{Erasure, Revision},
    storage::{
        Database, DatabaseError,
        backend::Backend,
        citus::Dialect,
        error::BatchError,
        group::{self, Committed},
        health::{Health, out_of_reach},
        locking::{LONGEST_LOCK_WAIT, LockWait, Locking},
        write_connection::WriteConnection,
    },
    telemetry::{metrics::BATCHES, trace},
};

/// How long a worker waits for organizations that another instance holds before it goes on with others.
const LOCK_WAIT: Duration = Duration::from_millis(250);
/// The shortest wait for one of several such organizations.
const SHORTEST_LOCK_WAIT: Duration = Duration::from_millis(10);

/// A task that owns one connection and commits one batch after another.
pub(super) struct Worker<B: Backend> {
    database: Database,
    health: watch::Receiver<Health>,
    connection: WriteConnection<B>,
    queue: Arc<Queue>,
    settings: WriterSettings,
}

impl<B: Backend> Worker<B> {
    pub(super) fn new(database: Database, queue: Arc<Queue>, settings: WriterSettings) -> Self {
        Self {
            health: database.health(),
            connection: WriteConnection::new(&database),
            database,
            queue,
            settings,
        }
    }

    /// Commits what is queued, until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        while let Some(mut batch) = self.next_batch().await {
            // Two writers that take the same rows in different orders can deadlock.
            batch.sort_by_key(|group| group.organization);
            let mut taken = TakenOrganizations::new(&self.queue, &batch);
            // A database that was out of reach may have dropped the connection without telling.
            if matches!(self.health.has_changed(), Ok(true)) {
                self.health.mark_unchanged();
                self.connection.discard();
            }
            let locking = match self.queue.class() {
                Class::Small => Locking::Optimistic,
                Class::Bulk => Locking::Exclusive,
            };
            let is_alone = batch.len() == 1;
            // On Citus, each organization may be on another server, and a transaction of several would need two-phase commits.
            let batches = match self.database.dialect() {
                Dialect::Citus => batch.into_iter().map(|group| vec![group]).collect(),
                Dialect::Plain => vec![batch],
            };
            let lock_wait = share_of_lock_wait(batches.len());
            let held = self.process(batches, locking, lock_wait).await;
            // The others need not wait until those are done that another instance holds.
            taken.give_back(|organization| !held.iter().any(|group| group.organization == organization));
            let lock_wait = share_of_lock_wait(held.len());
            for group in held {
                let organization = group.organization;
                let still_held = if is_alone {
                    vec![group]
                } else {
                    self.process(vec![vec![group]], Locking::Exclusive, lock_wait).await
                };
                for group in still_held {
                    self.queue.put_back(group);
                }
                taken.give_back(|done| done == organization);
            }
        }
        self.connection.close().await;
    }

    /// Waits for a batch; `None` when the queue is closed and empty. Meanwhile it erases what could not be erased before.
    async fn next_batch(&mut self) -> Option<Batch> {
        let WriterSettings {
            batch_calls,
            batch_devices,
            ..
        } = self.settings;
        loop {
            let batch = self.queue.take(batch_calls, batch_devices);
            let Some(due) = self.connection.erasure_due() else {
                return batch.await;
            };
            match timeout_at(due.into(), batch).await {
                Ok(batch) => return batch,
                Err(_due) => self.connection.erase_again().await,
            }
        }
    }

    /// Commits batches, one after the other. One that fails is split and tried again, so that no call fails because of another. Returns the groups
    /// that could not run because another instance holds their organizations. A single group waits up to `lock_wait` for that
    /// instance; one of several does not wait, and has to run alone.
    async fn process(&mut self, batches: Vec<Batch>, locking: Locking, lock_wait: Duration) -> Vec<Group> {
        let mut held = Vec::new();
        let mut batches = VecDeque::from(batches);
        while let Some(batch) = batches.pop_front() {
            let mut batch = still_wanted(batch);
            if batch.is_empty() {
                continue;
            }
            let BatchError { index, error } = match self.commit(&mut batch, locking, lock_wait).await {
                Ok(committed) => {
                    for (group, committed) in batch.into_iter().zip(committed) {
                        match committed {
                            Committed::At(revision) => {
                                self.tell_followers(&group, revision);
                                settle(group.calls, &Ok(revision));
                            }
                            Committed::Held => hold(&mut held, group),
                        }
                    }
                    continue;
                }
                Err(error) => error,
            };
            match error {
                DatabaseError::NotConnected(_) | DatabaseError::NotWritable(_) | DatabaseError::OutOfReach => {
                    if matches!(error, DatabaseError::NotWritable(_)) {
                        self.database.note_failed_write(&error);
                    }
                    // The waiting calls would each fail in the same way, one time-out after the other.
                    let taken = iter::once(batch).chain(batches).chain([std::mem::take(&mut held)]);
                    let waiting = self.queue.take_all();
                    reject(taken.flat_map(calls_of).chain(waiting), error);
                    break;
                }
                // It may have been the commit: the outcome is unknown, and in a rerun nothing would be new. Perhaps only this
                // connection broke: the rest runs on a new one.
                DatabaseError::Unreachable(_) | DatabaseError::Silent(_) if !error.is_read_only() => {
                    reject(calls_of(batch), error);
                }
                error => {
                    let (failed, again) = split(batch, index, &error);
                    if !again.is_empty() {
                        tracing::warn!(%error, "a transaction failed; the calls that may not be the cause run again");
                    }
                    reject(failed, error);
                    BATCHES.reruns_after_split.increment(again.len() as u64);
                    batches.extend(again);
                }
            }
        }
        held
    }

    /// Tells those who follow an organization what was committed. `revision` is the one that the group was applied to.
    fn tell_followers(&self, group: &Group, revision: Revision) {
        let changes = group.calls.iter().map(|call| call.job.change_count()).max();
        if let Some(changes) = changes.filter(|changes| *changes > 0) {
            self.database
                .heads
                .committed(group.organization, revision.after(changes));
        }
    }

    /// Commits a batch in one transaction.
    async fn commit(
        &mut self,
        batch: &mut Batch,
        locking: Locking,
        lock_wait: Duration,
    ) -> Result<Vec<Committed>, BatchError> {
        let calls = batch.iter().flat_map(|group| &group.calls);
        let devices = calls.clone().map(|call| call.job.weight()).sum();
        let span = trace::batch(calls.clone().map(|call| &call.wait), calls.clone().count(), devices);
        let deadline = calls.map(|call| call.deadline).min().unwrap_or_else(Instant::now);
        let start = Instant::now();
        let mut lock_wait = LockWait::up_to(lock_wait.min(deadline.saturating_duration_since(start)));
        let transaction = self.run_transaction(batch, locking, &mut lock_wait);
        let result = transaction.instrument(span.clone()).await;
        let took = start.elapsed();
        // Groups that have to run again count when they are committed.
        let groups = batch.iter().enumerate().filter(|(index, _)| match &result {
            Ok(committed) => committed.get(*index) != Some(&Committed::Held),
            Err(_) => true,
        });
        let calls: Vec<_> = groups.flat_map(|(_, group)| &group.calls).collect();
        let devices: usize = calls.iter().map(|call| call.job.weight()).sum();
        let calls = calls.len();
        if calls == 0 {
            return result;
        }
        BATCHES.calls.record(calls as f64);
        BATCHES.devices.record(devices as f64);
        match result {
            Ok(_) => {
                let WriterSettings {
                    batch_calls,
                    batch_devices,
                    ..
                } = self.settings;
                // The next call may have been too large to fit.
                let was_full = calls >= batch_calls.div_ceil(2) || devices >= batch_devices.div_ceil(2);
                // Another instance's lock says nothing about the rate of the work.
                let worked = took.saturating_sub(lock_wait.waited());
                self.queue.measure(calls, devices, worked, was_full);
                BATCHES.committed.record(took);
            }
            Err(_) => {
                BATCHES.failed.record(took);
                trace::failed(&span);
            }
        }
        result
    }

    /// Gives the connection up when the transaction takes too long, and when the database is out of reach: the connection is
    /// closed with the future that uses it.
    async fn run_transaction(
        &mut self,
        batch: &mut Batch,
        locking: Locking,
        lock_wait: &mut LockWait,
    ) -> Result<Vec<Committed>, BatchError> {
        let mut groups: Vec<_> = batch
            .iter_mut()
            .map(|group| group::Group {
                organization: group.organization,
                jobs: group.calls.iter_mut().map(|call| call.job.as_job()).collect(),
                erasure: Erasure::Unneeded,
            })
            .collect();
        let limit = if B::IS_EMBEDDED {
            Duration::MAX
        } else {
            // While it waits for a lock, the server does answer, but late.
            self.settings.batch_timeout + LONGEST_LOCK_WAIT
        };
        let transaction = self.connection.commit(&mut groups, locking, lock_wait);
        // A panic counts as a failed batch, so that it cannot stop the worker.
        let transaction = AssertUnwindSafe(transaction).catch_unwind();
        tokio::select! {
            biased;
            // The callers need not wait for the time-out.
            () = out_of_reach(&mut self.health), if !B::IS_EMBEDDED => Err(DatabaseError::OutOfReach.into()),
            result = tokio::time::timeout(limit, transaction) => match result {
                Ok(Ok(result)) => result,
                Ok(Err(_panic)) => Err(DatabaseError::Panicked.into()),
                Err(_elapsed) => Err(DatabaseError::Silent(limit).into()),
            }
        }
    }
}

/// How long each of several groups waits for its organization.
fn share_of_lock_wait(groups: usize) -> Duration {
    let groups = u32::try_from(groups).unwrap_or(u32::MAX).max(1);
    (LOCK_WAIT / groups).max(SHORTEST_LOCK_WAIT)
}
