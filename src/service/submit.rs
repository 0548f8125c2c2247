//! Submitting commands: the part of every write that is the same.

use std::{sync::Arc, time::Instant};

use tokio::runtime::Handle;

use super::{Caller, Service, audit};
use crate::{
    domain::{
        Error, Field, Metered, Violations,
        assign_device::MAX_CUSTOMERS,
        bulk_update_metadata::BulkUpdateMetadata,
        change::{Actor, ChangeOrigin},
        command::Command,
        idempotency::IdempotencyKey,
        keyed::{Encode, Keyed, Reply},
    },
    storage::{Completed, PendingOutcome},
};

/// A call that changes something.
pub struct WriteCall<O> {
    /// Who makes it.
    pub caller: Arc<Caller>,
    /// When its time is over.
    pub deadline: Instant,
    /// Its idempotency key, and what makes the stored answer from the outcome.
    pub key: Option<(IdempotencyKey, Encode<O>)>,
}

impl<O: 'static> WriteCall<O> {
    /// This call for one of several commands that it needs. `whole` makes the outcome of the call from that of the command; None if
    /// further commands follow.
    pub(super) fn part(&self, whole: impl Fn(&O) -> Option<O> + Send + Sync + 'static) -> Self {
        let key = self.key.clone();
        Self {
            caller: Arc::clone(&self.caller),
            deadline: self.deadline,
            key: key.map(|(key, encode)| {
                let encode_whole = move |part: &O| whole(part).and_then(|outcome| encode(&outcome));
                (key, Arc::new(encode_whole) as _)
            }),
        }
    }
}

/// What a call did that changes something, or the answer of an earlier call with the same idempotency key.
pub type Written<O> = Completed<Reply<O>>;

impl Service {
    /// Rejects a request that lists more entries in the field `list` than one may, before it is decoded. All of them count toward the
    /// caller's limits.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] and [`Error::RateLimited`].
    pub fn check_device_count(&self, caller: &Caller, list: Field, count: usize) -> Result<(), Error> {
        let max = match list {
            Field::Devices => BulkUpdateMetadata::MAX_DEVICES,
            Field::CustomerEmails => MAX_CUSTOMERS,
            _ => self.settings.max_devices_per_request,
        };
        if count <= max {
            return Ok(());
        }
        caller.count(Metered::Devices, count)?;
        Err(Error::InvalidRequest(match list {
            Field::CustomerEmails => Violations::too_many_customers(count, max),
            _ => Violations::too_many_devices(list, count, max),
        }))
    }

    /// Submits `command` for the caller's organization, counts the `identifiers` of the request toward the caller's limits, and
    /// waits for the outcome, which is durable. If the call has an idempotency key that has an answer
    /// already, that is the outcome. What the command changed is in the audit log, even if the caller leaves. If
    /// `validate_only`, nothing is written, and the outcome is what the command would have done.
    ///
    /// Dropping the future is safe: the command runs whole or not at all.
    ///
    /// # Errors
    /// Nothing has changed, except after [`Error::Unavailable`] and [`Error::DeadlineExceeded`]: then the outcome is unknown, and
    /// the same call can be made again.
    pub(super) async fn submit<C: Command>(
        &self,
        call: &WriteCall<C::Outcome>,
        command: C,
        identifiers: usize,
        validate_only: bool,
    ) -> Result<Written<C::Outcome>, Error> {
        let WriteCall { caller, deadline, key } = call;
        caller.count(Metered::Devices, identifiers)?;
        if validate_only {
            // A preview ignores the key: there is nothing that could happen twice.
            let previewed = self.reads.preview(caller.organization, command).await?;
            return Ok(Completed {
                outcome: Reply::New(previewed.outcome),
                revision: previewed.revision,
                is_preview: previewed.is_preview,
            });
        }
        let origin = ChangeOrigin {
            actor: Actor::ApiKey(caller.key),
            request_id: Some(caller.origin.request_id.clone()),
        };
        let key = key.clone();
        let command = Keyed { command, key };
        let pending = self.writer.submit(caller.organization, command, origin, *deadline)?;
        let guard = AuditGuard::<Keyed<C>> {
            pending: Some(pending),
            caller: Arc::clone(caller),
        };
        guard.outcome().await
    }
}

/// Makes sure that a change is in the audit log, even if the caller leaves while the command runs.
struct AuditGuard<C: Command> {
    pending: Option<PendingOutcome<C::Outcome>>,
    caller: Arc<Caller>,
}

impl<C: Command> AuditGuard<C> {
    async fn outcome(mut self) -> Result<Completed<C::Outcome>, Error> {
        let Some(pending) = &mut self.pending else {
            return Err(Error::ShuttingDown);
        };
        let outcome = pending.await;
        self.pending = None;
        log::<C>(&self.caller, &outcome);
        outcome
    }
}

impl<C: Command> Drop for AuditGuard<C> {
    fn drop(&mut self) {
        if let (Some(pending), Ok(runtime)) = (self.pending.take(), Handle::try_current()) {
            pending.abandon();
            let caller = Arc::clone(&self.caller);
            runtime.spawn(async move { log::<C>(&caller, &pending.await) });
        }
    }
}

fn log<C: Command>(caller: &Caller, outcome: &Result<Completed<C::Outcome>, Error>) {
    if let Ok(Completed { outcome, revision, .. }) = outcome {
        audit::changed(caller, C::KIND, &C::tally(outcome), *revision);
    }
}
