//! `QueryCustomer` and `GetCustomer`: message to request, customer to message.

use tonic::{Request, Response, Status};

use super::{
    Admitted, admitted, identifiers::that_fit, receive::LIST_BYTES, revision::response_at, status::to_status,
    timestamp::text,
};
use crate::{
    domain::{Error, get_customer::CustomerDetails},
    pb,
    service::{ReadAt, Service},
};

pub(super) async fn by_email(
    service: &Service,
    request: Request<pb::QueryCustomerRequest>,
) -> Result<Response<pb::Customer>, Status> {
    let (Admitted { caller, .. }, message) = admitted(request)?;
    respond(
        service
            .query_customer(&caller, &message.email, message.min_revision)
            .await,
    )
}

pub(super) async fn by_id(
    service: &Service,
    request: Request<pb::GetCustomerRequest>,
) -> Result<Response<pb::Customer>, Status> {
    let (Admitted { caller, .. }, message) = admitted(request)?;
    let found = service.get_customer(&caller, &message.telemetron_customer_id, message.min_revision);
    respond(found.await)
}

fn respond(found: Result<ReadAt<CustomerDetails>, Error>) -> Result<Response<pb::Customer>, Status> {
    let answered = found.and_then(|found| {
        let message = answer(found.value, found.revision.number())?;
        Ok(response_at(found.revision, message))
    });
    answered.map_err(|error| to_status(&error))
}

fn answer(customer: CustomerDetails, revision: u64) -> Result<pb::Customer, Error> {
    Ok(pb::Customer {
        id: customer.id.to_string(),
        organization_id: customer.organization.to_string(),
        name: customer.name,
        email: customer.email,
        phone: customer.phone,
        address: customer.address,
        devices: that_fit(customer.devices, LIST_BYTES),
        devices_count: i32::try_from(customer.device_count).unwrap_or(i32::MAX),
        orders: Vec::new(),
        metadata_json: customer.metadata,
        created_at: text(customer.created_at)?,
        revision,
    })
}
