//! Deleting one customer.

use std::{sync::Arc, time::Instant};

use super::{Caller, Completed, Service};
use crate::domain::{
    Error,
    delete_customer::{DeleteCustomer, Outcome},
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
        caller: &Arc<Caller>,
        request: &DeleteCustomerRequest,
        deadline: Instant,
    ) -> Result<Completed<Outcome>, Error> {
        let command = DeleteCustomer::parse(&request.email, request.customer_id.as_deref());
        let command = command.map_err(Error::InvalidRequest)?;
        let mut completed = self.submit(caller, command, 0, deadline, request.validate_only).await?;
        if request.validate_only {
            if !completed.outcome.is_deleted {
                // More than one change removes.
                let count = self
                    .database
                    .count_devices_of(caller.organization, completed.outcome.customer_id)
                    .await?;
                completed.outcome.unassigned = usize::try_from(count).unwrap_or(usize::MAX);
            }
            return Ok(completed);
        }
        while !completed.outcome.is_deleted {
            // By id: another customer may get the address meanwhile.
            let rest = DeleteCustomer::by_id(completed.outcome.customer_id);
            let next = match self.submit(caller, rest, 0, deadline, false).await {
                // Another caller has deleted the rest.
                Err(Error::CustomerNotFound(_)) => break,
                next => next?,
            };
            completed.revision = next.revision;
            completed.outcome.unassigned += next.outcome.unassigned;
            completed.outcome.is_deleted = next.outcome.is_deleted;
        }
        Ok(completed)
    }
}
