//! Calls that wait: commands without their types, and where their outcomes go.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use tokio::sync::oneshot;

use crate::{
    domain::{
        Cause, Error, Tally,
        change::{ChangeOrigin, Revision},
        command::{Command, Touches},
        state::State,
    },
    storage::job::{CommandJob, Job},
    telemetry::{metrics::CHANGES, trace::Wait},
};

/// A call that waits.
pub(super) struct Call {
    pub(super) job: Box<dyn WaitingJob>,
    pub(super) deadline: Instant,
    pub(super) wait: Wait,
}

impl Call {
    /// A call for `command`, and its outcome, which comes later.
    pub(super) fn new<C: Command>(
        command: C,
        origin: ChangeOrigin,
        deadline: Instant,
        wait: Wait,
    ) -> (Self, PendingOutcome<C::Outcome>) {
        let (reply, outcome) = oneshot::channel();
        let is_abandoned = Arc::<AtomicBool>::default();
        let job = Box::new(CallJob {
            job: CommandJob::new(command, origin),
            reply,
            is_abandoned: Arc::clone(&is_abandoned),
        });
        (Self { job, deadline, wait }, PendingOutcome { outcome, is_abandoned })
    }
}

/// A job whose outcome somebody waits for.
pub(super) trait WaitingJob: Job {
    /// Whether a caller still waits for it.
    fn is_wanted(&self) -> bool;

    /// As a job that can be committed.
    fn as_job(&mut self) -> &mut dyn Job;

    /// Sends the outcome to the caller. `committed` is the revision that its group was applied to, or why it was not committed.
    fn settle(self: Box<Self>, committed: Result<Revision, Error>);
}

struct CallJob<C: Command> {
    job: CommandJob<C>,
    reply: oneshot::Sender<Result<Completed<C::Outcome>, Error>>,
    /// Whether the caller has said that it no longer waits.
    is_abandoned: Arc<AtomicBool>,
}

impl<C: Command> Job for CallJob<C> {
    fn weight(&self) -> usize {
        self.job.weight()
    }

    fn origin(&self) -> &ChangeOrigin {
        self.job.origin()
    }

    fn touch<'a>(&'a self, touches: &mut Touches<'a>) {
        self.job.touch(touches);
    }

    fn apply(&mut self, state: &mut State<'_>) {
        self.job.apply(state);
    }

    fn change_count(&self) -> usize {
        self.job.change_count()
    }
}

impl<C: Command> WaitingJob for CallJob<C> {
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed() && !self.is_abandoned.load(Ordering::Relaxed)
    }

    fn as_job(&mut self) -> &mut dyn Job {
        self
    }

    fn settle(self: Box<Self>, committed: Result<Revision, Error>) {
        let Self { job, reply, .. } = *self;
        let outcome = committed.and_then(|head| {
            let applied = job.finish(head);
            let (outcome, revision) =
                applied.ok_or_else(|| Error::Internal(Cause::new("a group was committed without one of its calls")))?;
            let outcome = outcome?;
            count(&C::tally(&outcome));
            Ok(Completed {
                outcome,
                revision,
                is_preview: false,
            })
        });
        // Without a receiver the caller has left, and nobody waits for the outcome.
        let _ = reply.send(outcome);
    }
}

/// The outcome of a command that is durable, or that a command would have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completed<O> {
    /// The outcome.
    pub outcome: O,
    /// The revision of the change; for a command that changed nothing, the revision that it saw.
    pub revision: Revision,
    /// Whether nothing was written: the outcome is what the command would have done.
    pub is_preview: bool,
}

/// The outcome of a command, later. It can be dropped at any time: the command runs whole or not at all.
#[derive(Debug)]
pub struct PendingOutcome<O> {
    outcome: oneshot::Receiver<Result<Completed<O>, Error>>,
    is_abandoned: Arc<AtomicBool>,
}

impl<O> PendingOutcome<O> {
    /// Marks the command as abandoned. A worker skips it if it has not started.
    pub fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Relaxed);
    }
}

impl<O> Future for PendingOutcome<O> {
    type Output = Result<Completed<O>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // Only a bug ends a worker while it has a call. The transaction may have been committed.
        let unknown = || Error::Unavailable(Cause::new("the writer worker ended before it answered the call"));
        Pin::new(&mut self.outcome)
            .poll(context)
            .map(|outcome| outcome.unwrap_or_else(|_| Err(unknown())))
    }
}

/// Counts what a command did.
fn count(tally: &Tally) {
    CHANGES.assigned.increment(tally.assigned as u64);
    CHANGES.already_assigned.increment(tally.already_assigned as u64);
    CHANGES.unassigned.increment(tally.unassigned as u64);
    CHANGES.skipped.increment(tally.skipped as u64);
    CHANGES.devices_created.increment(tally.devices_created as u64);
    CHANGES.customers_created.increment(tally.customers_created as u64);
}
