//! One lane: a task with a connection of its own, which carries out batch after batch.

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
    queue::{Call, Queue, Round},
};
use crate::{
    domain::{
        Error,
        assign_devices::{Fate, Outcome, UnknownDevices},
    },
    storage::{
        Database, DatabaseError,
        assign_devices::{Batch, Outcomes, Refused, assign_devices},
        health::{Health, out_of_reach},
        session::OwnConnection,
    },
    telemetry::{
        metrics::{BATCHES, CHANGES},
        trace,
    },
};

pub(super) struct Lane {
    database: Database,
    health: watch::Receiver<Health>,
    connection: OwnConnection,
    queue: Arc<Queue>,
    settings: WriterSettings,
    /// How long a batch may take before its connection counts as dead.
    batch_timeout: Duration,
}

impl Lane {
    pub(super) async fn new(
        database: Database,
        queue: Arc<Queue>,
        settings: WriterSettings,
    ) -> Result<Self, DatabaseError> {
        let connection = OwnConnection::new(database.own_connection().await?);
        // An embedded database is slow at worst, and there is no connection that could be dead.
        let is_embedded = database.url().is_sqlite();
        let batch_timeout = if is_embedded {
            Duration::MAX
        } else {
            settings.batch_timeout
        };
        Ok(Self {
            health: database.health(),
            database,
            connection,
            queue,
            settings,
            batch_timeout,
        })
    }

    /// Carries out what comes, until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        let WriterSettings {
            batch_calls,
            batch_devices,
            ..
        } = self.settings;
        while let Some(mut round) = self.queue.take(batch_calls, batch_devices).await {
            // Two writers that take the same rows in different orders can deadlock.
            round.sort_by_key(|(organization, _)| *organization);
            let organizations: Vec<_> = round.iter().map(|(organization, _)| *organization).collect();
            // A database that was out of reach may have forgotten the connection, which nobody has used since.
            if self.health.has_changed().unwrap_or_default() {
                self.health.mark_unchanged();
                self.reconnect().await;
            }
            self.carry_out(round).await;
            self.queue.done(&organizations);
        }
        self.connection.close().await;
    }

    /// Carries out a round. One that fails is split and carried out again, so that nobody suffers for another.
    async fn carry_out(&mut self, round: Round) {
        let mut rounds = VecDeque::from([round]);
        while let Some(round) = rounds.pop_front() {
            let round = still_wanted(round);
            if round.is_empty() {
                continue;
            }
            let Refused { position, failure } = match self.apply(&round).await {
                Ok(outcomes) => {
                    count(&outcomes);
                    let calls = calls_of(round).into_iter();
                    for (call, outcome) in calls.zip(outcomes.into_iter().flatten()) {
                        answer(call, outcome.map_err(Error::from));
                    }
                    continue;
                }
                Err(refused) => refused,
            };
            if matches!(failure, DatabaseError::NotWritable(_)) {
                self.database.note_failed_write(&failure);
            }
            if matches!(
                failure,
                DatabaseError::NotConnected(_) | DatabaseError::NotWritable(_) | DatabaseError::OutOfReach
            ) {
                // Those who wait would each find out the same, one time-out after the other.
                rounds.push_front(round);
                let waiting = self.queue.take_all();
                refuse(rounds.into_iter().flat_map(calls_of).chain(waiting), failure);
                return;
            }
            if matches!(failure, DatabaseError::Unreachable(_) | DatabaseError::Silent(_)) {
                // It may have been the commit: its outcome is unknown, and carried out again, nothing would be new. It may
                // be no more than this connection that has ended: the rest is carried out on a new one, and told if
                // none can be made.
                refuse(calls_of(round), failure);
                continue;
            }
            let (blamed, again) = split(round, position, &failure);
            if !again.is_empty() {
                tracing::warn!(%failure, "a transaction failed; the calls that may be innocent are carried out again");
            }
            refuse(blamed, failure);
            BATCHES.reruns_after_split.increment(again.len() as u64);
            rounds.extend(again);
        }
    }

    /// Applies a round in one transaction. A panic is a failure like any other: it must not end the lane.
    async fn apply(&mut self, round: &Round) -> Result<Vec<Outcomes>, Refused> {
        let batches: Vec<_> = round
            .iter()
            .map(|(organization, calls)| Batch {
                organization: *organization,
                commands: calls.iter().map(|call| &call.command).collect(),
            })
            .collect();
        let commands = batches.iter().flat_map(|batch| &batch.commands);
        let calls = commands.clone().count();
        let devices = commands.map(|command| command.devices().len()).sum();
        let waited = round.iter().flat_map(|(_, calls)| calls).map(|call| &call.wait);
        let span = trace::batch(waited, calls, devices);
        let start = Instant::now();
        let result = self.apply_all(&batches).instrument(span.clone()).await;
        BATCHES.calls.record(number(calls));
        BATCHES.devices.record(number(devices));
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

    async fn apply_all(&mut self, batches: &[Batch<'_>]) -> Result<Vec<Outcomes>, Refused> {
        let work = assign_devices(&mut self.connection, batches);
        let work = AssertUnwindSafe(work).catch_unwind();
        let limit = self.batch_timeout;
        // An embedded database says so itself, and goes on with what is no longer waited for.
        let is_embedded = self.database.url().is_sqlite();
        let result = tokio::select! {
            biased;
            () = out_of_reach(&mut self.health), if !is_embedded => {
                // It may have been the commit, and to wait for the answer would keep the callers for as long as the bound.
                self.reconnect().await;
                return Err(DatabaseError::OutOfReach.into());
            }
            result = tokio::time::timeout(limit, work) => result,
        };
        match result {
            Ok(Ok(result)) => {
                if let Err(Refused {
                    failure: DatabaseError::Unreachable(_) | DatabaseError::NotConnected(_),
                    ..
                }) = &result
                {
                    // The pool may be waiting for a dead connection to say that it lives, and has no bound for that.
                    self.reconnect().await;
                }
                result
            }
            Ok(Err(_panic)) => Err(DatabaseError::Panicked.into()),
            Err(_elapsed) => {
                self.reconnect().await;
                Err(DatabaseError::Silent(limit).into())
            }
        }
    }

    /// Gives up a connection that may hang in the middle of a statement.
    async fn reconnect(&mut self) {
        match self.database.own_connection().await {
            Ok(fresh) => {
                let stuck = std::mem::replace(&mut self.connection, OwnConnection::new(fresh));
                // Closing waits for the peer, which is just what does not answer.
                tokio::spawn(stuck.close());
            }
            Err(error) => tracing::error!(%error, "reconnecting failed"),
        }
    }
}

/// Tells operators what became of what was asked for.
fn count(outcomes: &[Outcomes]) {
    let (mut assigned, mut already_assigned, mut skipped) = (0, 0, 0);
    let (mut new_devices, mut new_customers) = (0, 0);
    for outcome in outcomes.iter().flatten().flatten() {
        new_customers += u64::from(outcome.customer_was_created);
        for (_, fate) in &outcome.devices {
            match fate {
                Fate::Assigned { was_created, .. } => {
                    assigned += 1;
                    new_devices += u64::from(*was_created);
                }
                Fate::AlreadyAssigned { .. } => already_assigned += 1,
                Fate::Skipped => skipped += 1,
            }
        }
    }
    CHANGES.assigned.increment(assigned);
    CHANGES.already_assigned.increment(already_assigned);
    CHANGES.skipped.increment(skipped);
    CHANGES.devices_created.increment(new_devices);
    CHANGES.customers_created.increment(new_customers);
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Who is to be told of the failure of a round, and what is to be carried out again without them.
fn split(mut round: Round, position: Option<usize>, failure: &DatabaseError) -> (Vec<Call>, Vec<Round>) {
    if position.is_none() && round.len() > 1 {
        return (Vec::new(), round.into_iter().map(|batch| vec![batch]).collect());
    }
    let (organization, calls) = round.remove(position.unwrap_or_default());
    let mut again = Vec::new();
    if !round.is_empty() {
        again.push(round);
    }
    // It may be one call that makes the whole batch fail.
    let is_our_fault = matches!(failure, DatabaseError::Fault(_) | DatabaseError::Panicked);
    if is_our_fault && calls.len() > 1 {
        again.extend(calls.into_iter().map(|call| vec![(organization, vec![call])]));
        return (Vec::new(), again);
    }
    (calls, again)
}

fn calls_of(round: Round) -> Vec<Call> {
    round.into_iter().flat_map(|(_, calls)| calls).collect()
}

/// Leaves out the calls that nobody waits for any more: callers that left, and calls whose time is over.
///
/// Of an organization, those that create no devices go first. Such a call is answered by what the batch found,
/// one that creates devices by what is there when it is committed; in the other order, what others create in
/// between would be unknown to a later call and known to an earlier one.
fn still_wanted(round: Round) -> Round {
    let now = Instant::now();
    let batches = round.into_iter().map(|(organization, calls)| {
        let (in_time, late): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| now < call.deadline);
        for call in late {
            answer(call, Err(Error::DeadlineExceeded));
        }
        let mut calls: Vec<_> = in_time.into_iter().filter(Call::is_wanted).collect();
        calls.sort_by_key(|call| *call.command.unknown_devices() != UnknownDevices::Skip);
        (organization, calls)
    });
    batches
        .filter(|(_, calls): &(_, Vec<Call>)| !calls.is_empty())
        .collect()
}

fn refuse(calls: impl IntoIterator<Item = Call>, failure: DatabaseError) {
    let error = Error::from(failure);
    for call in calls {
        answer(call, Err(error.clone()));
    }
}

fn answer(call: Call, outcome: Result<Outcome, Error>) {
    // Without a receiver the caller has left: nobody is owed an answer.
    let _ = call.reply.send(outcome);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use uuid::Uuid;

    use super::*;
    use crate::{
        domain::{assign_devices::AssignDevices, id::OrganizationId},
        telemetry::trace::Wait,
    };

    /// A call, and where its answer goes.
    fn call(email: &str, create: bool) -> (Call, tokio::sync::oneshot::Receiver<Result<Outcome, Error>>) {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let command = AssignDevices::parse(email, &["SN-1".into()], create, Some("sensor"), 1);
        let call = Call {
            command: command.expect("a command"),
            deadline: Instant::now() + Duration::from_secs(60),
            reply,
            is_abandoned: Arc::default(),
            wait: Wait::begin("small"),
        };
        (call, answer)
    }

    fn customers(round: &Round) -> Vec<&str> {
        let calls = round.iter().flat_map(|(_, calls)| calls);
        calls.map(|call| call.command.customer().local_part()).collect()
    }

    #[test]
    fn calls_that_create_nothing_go_first_and_else_in_order() {
        let organization = OrganizationId::from_uuid(Uuid::nil());
        let given = [("a", true), ("b", false), ("c", true), ("d", false)];
        let (calls, _answers): (Vec<_>, Vec<_>) = given
            .map(|(name, create)| call(&format!("{name}@example.com"), create))
            .into_iter()
            .unzip();
        let round = still_wanted(vec![(organization, calls)]);
        assert_eq!(customers(&round), ["b", "d", "a", "c"]);
    }

    #[test]
    fn nobody_is_carried_out_for_who_left_or_whose_time_is_over() {
        let organization = OrganizationId::from_uuid(Uuid::nil());
        let (left, answer) = call("left@example.com", true);
        drop(answer);
        let (mut late, mut answer) = call("late@example.com", true);
        late.deadline = Instant::now();
        let (here, _answer) = call("here@example.com", true);
        let round = still_wanted(vec![(organization, vec![left, late, here])]);
        assert_eq!(customers(&round), ["here"]);
        assert!(matches!(answer.try_recv(), Ok(Err(Error::DeadlineExceeded))));
        let (abandoned, _answer) = call("abandoned@example.com", true);
        abandoned.is_abandoned.store(true, Ordering::Relaxed);
        assert!(still_wanted(vec![(organization, vec![abandoned])]).is_empty());
        let (left, _) = call("left@example.com", true);
        assert!(still_wanted(vec![(organization, vec![left])]).is_empty());
    }
}
