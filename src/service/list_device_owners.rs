//! The list of a device's owners.

use super::{Caller, Service};
use crate::{
    domain::{
        Error, Metered,
        device_owners::Owner,
        list_device_owners::ListDeviceOwners,
        page::{Page, PageFields},
    },
    storage::ReadAt,
};

/// A call to list a device's owners, as the caller sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListDeviceOwnersCall {
    /// The device.
    pub device_identifier: String,
    /// The page.
    pub page: PageFields,
}

impl Service {
    /// Lists owners of a device of the caller's organization.
    ///
    /// # Errors
    /// [`Error::DeviceNotFound`], [`Error::InvalidRequest`], [`Error::InvalidPageToken`], and as every read.
    pub async fn list_device_owners(
        &self,
        caller: &Caller,
        call: &ListDeviceOwnersCall,
    ) -> Result<ReadAt<Page<Owner>>, Error> {
        let organization = caller.organization;
        let request = ListDeviceOwners::parse(organization, &call.device_identifier, &call.page)?;
        caller.count(Metered::Devices, 1)?;
        self.reads.owners_of_device(organization, &request).await
    }
}
