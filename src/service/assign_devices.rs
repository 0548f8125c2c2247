//! Assigning many devices to one customer.

use super::{Service, WriteCall, Written};
use crate::domain::{
    Error,
    assign_devices::{AssignDevices, Outcome},
};

/// A request to assign devices, as the caller sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssignDevicesRequest {
    /// The customer who gets the devices.
    pub customer_email: String,
    /// The devices.
    pub device_identifiers: Vec<String>,
    /// Whether to create the devices that do not exist.
    pub auto_create_devices: bool,
    /// The type of the devices to create.
    pub device_type: Option<String>,
    /// Whether to write nothing, and only tell what the request would do.
    pub validate_only: bool,
}

impl Service {
    /// Assigns the devices in the caller's organization.
    ///
    /// # Errors
    /// As every write.
    pub async fn assign_devices(
        &self,
        call: &WriteCall<Outcome>,
        request: &AssignDevicesRequest,
    ) -> Result<Written<Outcome>, Error> {
        let command = AssignDevices::parse(
            &request.customer_email,
            &request.device_identifiers,
            request.auto_create_devices,
            request.device_type.as_deref(),
            self.settings.max_devices_per_request,
        )
        .map_err(Error::InvalidRequest)?;
        let identifiers = request.device_identifiers.len();
        self.submit(call, command, identifiers, request.validate_only).await
    }
}
