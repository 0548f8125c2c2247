//! Deleting one customer.

use super::{Service, WriteCall, Written};
use crate::domain::{
    Error,
    delete_customer::{DeleteCustomer, Outcome},
    keyed::Reply,
};

/// A request to delete a customer, as the caller sent it: by email address or by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteCustomerRequest {
    /// The email address, or an empty text.
    pub email: String,
    /// The id.
    pub customer_id: Option<String>,
    /// Whether to write nothing, and only tell what the request would do.
    pub validate_only: bool,
}

impl Service {
    /// Deletes a customer of the caller's organization with its data and assignments: by several changes if it has many devices.
    ///
    /// # Errors
    /// [`Error::CustomerNotFound`], and as every write. Devices may have been removed already; the same call can be made again.
    pub async fn delete_customer(
        &self,
        call: &WriteCall<Outcome>,
        request: &DeleteCustomerRequest,
    ) -> Result<Written<Outcome>, Error> {
        let command = DeleteCustomer::parse(&request.email, request.customer_id.as_deref());
        let command = command.map_err(Error::InvalidRequest)?;
        let whole = call.part(|part: &Outcome| part.is_deleted.then_some(*part));
        let mut written = self.submit(&whole, command, 0, request.validate_only).await?;
        loop {
            let Reply::New(so_far) = &mut written.outcome else {
                return Ok(written);
            };
            if so_far.is_deleted {
                return Ok(written);
            }
            let (id, unassigned) = (so_far.customer_id, so_far.unassigned);
            if request.validate_only {
                // More than one change removes.
                let count = self.database.count_devices_of(call.caller.organization, id).await?;
                so_far.unassigned = usize::try_from(count).unwrap_or(usize::MAX);
                return Ok(written);
            }
            let together = move |part: &Outcome| Outcome {
                unassigned: unassigned + part.unassigned,
                ..*part
            };
            let rest = call.part(move |part: &Outcome| part.is_deleted.then(|| together(part)));
            // By id: another customer may get the address meanwhile.
            match self.submit(&rest, DeleteCustomer::by_id(id), 0, false).await {
                // Another caller has deleted the rest.
                Err(Error::CustomerNotFound(_)) => return Ok(written),
                next => written = next?,
            }
            if let Reply::New(part) = &mut written.outcome {
                *part = together(part);
            }
        }
    }
}
