//! Assigning many devices to one customer.

use std::{sync::Arc, time::Instant};

use tokio::runtime::Handle;

use super::{Caller, Service, audit};
use crate::{
    domain::{
        Error, Metered,
        assign_devices::{AssignDevices, Outcome},
    },
    storage::PendingOutcome,
};

/// The request as the caller sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssignDevicesRequest {
    /// The customer's email address.
    pub customer_email: String,
    /// The identifiers of the devices.
    pub device_identifiers: Vec<String>,
    /// Whether to create devices that do not exist.
    pub auto_create_devices: bool,
    /// The type of new devices.
    pub device_type: Option<String>,
}

impl Service {
    /// Rejects a request with too many identifiers before they are decoded. All of them count toward the device limit, because
    /// the service has received them.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], and [`Error::RateLimited`].
    pub fn check_device_count(&self, caller: &Caller, count: usize) -> Result<(), Error> {
        let max = self.settings.max_devices_per_request;
        if count <= max {
            return Ok(());
        }
        caller
            .rate_limits
            .take(Metered::Devices, u32::try_from(count).unwrap_or(u32::MAX))?;
        Err(Error::InvalidRequest(AssignDevices::too_many_devices(count, max)))
    }

    /// Assigns the devices in the caller's organization. The returned outcome is durable.
    ///
    /// Dropping the future is safe: the call takes effect as a whole or not at all.
    ///
    /// # Errors
    /// After [`Error::Unavailable`] and [`Error::DeadlineExceeded`] the outcome is unknown, and the same call can be repeated.
    /// After any other error nothing has changed.
    pub async fn assign_devices(
        &self,
        caller: &Arc<Caller>,
        request: &AssignDevicesRequest,
        deadline: Instant,
    ) -> Result<Outcome, Error> {
        let command = AssignDevices::parse(
            &request.customer_email,
            &request.device_identifiers,
            request.auto_create_devices,
            request.device_type.as_deref(),
            self.settings.max_devices_per_request,
        )
        .map_err(Error::InvalidRequest)?;
        let identifiers = u32::try_from(request.device_identifiers.len()).unwrap_or(u32::MAX);
        caller.rate_limits.take(Metered::Devices, identifiers)?;
        let answer = self.writer.assign_devices(caller.organization, command, deadline)?;
        let guard = AuditGuard {
            answer: Some(answer),
            caller: Arc::clone(caller),
        };
        guard.outcome().await
    }
}

/// Writes the audit event of a call, even if the caller goes away: the command may be in progress already.
struct AuditGuard {
    answer: Option<PendingOutcome>,
    caller: Arc<Caller>,
}

impl AuditGuard {
    async fn outcome(mut self) -> Result<Outcome, Error> {
        let Some(answer) = &mut self.answer else {
            return Err(Error::ShuttingDown);
        };
        let outcome = answer.await;
        self.answer = None;
        log(&self.caller, &outcome);
        outcome
    }
}

impl Drop for AuditGuard {
    fn drop(&mut self) {
        if let (Some(answer), Ok(runtime)) = (self.answer.take(), Handle::try_current()) {
            answer.abandon();
            let caller = Arc::clone(&self.caller);
            runtime.spawn(async move { log(&caller, &answer.await) });
        }
    }
}

fn log(caller: &Caller, outcome: &Result<Outcome, Error>) {
    if let Ok(outcome) = outcome {
        audit::devices_assigned(caller, outcome);
    }
}
