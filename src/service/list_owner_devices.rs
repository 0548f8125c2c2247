//! The list of a customer's devices.

use super::{Caller, Service};
use crate::{
    domain::{
        Error,
        list_owner_devices::{ListOwnerDevices, OwnerDevice},
        page::{Page, PageFields},
    },
    storage::ReadAt,
};

/// A call to list a customer's devices, as the caller sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListOwnerDevicesCall {
    /// The customer's email address.
    pub customer_email: Option<String>,
    /// The customer's id.
    pub customer_id: Option<String>,
    /// The page.
    pub page: PageFields,
}

impl Service {
    /// Lists devices of a customer of the caller's organization.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::InvalidRequest`], [`Error::InvalidPageToken`], and as every read.
    pub async fn list_owner_devices(
        &self,
        caller: &Caller,
        call: &ListOwnerDevicesCall,
    ) -> Result<ReadAt<Page<OwnerDevice>>, Error> {
        let organization = caller.organization;
        let (email, id) = (call.customer_email.as_deref(), call.customer_id.as_deref());
        let request = ListOwnerDevices::parse(organization, email, id, &call.page)?;
        self.reads.devices_of_owner(organization, &request).await
    }
}
