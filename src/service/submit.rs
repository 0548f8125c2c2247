//! Submitting commands: the part of every write that is the same.

use std::{sync::Arc, time::Instant};

use tokio::runtime::Handle;

use super::{Caller, Service, audit};
use crate::{
    domain::{
        Error, Field, Metered, Violations,
        bulk_update_metadata::BulkUpdateMetadata,
        change::{Actor, ChangeOrigin},
        command::Command,
    },
    storage::{Completed, PendingOutcome},
};

impl Service {
    /// Rejects a request that lists more devices in the field `list` than one may, before it is decoded. All of them count toward the
    /// caller's limits.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] and [`Error::RateLimited`].
    pub fn check_device_count(&self, caller: &Caller, list: Field, count: usize) -> Result<(), Error> {
        let max = match list {
            Field::Devices => BulkUpdateMetadata::MAX_DEVICES,
            _ => self.settings.max_devices_per_request,
        };
        if count <= max {
            return Ok(());
        }
        caller.count(Metered::Devices, count)?;
        Err(Error::InvalidRequest(Violations::too_many_devices(list, count, max)))
    }

    /// Submits `command` for the caller's organization, counts the `identifiers` of the request toward the caller's limits, and
    /// waits for the outcome, which is durable. What the command changed is in the audit log, even if the caller leaves. If
    /// `validate_only`, nothing is written, and the outcome is what the command would have done.
    ///
    /// Dropping the future is safe: the command runs whole or not at all.
    ///
    /// # Errors
    /// Nothing has changed, except after [`Error::Unavailable`] and [`Error::DeadlineExceeded`]: then the outcome is unknown, and
    /// the same call can be made again.
    pub(super) async fn submit<C: Command>(
        &self,
        caller: &Arc<Caller>,
        command: C,
        identifiers: usize,
        deadline: Instant,
        validate_only: bool,
    ) -> Result<Completed<C::Outcome>, Error> {
        caller.count(Metered::Devices, identifiers)?;
        if validate_only {
            return self.database.preview(caller.organization, command).await;
        }
        let origin = ChangeOrigin {
            actor: Actor::ApiKey(caller.key),
            request_id: Some(caller.origin.request_id.clone()),
        };
        let pending = self.writer.submit(caller.organization, command, origin, deadline)?;
        let guard = AuditGuard::<C> {
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
