//! The list of an organization's devices.

use super::{Caller, Service};
use crate::{
    domain::{
        Error,
        list_devices::{ListDevices, ListedDevice},
        page::{Page, PageFields},
    },
    storage::ReadAt,
};

/// A call to list devices, as the caller sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListDevicesCall {
    /// Only devices of this type.
    pub device_type: String,
    /// Only devices whose identifier begins with this.
    pub prefix: String,
    /// Only devices without owners.
    pub is_unassigned: bool,
    /// The page.
    pub page: PageFields,
}

impl Service {
    /// Lists devices of the caller's organization.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], [`Error::InvalidPageToken`], and as every read.
    pub async fn list_devices(
        &self,
        caller: &Caller,
        call: &ListDevicesCall,
    ) -> Result<ReadAt<Page<ListedDevice>>, Error> {
        let organization = caller.organization;
        let request = ListDevices::parse(
            organization,
            &call.device_type,
            &call.prefix,
            call.is_unassigned,
            &call.page,
        )?;
        self.reads.devices(organization, &request).await
    }
}
