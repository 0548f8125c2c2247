//! Creating and changing one device.

use super::{Service, WriteCall, Written};
use crate::domain::{
    Error,
    create_or_update_device::{CreateOrUpdateDevice, Outcome},
};

/// A request to create or change a device, as the caller sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateOrUpdateDeviceRequest {
    /// The identifier.
    pub identifier: String,
    /// The type. `None` keeps it.
    pub device_type: Option<String>,
    /// The properties, a JSON object. `None` keeps them.
    pub properties: Option<String>,
    /// Whether to write nothing, and only tell what the request would do.
    pub validate_only: bool,
}

impl Service {
    /// Creates a device in the caller's organization, or changes the one that has this identifier.
    ///
    /// # Errors
    /// As every write.
    pub async fn create_or_update_device(
        &self,
        call: &WriteCall<Outcome>,
        request: &CreateOrUpdateDeviceRequest,
    ) -> Result<Written<Outcome>, Error> {
        let command = CreateOrUpdateDevice::parse(
            &request.identifier,
            request.device_type.as_deref(),
            request.properties.as_deref(),
        )
        .map_err(Error::InvalidRequest)?;
        self.submit(call, command, 1, request.validate_only).await
    }
}
