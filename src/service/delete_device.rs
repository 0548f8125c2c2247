//! Deleting one device.

use super::{Service, WriteCall, Written};
use crate::domain::{
    Error,
    delete_device::{DeleteDevice, Outcome},
    keyed::Reply,
};

/// A request to delete a device, as the caller sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteDeviceRequest {
    /// The identifier.
    pub identifier: String,
    /// Whether to write nothing, and only tell what the request would do.
    pub validate_only: bool,
}

impl Service {
    /// Deletes a device of the caller's organization with its assignments: by several changes if it has many owners.
    ///
    /// # Errors
    /// [`Error::DeviceNotFound`], and as every write. Owners may have been removed already; the same call can be made again.
    pub async fn delete_device(
        &self,
        call: &WriteCall<Outcome>,
        request: &DeleteDeviceRequest,
    ) -> Result<Written<Outcome>, Error> {
        let command = DeleteDevice::parse(&request.identifier).map_err(Error::InvalidRequest)?;
        let whole = call.part(|part: &Outcome| part.is_deleted.then_some(*part));
        let mut written = self.submit(&whole, command.clone(), 1, request.validate_only).await?;
        loop {
            let Reply::New(so_far) = &mut written.outcome else {
                return Ok(written);
            };
            if so_far.is_deleted {
                return Ok(written);
            }
            let (id, unassigned) = (so_far.device_id, so_far.unassigned);
            if request.validate_only {
                // More than one change removes.
                let count = self.database.count_owners_of(call.caller.organization, id).await?;
                so_far.unassigned = usize::try_from(count).unwrap_or(usize::MAX);
                return Ok(written);
            }
            let together = move |part: &Outcome| Outcome {
                unassigned: unassigned + part.unassigned,
                ..*part
            };
            let rest = call.part(move |part: &Outcome| part.is_deleted.then(|| together(part)));
            match self.submit(&rest, command.clone(), 0, false).await {
                // Another caller has deleted the rest.
                Err(Error::DeviceNotFound) => return Ok(written),
                next => written = next?,
            }
            if let Reply::New(part) = &mut written.outcome {
                *part = together(part);
            }
        }
    }
}
