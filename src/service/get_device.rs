//! The look-up of one device.

use super::{Caller, Service};
use crate::{
    domain::{
        Error, Metered,
        get_device::{DeviceDetails, GetDevice},
    },
    storage::ReadAt,
};

impl Service {
    /// Looks up a device of the caller's organization.
    ///
    /// # Errors
    /// [`Error::DeviceNotFound`], [`Error::InvalidRequest`], and as every read.
    pub async fn get_device(
        &self,
        caller: &Caller,
        identifier: &str,
        min_revision: u64,
    ) -> Result<ReadAt<DeviceDetails>, Error> {
        let request = GetDevice::parse(identifier, min_revision).map_err(Error::InvalidRequest)?;
        caller.count(Metered::Devices, 1)?;
        self.reads.device(caller.organization, &request).await
    }
}
