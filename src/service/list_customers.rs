//! The list of an organization's customers.

use super::{Caller, Service};
use crate::{
    domain::{
        Error,
        list_customers::{ListCustomers, ListedCustomer},
        page::{Page, PageFields},
    },
    storage::ReadAt,
};

/// A call to list customers, as the caller sent it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListCustomersCall {
    /// Only customers whose email address begins with this.
    pub email_prefix: String,
    /// The page.
    pub page: PageFields,
}

impl Service {
    /// Lists customers of the caller's organization.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`], [`Error::InvalidPageToken`], and as every read.
    pub async fn list_customers(
        &self,
        caller: &Caller,
        call: &ListCustomersCall,
    ) -> Result<ReadAt<Page<ListedCustomer>>, Error> {
        let organization = caller.organization;
        let request = ListCustomers::parse(organization, &call.email_prefix, &call.page)?;
        self.reads.customers(organization, &request).await
    }
}
