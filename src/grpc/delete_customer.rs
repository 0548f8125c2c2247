//! `DeleteCustomer`: message to request, outcome to message.

use tonic::{Request, Response, Status};

use super::admitted;
use crate::{
    domain::delete_customer::{DeleteCustomer, Outcome},
    pb, service,
    service::Service,
};

pub(super) async fn handle(
    service: &Service,
    request: Request<pb::DeleteCustomerRequest>,
) -> Result<Response<pb::DeleteCustomerResponse>, Status> {
    let (call, message) = admitted(request)?;
    let write = call.write(&message, pb::DeleteCustomerResponse::from)?;
    let request = service::DeleteCustomerRequest {
        email: message.email,
        customer_id: message.telemetron_customer_id,
        validate_only: message.validate_only,
    };
    let written = service.delete_customer(&write, &request).await;
    call.respond::<DeleteCustomer, _>(written, pb::DeleteCustomerResponse::from)
}

impl From<Outcome> for pb::DeleteCustomerResponse {
    fn from(outcome: Outcome) -> Self {
        Self {
            success: true,
            message: "Customer deleted successfully".into(),
            customer_id: outcome.customer_id.to_string(),
            unassigned_count: i32::try_from(outcome.unassigned).unwrap_or(i32::MAX),
        }
    }
}
