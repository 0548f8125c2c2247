//! Replacing the properties of many devices.

use std::{sync::Arc, time::Instant};

use super::{Caller, Completed, Service};
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
        caller: &Arc<Caller>,
        request: &BulkUpdateMetadataRequest,
        deadline: Instant,
    ) -> Result<Completed<Outcome>, Error> {
        let devices = request.devices.iter();
        let devices = devices.map(|(identifier, metadata)| (identifier.as_str(), metadata.as_str()));
        let command = BulkUpdateMetadata::parse(devices).map_err(Error::InvalidRequest)?;
        let count = request.devices.len();
        self.submit(caller, command, count, deadline, request.validate_only)
            .await
    }
}
