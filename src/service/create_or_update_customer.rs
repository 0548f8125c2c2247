//! Creating and changing one customer.

use super::{Service, WriteCall, Written};
use crate::domain::{
    Error,
    create_or_update_customer::{CreateOrUpdateCustomer, Fields, Outcome},
};

/// A request to create or change a customer, as the caller sent it. `None` keeps what is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateOrUpdateCustomerRequest {
    /// The id of the customer to change. Without it, a customer is created.
    pub customer_id: Option<String>,
    /// The email address.
    pub email: String,
    /// The name.
    pub name: Option<String>,
    /// The phone number.
    pub phone: Option<String>,
    /// The postal address.
    pub address: Option<String>,
    /// The metadata, a JSON object.
    pub metadata: Option<String>,
    /// Whether to write nothing, and only tell what the request would do.
    pub validate_only: bool,
}

impl Service {
    /// Creates a customer in the caller's organization, or changes one.
    ///
    /// # Errors
    /// [`Error::CustomerExists`], [`Error::CustomerNotFound`], and as every write.
    pub async fn create_or_update_customer(
        &self,
        call: &WriteCall<Outcome>,
        request: &CreateOrUpdateCustomerRequest,
    ) -> Result<Written<Outcome>, Error> {
        let command = CreateOrUpdateCustomer::parse(Fields {
            id: request.customer_id.as_deref(),
            email: &request.email,
            name: request.name.as_deref(),
            phone: request.phone.as_deref(),
            address: request.address.as_deref(),
            metadata: request.metadata.as_deref(),
        })
        .map_err(Error::InvalidRequest)?;
        self.submit(call, command, 0, request.validate_only).await
    }
}
