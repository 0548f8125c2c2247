//! The look-up of many devices with their owners.

use super::{Caller, Service};
use crate::{
    domain::{
        Error, Metered,
        device::DeviceIdentifier,
        device_owners::{BatchGetDeviceOwners, OwnedDevice},
    },
    storage::ReadAt,
};

/// A call to look up devices, as the caller sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchGetDeviceOwnersCall {
    /// The devices.
    pub device_identifiers: Vec<String>,
    /// The revision that the answer must have or exceed.
    pub min_revision: u64,
}

/// Each identifier of a call, and the device if there is one.
pub type FoundDevices = Vec<(DeviceIdentifier, Option<OwnedDevice>)>;

impl Service {
    /// Looks up devices of the caller's organization with their owners.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], and as every read.
    pub async fn batch_get_device_owners(
        &self,
        caller: &Caller,
        call: &BatchGetDeviceOwnersCall,
    ) -> Result<ReadAt<FoundDevices>, Error> {
        let max_devices = self.settings.max_devices_per_request;
        let request = BatchGetDeviceOwners::parse(&call.device_identifiers, call.min_revision, max_devices)
            .map_err(Error::InvalidRequest)?;
        caller.count(Metered::Devices, call.device_identifiers.len())?;
        let identifiers = request.devices().to_vec();
        let found = self.reads.device_owners(caller.organization, request).await?;
        Ok(found.map(|devices| identifiers.into_iter().zip(devices).collect()))
    }
}
