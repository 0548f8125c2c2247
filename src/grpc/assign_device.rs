//! `AssignDeviceToOwners`: the message as a request, and the outcome as a message.

use tonic::{Request, Response, Status};

use super::admitted;
use crate::{
    domain::{
        assign_device::{self, AssignDevice, Outcome},
        id::id_text,
    },
    pb::{AssignDeviceToOwnersRequest, AssignDeviceToOwnersResponse, AssignedCustomer},
    service::{AssignDeviceRequest, Service},
};

pub(super) async fn handle(
    service: &Service,
    request: Request<AssignDeviceToOwnersRequest>,
) -> Result<Response<AssignDeviceToOwnersResponse>, Status> {
    let (call, message) = admitted(request)?;
    let write = call.write(&message, AssignDeviceToOwnersResponse::from)?;
    let written = service.assign_device(&write, &message.into()).await;
    call.respond::<AssignDevice, _>(written, AssignDeviceToOwnersResponse::from)
}

impl From<AssignDeviceToOwnersRequest> for AssignDeviceRequest {
    fn from(message: AssignDeviceToOwnersRequest) -> Self {
        Self {
            device_identifier: message.device_identifier,
            customer_emails: message.customer_emails,
            auto_create_device: message.auto_create_device,
            device_type: message.device_type,
            validate_only: message.validate_only,
        }
    }
}

impl From<Outcome> for AssignDeviceToOwnersResponse {
    fn from(outcome: Outcome) -> Self {
        let owned_before = outcome.customers.iter().filter(|customer| customer.was_assigned);
        let count = outcome.customers.len();
        Self {
            success: true,
            message: format!("Successfully assigned device to {count} customer(s)"),
            device_id: id_text(outcome.device_id),
            device_was_created: outcome.device_was_created,
            assigned_customers: outcome.customers.iter().map(customer).collect(),
            already_assigned: owned_before.map(customer).collect(),
        }
    }
}

fn customer(customer: &assign_device::AssignedCustomer) -> AssignedCustomer {
    AssignedCustomer {
        email: customer.email.as_str().to_owned(),
        customer_id: id_text(customer.id),
        was_created: customer.was_created,
    }
}
