//! The list of a device's owners.

use uuid::Uuid;

use super::{
    Error, Violations,
    assign_devices::device,
    device::DeviceIdentifier,
    id::OrganizationId,
    page::{ListQuery, PageFields, PageRequest, page_size},
};

/// List the owners of this device, in the order of their ids. Valid by construction.
#[derive(Debug, Clone)]
pub struct ListDeviceOwners {
    /// The device.
    pub device: DeviceIdentifier,
    /// The page.
    pub page: PageRequest<Uuid>,
}

impl ListDeviceOwners {
    /// Reads the fields of a request.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] with every problem of every field, and [`Error::InvalidPageToken`].
    pub fn parse(organization: OrganizationId, identifier: &str, page: &PageFields) -> Result<Self, Error> {
        let mut violations = Violations::default();
        let device = device(identifier, &mut violations);
        let size = page_size(page.size, &mut violations);
        let (Some(device), Some(size)) = (device, size) else {
            return Err(Error::InvalidRequest(violations));
        };
        let query = ListQuery::new("ListDeviceOwners", organization).with(device.as_str());
        let page = PageRequest::parse(page, size, query)?;
        Ok(Self { device, page })
    }
}
