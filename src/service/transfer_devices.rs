//! Transferring devices to one customer.

use super::{Service, WriteCall, Written};
use crate::domain::{
    Error,
    transfer_devices::{Outcome, TransferDevices},
};

/// A request to transfer devices, as the caller sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransferDevicesRequest {
    /// The customer who gets the devices.
    pub customer_email: String,
    /// The devices.
    pub device_identifiers: Vec<String>,
    /// Whether to create the devices that do not exist.
    pub auto_create_devices: bool,
    /// The type of the devices to create.
    pub device_type: Option<String>,
    /// The customer whom the devices must belong to: an email address or an id.
    pub expected_owner: Option<String>,
    /// Whether to write nothing, and only tell what the request would do.
    pub validate_only: bool,
}

impl Service {
    /// Transfers the devices in the caller's organization.
    ///
    /// # Errors
    /// [`Error::NotOfExpectedOwner`], [`Error::TooManyOwners`], and as every write.
    pub async fn transfer_devices(
        &self,
        call: &WriteCall<Outcome>,
        request: &TransferDevicesRequest,
    ) -> Result<Written<Outcome>, Error> {
        let command = TransferDevices::parse(
            &request.customer_email,
            &request.device_identifiers,
            request.auto_create_devices,
            request.device_type.as_deref(),
            request.expected_owner.as_deref(),
            self.settings.max_devices_per_request,
        )
        .map_err(Error::InvalidRequest)?;
        let identifiers = request.device_identifiers.len();
        self.submit(call, command, identifiers, request.validate_only).await
    }
}
