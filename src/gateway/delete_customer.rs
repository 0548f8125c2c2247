//! `POST /api/ext-v1/customer/deleteCustomer`.

use axum::extract::{Request, State};

use super::{
    Gateway, GatewayResult, error_responses::ErrorResponses, operation::Operation, parameters::RequestIdHeader,
};
use crate::pb::{DeleteCustomerRequest, DeleteCustomerResponse};

#[utoipa::path(
    post,
    path = "/api/ext-v1/customer/deleteCustomer",
    operation_id = "deleteCustomer",
    tag = "Customers",
    summary = "Delete a customer",
    description = include_str!(concat!(env!("OUT_DIR"), "/DeleteCustomer.md")),
    params(RequestIdHeader),
    request_body(
        content = DeleteCustomerRequest,
        examples(
            ("customer" = (
                summary = "Delete a customer by email address. `telemetronCustomerId` can be sent instead",
                value = json!({ "email": "jane.doe@example.com" }),
            )),
        ),
    ),
    responses(
        (
            status = 200,
            description = "The customer does not exist any more",
            body = DeleteCustomerResponse,
            example = json!({
                "success": true,
                "message": "Customer deleted successfully",
                "customerId": "cust_01m835zmv6e3ts9whpry4tgqhh",
                "unassignedCount": 2,
            }),
        ),
        ErrorResponses,
    ),
    security(("apiKey" = []), ("bearer" = [])),
)]
pub(super) async fn handle(State(gateway): State<Gateway>, request: Request) -> GatewayResult {
    let mut client = gateway.customer.clone();
    gateway
        .post(
            request,
            Operation::without_lists("DeleteCustomer"),
            async move |message: tonic::Request<DeleteCustomerRequest>| client.delete_customer(message).await,
        )
        .await
}
