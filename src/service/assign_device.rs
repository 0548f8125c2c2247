//! Assigning one device to several customers.

use super::{Service, WriteCall, Written};
use crate::domain::{
    Error,
    assign_device::{AssignDevice, Outcome},
};

/// A request to assign one device, as the caller sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssignDeviceRequest {
    /// The device.
    pub device_identifier: String,
    /// The customers who get the device.
    pub customer_emails: Vec<String>,
    /// Whether to create the device if it does not exist.
    pub auto_create_device: bool,
    /// The type of the device to create.
    pub device_type: Option<String>,
    /// Whether to write nothing, and only tell what the request would do.
    pub validate_only: bool,
}

impl Service {
    /// Assigns the device in the caller's organization. Each customer counts toward the device limit.
    ///
    /// # Errors
    /// [`Error::DeviceNotFound`], and as every write.
    pub async fn assign_device(
        &self,
        call: &WriteCall<Outcome>,
        request: &AssignDeviceRequest,
    ) -> Result<Written<Outcome>, Error> {
        let command = AssignDevice::parse(
            &request.device_identifier,
            &request.customer_emails,
            request.auto_create_device,
            request.device_type.as_deref(),
        )
        .map_err(Error::InvalidRequest)?;
        let customers = request.customer_emails.len();
        self.submit(call, command, customers, request.validate_only).await
    }
}
