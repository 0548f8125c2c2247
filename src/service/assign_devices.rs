//! Assigning many devices to one customer.

use std::time::Instant;

use super::{Caller, Service};
use crate::domain::{
    Error,
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
    /// Assigns the devices in the caller's organization. What is answered is durable.
    ///
    /// Dropping the future is safe: the call is carried out whole or not at all.
    ///
    /// # Errors
    /// As [`Error`] says; nothing has changed then, unless it is [`Error::Unavailable`] or
    /// [`Error::DeadlineExceeded`], after which the outcome is unknown and the same call can be made again.
    pub async fn assign_devices(
        &self,
        caller: &Caller,
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
        self.writer.assign_devices(caller.organization, command, deadline).await
    }
}
