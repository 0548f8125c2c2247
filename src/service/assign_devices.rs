//! Assigning many devices to one customer.

use std::{sync::Arc, time::Instant};

use super::{Caller, Service};
use crate::domain::{
    Error, Metered,
    assign_devices::{AssignDevices, Outcome},
};

/// What is asked for, as the caller gave it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssignDevicesRequest {
    /// Whom the devices go to.
    pub customer_email: String,
    /// Which devices.
    pub device_identifiers: Vec<String>,
    /// Whether to create the devices that do not exist.
    pub auto_create_devices: bool,
    /// What kind of device to create.
    pub device_type: Option<String>,
}

impl Service {
    /// Refuses a request of more identifiers than one may have, before they are read. The caller pays for all of them: the
    /// work of receiving them is done.
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

    /// Assigns the devices in the caller's organization. What is answered is durable.
    ///
    /// Dropping the future is safe: the call is carried out whole or not at all.
    ///
    /// # Errors
    /// As [`Error`] says; nothing has changed then, unless it is [`Error::Unavailable`] or
    /// [`Error::DeadlineExceeded`], after which the outcome is unknown and the same call can be made again.
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
        let completed = self.submit(caller, command, request.device_identifiers.len(), deadline);
        Ok(completed.await?.outcome)
    }
}
