//! `ListCustomers`: message to request, page to message.

use tonic::{Request, Response, Status};

use super::{Admitted, admitted, page, timestamp::text};
use crate::{
    domain::list_customers::ListedCustomer,
    pb,
    service::{ListCustomersCall, Service},
};

pub(super) async fn handle(
    service: &Service,
    request: Request<pb::ListCustomersRequest>,
) -> Result<Response<pb::ListCustomersResponse>, Status> {
    let (Admitted { caller, .. }, message) = admitted(request)?;
    let call = ListCustomersCall {
        email_prefix: message.email_prefix,
        page: page::fields(message.page_size, message.page_token, message.min_revision),
    };
    let customers = service.list_customers(&caller, &call).await;
    let entry = |customer: ListedCustomer| {
        Ok(pb::ListedCustomer {
            id: customer.id.to_string(),
            name: customer.name,
            email: customer.email,
            phone: customer.phone,
            created_at: text(customer.created_at)?,
        })
    };
    page::respond(customers, entry, |customers, next_page_token, revision| {
        pb::ListCustomersResponse {
            customers,
            next_page_token,
            revision,
        }
    })
}
