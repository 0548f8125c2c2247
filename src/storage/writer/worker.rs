//! A writer worker.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::sync::watch;
use tracing::Instrument;

use super::{
    WriterSettings,
    queue::{Batch, Call, Group, Queue},
};
use crate::{
    domain::{
        Error,
        assign_devices::{Tally, UnknownDevices},
    },
    storage::{
        Database, DatabaseError,
        assign_devices::{GroupCommands, Outcomes, assign_devices},
        backend::Backend,
        error::BatchError,
        health::{Health, out_of_reach},
        write_connection::WriteConnection,
    },
    telemetry::{
        metrics::{BATCHES, CHANGES},
        trace,
    },
};

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
        let WriterSettings {
            batch_calls,
            batch_devices,
            ..
        } = self.settings;
        while let Some(mut batch) = self.queue.take(batch_calls, batch_devices).await {
            // Two writers that take the same rows in different orders can deadlock.
            batch.sort_by_key(|group| group.organization);
            let organizations: Vec<_> = batch.iter().map(|group| group.organization).collect();
            // A database that was out of reach may have dropped the connection without telling.
            if matches!(self.health.has_changed(), Ok(true)) {
                self.health.mark_unchanged();
                self.connection.discard();
            }
            self.process(batch).await;
            self.queue.done(&organizations);
        }
        self.connection.close().await;
    }

    /// Commits a batch. One that fails is split and tried again, so that no call fails because of another.
    async fn process(&mut self, batch: Batch) {
        let mut batches = VecDeque::from([batch]);
        while let Some(batch) = batches.pop_front() {
            let batch = still_wanted(batch);
            if batch.is_empty() {
                continue;
            }
            let BatchError { index, error } = match self.commit(&batch).await {
                Ok(outcomes) => {
                    count(&outcomes);
                    for (call, outcome) in calls_of(batch).zip(outcomes.into_iter().flatten()) {
                        call.answer(outcome.map_err(Error::from));
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
                    batches.push_front(batch);
                    let waiting = self.queue.take_all();
                    reject(batches.into_iter().flat_map(calls_of).chain(waiting), error);
                    return;
                }
                // It may have been the commit: the outcome is unknown, and in a rerun nothing would be new. Perhaps only this
                // connection broke: the rest runs on a new one.
                DatabaseError::Unreachable(_) | DatabaseError::Silent(_) => reject(calls_of(batch), error),
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
    }

    /// Commits a batch in one transaction.
    async fn commit(&mut self, batch: &Batch) -> Result<Vec<Outcomes>, BatchError> {
        let groups: Vec<_> = batch
            .iter()
            .map(|group| GroupCommands {
                organization: group.organization,
                commands: group.calls.iter().map(|call| &call.command).collect(),
            })
            .collect();
        let calls = batch.iter().flat_map(|group| &group.calls);
        let devices = calls.clone().map(|call| call.command.devices().len()).sum();
        let span = trace::batch(calls.clone().map(|call| &call.wait), calls.clone().count(), devices);
        let calls = calls.count();
        let start = Instant::now();
        let result = self.run_transaction(&groups).instrument(span.clone()).await;
        BATCHES.calls.record(calls as f64);
        BATCHES.devices.record(devices as f64);
        let took = start.elapsed();
        match result {
            Ok(_) => {
                let WriterSettings {
                    batch_calls,
                    batch_devices,
                    ..
                } = self.settings;
                // The next call may have been too large to fit.
                let was_full = calls >= batch_calls.div_ceil(2) || devices >= batch_devices.div_ceil(2);
                self.queue.measure(calls, devices, took, was_full);
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
    async fn run_transaction(&mut self, groups: &[GroupCommands<'_>]) -> Result<Vec<Outcomes>, BatchError> {
        let limit = if B::IS_EMBEDDED {
            Duration::MAX
        } else {
            self.settings.batch_timeout
        };
        let transaction = self.connection.run(groups, |connection, groups| {
            Box::pin(assign_devices::<B>(connection, groups))
        });
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

/// Counts what calls changed.
fn count(outcomes: &[Outcomes]) {
    let mut tally = Tally::default();
    for outcome in outcomes.iter().flatten().flatten() {
        tally += outcome.tally();
    }
    for (counter, count) in [
        (&CHANGES.assigned, tally.assigned),
        (&CHANGES.already_assigned, tally.already_assigned),
        (&CHANGES.skipped, tally.skipped),
        (&CHANGES.devices_created, tally.devices_created),
        (&CHANGES.customers_created, tally.customers_created),
    ] {
        counter.increment(count as u64);
    }
}

/// Splits a failed batch into the calls that get the error and the batches that run again without them.
fn split(mut batch: Batch, index: Option<usize>, error: &DatabaseError) -> (Vec<Call>, Vec<Batch>) {
    let index = match index {
        Some(index) => index,
        None if batch.len() == 1 => 0,
        // Any group may be the cause.
        None => return (Vec::new(), batch.into_iter().map(|group| vec![group]).collect()),
    };
    let Group { organization, calls } = batch.remove(index);
    let mut again = Vec::new();
    if !batch.is_empty() {
        again.push(batch);
    }
    // A single call may be the cause for the whole group.
    let is_a_bug = matches!(error, DatabaseError::Fault(_) | DatabaseError::Panicked);
    if is_a_bug && calls.len() > 1 {
        let alone = |call| {
            vec![Group {
                organization,
                calls: vec![call],
            }]
        };
        again.extend(calls.into_iter().map(alone));
        return (Vec::new(), again);
    }
    (calls, again)
}

fn calls_of(batch: Batch) -> impl Iterator<Item = Call> {
    batch.into_iter().flat_map(|group| group.calls)
}

/// Leaves out the calls that nobody waits for: callers that left, and calls whose deadline has passed.
///
/// In each group, calls that create no devices go first. Their outcome follows from what the transaction found, that of the
/// others from what exists at the commit. In another order, a device that another writer creates in between could be known
/// to a call and unknown to a later one.
fn still_wanted(mut batch: Batch) -> Batch {
    let now = Instant::now();
    for group in &mut batch {
        let calls = std::mem::take(&mut group.calls);
        let (in_time, late): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| now < call.deadline);
        for call in late {
            call.answer(Err(Error::DeadlineExceeded));
        }
        group.calls = in_time.into_iter().filter(Call::is_wanted).collect();
        group
            .calls
            .sort_by_key(|call| *call.command.unknown_devices() != UnknownDevices::Skip);
    }
    batch.retain(|group| !group.calls.is_empty());
    batch
}

fn reject(calls: impl IntoIterator<Item = Call>, error: DatabaseError) {
    let error = Error::from(error);
    for call in calls {
        call.answer(Err(error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use uuid::Uuid;

    use super::*;
    use crate::{
        domain::{
            assign_devices::{AssignDevices, Outcome},
            id::OrganizationId,
        },
        telemetry::trace::Wait,
    };

    /// A call, and where its outcome goes.
    fn call(email: &str, create: bool) -> (Call, tokio::sync::oneshot::Receiver<Result<Outcome, Error>>) {
        let (reply, outcome) = tokio::sync::oneshot::channel();
        let command = AssignDevices::parse(email, &["SN-1".into()], create, Some("sensor"), 1);
        let call = Call {
            command: command.expect("a command"),
            deadline: Instant::now() + Duration::from_secs(60),
            reply,
            is_abandoned: Arc::default(),
            wait: Wait::begin("small"),
        };
        (call, outcome)
    }

    fn batch(calls: Vec<Call>) -> Batch {
        let organization = OrganizationId::from_uuid(Uuid::nil());
        vec![Group { organization, calls }]
    }

    fn customers(batch: &Batch) -> Vec<&str> {
        let calls = batch.iter().flat_map(|group| &group.calls);
        calls.map(|call| call.command.customer().local_part()).collect()
    }

    #[test]
    fn calls_that_create_no_devices_go_first_and_the_others_stay_in_order() {
        let given = [("a", true), ("b", false), ("c", true), ("d", false)];
        let (calls, _outcomes): (Vec<_>, Vec<_>) = given
            .map(|(name, create)| call(&format!("{name}@example.com"), create))
            .into_iter()
            .unzip();
        assert_eq!(customers(&still_wanted(batch(calls))), ["b", "d", "a", "c"]);
    }

    #[test]
    fn calls_that_nobody_waits_for_are_left_out() {
        let (left, outcome) = call("left@example.com", true);
        drop(outcome);
        let (mut late, mut outcome) = call("late@example.com", true);
        late.deadline = Instant::now();
        let (here, _outcome) = call("here@example.com", true);
        assert_eq!(customers(&still_wanted(batch(vec![left, late, here]))), ["here"]);
        assert!(matches!(outcome.try_recv(), Ok(Err(Error::DeadlineExceeded))));
        let (abandoned, _outcome) = call("abandoned@example.com", true);
        abandoned.is_abandoned.store(true, Ordering::Relaxed);
        assert!(still_wanted(batch(vec![abandoned])).is_empty());
        let (left, _) = call("left@example.com", true);
        assert!(still_wanted(batch(vec![left])).is_empty());
    }
}
