//! Unassigning devices from one customer.

use super::{Service, WriteCall, Written};
use crate::domain::{
    Error,
    unassign_devices::{Outcome, UnassignDevices},
};

/// A request to unassign devices, as the caller sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnassignDevicesRequest {
    /// The customer who owns the devices.
    pub customer_email: String,
    /// The devices.
    pub device_identifiers: Vec<String>,
    /// Whether to list the devices that the customer still has.
    pub include_remaining: bool,
    /// Whether to write nothing, and only tell what the request would do.
    pub validate_only: bool,
}

/// A request to unassign one device, as the caller sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnassignDeviceRequest {
    /// The customer who owns the device.
    pub customer_email: String,
    /// The device.
    pub device_identifier: String,
    /// Whether to list the devices that the customer still has.
    pub include_remaining: bool,
    /// Whether to write nothing, and only tell what the request would do.
    pub validate_only: bool,
}

impl Service {
    /// Unassigns the devices in the caller's organization, and skips those that do not belong to the customer.
    ///
    /// # Errors
    /// As every write.
    pub async fn unassign_devices(
        &self,
        call: &WriteCall<Outcome>,
        request: &UnassignDevicesRequest,
    ) -> Result<Written<Outcome>, Error> {
        let command = UnassignDevices::parse(
            &request.customer_email,
            &request.device_identifiers,
            request.include_remaining,
            self.settings.max_devices_per_request,
        )
        .map_err(Error::InvalidRequest)?;
        let identifiers = request.device_identifiers.len();
        self.submit(call, command, identifiers, request.validate_only).await
    }

    /// Unassigns one device in the caller's organization, which must belong to the customer.
    ///
    /// # Errors
    /// [`Error::NotAssigned`], and as every write.
    pub async fn unassign_device(
        &self,
        call: &WriteCall<Outcome>,
        request: &UnassignDeviceRequest,
    ) -> Result<Written<Outcome>, Error> {
        let command = UnassignDevices::parse_one(
            &request.customer_email,
            &request.device_identifier,
            request.include_remaining,
        )
        .map_err(Error::InvalidRequest)?;
        self.submit(call, command, 1, request.validate_only).await
    }
}
