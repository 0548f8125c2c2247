//! The look-up of one customer.

use super::{Caller, Service};
use crate::{
    domain::{
        Error,
        get_customer::{CustomerDetails, GetCustomer},
    },
    storage::ReadAt,
};

impl Service {
    /// Looks up the customer of the caller's organization with an email address.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::InvalidRequest`], and as every read.
    pub async fn query_customer(
        &self,
        caller: &Caller,
        email: &str,
        min_revision: u64,
    ) -> Result<ReadAt<CustomerDetails>, Error> {
        let request = GetCustomer::by_email(email, min_revision).map_err(Error::InvalidRequest)?;
        self.reads.customer(caller.organization, request).await
    }

    /// Looks up the customer of the caller's organization with an id.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], [`Error::InvalidRequest`], and as every read.
    pub async fn get_customer(
        &self,
        caller: &Caller,
        id: &str,
        min_revision: u64,
    ) -> Result<ReadAt<CustomerDetails>, Error> {
        let request = GetCustomer::by_id(id, min_revision).map_err(Error::InvalidRequest)?;
        self.reads.customer(caller.organization, request).await
    }
}
