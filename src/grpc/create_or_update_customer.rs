//! `CreateOrUpdateCustomer`: message to request, outcome to message.

use tonic::{Request, Response, Status};

use super::admitted;
use crate::{
    domain::{
        create_or_update_customer::{CreateOrUpdateCustomer, Outcome},
        id::id_text,
    },
    pb, service,
    service::Service,
};

pub(super) async fn handle(
    service: &Service,
    request: Request<pb::CreateOrUpdateCustomerRequest>,
) -> Result<Response<pb::CreateOrUpdateCustomerResponse>, Status> {
    let (call, message) = admitted(request)?;
    let write = call.write(&message, pb::CreateOrUpdateCustomerResponse::from)?;
    let written = service.create_or_update_customer(&write, &message.into()).await;
    call.respond::<CreateOrUpdateCustomer, _>(written, pb::CreateOrUpdateCustomerResponse::from)
}

impl From<pb::CreateOrUpdateCustomerRequest> for service::CreateOrUpdateCustomerRequest {
    fn from(message: pb::CreateOrUpdateCustomerRequest) -> Self {
        Self {
            customer_id: message.telemetron_customer_id,
            email: message.email,
            name: message.name,
            phone: message.phone,
            address: message.address,
            metadata: message.metadata_json,
            validate_only: message.validate_only,
        }
    }
}

impl From<Outcome> for pb::CreateOrUpdateCustomerResponse {
    fn from(outcome: Outcome) -> Self {
        let what = if outcome.was_created { "created" } else { "updated" };
        Self {
            success: true,
            telemetron_customer_id: id_text(outcome.customer_id),
            message: format!("Customer {what} successfully"),
        }
    }
}
