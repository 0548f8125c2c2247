//! Replacing the properties of many devices.

use super::{Service, WriteCall, Written};
use crate::domain::{
    Error,
    bulk_update_metadata::{BulkUpdateMetadata, Outcome},
};

/// A request to replace the properties of devices, as the caller sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BulkUpdateMetadataRequest {
    /// The identifier of each device, and its new properties, a JSON object.
    pub devices: Vec<(String, String)>,
    /// Whether to write nothing, and only tell what the request would do.
    pub validate_only: bool,
}

impl Service {
    /// Replaces the properties of devices in the caller's organization.
    ///
    /// # Errors
    /// As every write.
    pub async fn bulk_update_metadata(
        &self,
        call: &WriteCall<Outcome>,
        request: &BulkUpdateMetadataRequest,
    ) -> Result<Written<Outcome>, Error> {
        let devices = request.devices.iter();
        let devices = devices.map(|(identifier, metadata)| (identifier.as_str(), metadata.as_str()));
        let command = BulkUpdateMetadata::parse(devices).map_err(Error::InvalidRequest)?;
        let count = request.devices.len();
        self.submit(call, command, count, request.validate_only).await
    }
}
