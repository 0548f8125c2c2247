//! One lane: a task with a connection of its own, which carries out batch after batch.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use sea_orm::DatabaseConnection;

use super::{
    WriterSettings,
    queue::{Call, Queue},
};
use crate::{
    domain::{Error, assign_devices::Outcome, id::OrganizationId},
    storage::{Database, Failure, assign_devices::Batch, transaction::transact},
};

pub(super) struct Lane {
    database: Database,
    connection: DatabaseConnection,
    queue: Arc<Queue>,
    settings: WriterSettings,
    /// How long a batch may take before its connection counts as dead.
    batch_timeout: Duration,
}

impl Lane {
    pub(super) async fn new(database: Database, queue: Arc<Queue>, settings: WriterSettings) -> Result<Self, Failure> {
        let connection = database.own_connection().await?;
        // An embedded database is slow at worst, and there is no connection that could be dead.
        let is_embedded = database.url().is_sqlite();
        let batch_timeout = if is_embedded {
            Duration::MAX
        } else {
            settings.batch_timeout
        };
        Ok(Self {
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
        while let Some((organization, calls)) = self.queue.take(batch_calls, batch_devices).await {
            self.carry_out(organization, calls).await;
        }
        close(self.connection).await;
    }

    async fn carry_out(&mut self, organization: OrganizationId, calls: Vec<Call>) {
        let calls = still_wanted(calls);
        if calls.is_empty() {
            return;
        }
        match self.apply(organization, &calls).await {
            Ok(outcomes) => {
                for (call, outcome) in calls.into_iter().zip(outcomes) {
                    answer(call, outcome);
                }
            }
            Err(failure) if is_our_fault(&failure) && calls.len() > 1 => {
                tracing::warn!(%failure, calls = calls.len(), "a batch failed; its calls are carried out one by one");
                for call in calls {
                    // Boxed, because it is this very function: once, with a batch that cannot be split further.
                    Box::pin(self.carry_out(organization, vec![call])).await;
                }
            }
            Err(failure) => {
                let out_of_reach = matches!(failure, Failure::Unreachable(_));
                let error = Error::from(failure);
                for call in calls {
                    answer(call, Err(error.clone()));
                }
                if out_of_reach {
                    // Those who wait would each find out the same, one time-out after the other.
                    for call in self.queue.take_all() {
                        answer(call, Err(error.clone()));
                    }
                }
            }
        }
    }

    /// Applies `calls` in one transaction. A panic is a failure like any other: it must not end the lane.
    async fn apply(
        &mut self,
        organization: OrganizationId,
        calls: &[Call],
    ) -> Result<Vec<Result<Outcome, Error>>, Failure> {
        let commands = calls.iter().map(|call| &call.command).collect();
        let batch = Batch { organization, commands };
        let work = transact(&self.connection, &batch);
        let limit = self.batch_timeout;
        match tokio::time::timeout(limit, AssertUnwindSafe(work).catch_unwind()).await {
            Ok(Ok(Ok(outcomes))) => {
                let outcomes = outcomes.into_iter();
                Ok(outcomes.map(|outcome| outcome.map_err(Error::from)).collect())
            }
            Ok(Ok(Err(failure))) => Err(failure),
            Ok(Err(_panic)) => Err(Failure::Panicked),
            Err(_elapsed) => {
                self.reconnect().await;
                Err(Failure::Silent(limit))
            }
        }
    }

    /// Gives up a connection that may hang in the middle of a statement.
    async fn reconnect(&mut self) {
        match self.database.own_connection().await {
            Ok(fresh) => {
                let stuck = std::mem::replace(&mut self.connection, fresh);
                // Closing waits for the peer, which is just what does not answer.
                tokio::spawn(close(stuck));
            }
            Err(error) => tracing::error!(%error, "reconnecting failed"),
        }
    }
}

async fn close(connection: DatabaseConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "closing a connection failed");
    }
}

/// Whether it may be one call that makes the whole batch fail.
fn is_our_fault(failure: &Failure) -> bool {
    matches!(failure, Failure::Fault(_) | Failure::Panicked)
}

/// Leaves out the calls that nobody waits for any more: callers that left, and calls whose time is over.
fn still_wanted(calls: Vec<Call>) -> Vec<Call> {
    let now = Instant::now();
    let (in_time, late): (Vec<_>, Vec<_>) = calls.into_iter().partition(|call| now < call.deadline);
    for call in late {
        answer(call, Err(Error::DeadlineExceeded));
    }
    in_time.into_iter().filter(|call| !call.reply.is_closed()).collect()
}

fn answer(call: Call, outcome: Result<Outcome, Error>) {
    // Without a receiver the caller has left: nobody is owed an answer.
    let _ = call.reply.send(outcome);
}
