//! Deleting one device.

use std::{sync::Arc, time::Instant};

use super::{Caller, Completed, Service};
use crate::domain::{
    Error,
    delete_device::{DeleteDevice, Outcome},
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
        caller: &Arc<Caller>,
        request: &DeleteDeviceRequest,
        deadline: Instant,
    ) -> Result<Completed<Outcome>, Error> {
        let command = DeleteDevice::parse(&request.identifier).map_err(Error::InvalidRequest)?;
        let mut completed = self
            .submit(caller, command.clone(), 1, deadline, request.validate_only)
            .await?;
        if request.validate_only {
            if !completed.outcome.is_deleted {
                // More than one change removes.
                let count = self
                    .database
                    .count_owners_of(caller.organization, completed.outcome.device_id)
                    .await?;
                completed.outcome.unassigned = usize::try_from(count).unwrap_or(usize::MAX);
            }
            return Ok(completed);
        }
        while !completed.outcome.is_deleted {
            let next = match self.submit(caller, command.clone(), 0, deadline, false).await {
                // Another caller has deleted the rest.
                Err(Error::DeviceNotFound) => break,
                next => next?,
            };
            completed.revision = next.revision;
            completed.outcome.unassigned += next.outcome.unassigned;
            completed.outcome.is_deleted = next.outcome.is_deleted;
        }
        Ok(completed)
    }
}
