//! `POST /api/ext-v1/customer/createOrUpdateCustomer`.

use axum::extract::{Request, State};

use super::{
    Gateway, GatewayResult, error_responses::ErrorResponses, operation::Operation, parameters::RequestIdHeader,
};
use crate::pb::{CreateOrUpdateCustomerRequest, CreateOrUpdateCustomerResponse};

#[utoipa::path(
    post,
    path = "/api/ext-v1/customer/createOrUpdateCustomer",
    operation_id = "createOrUpdateCustomer",
    tag = "Customers",
    summary = "Create or change a customer",
    description = include_str!(concat!(env!("OUT_DIR"), "/CreateOrUpdateCustomer.md")),
    params(RequestIdHeader),
    request_body(
        content = CreateOrUpdateCustomerRequest,
        examples(
            ("new" = (
                summary = "Create a customer",
                value = json!({
                    "email": "jane.doe@example.com",
                    "name": "Jane Doe",
                    "phone": "+1 555 0100",
                    "address": "1 Main Street\nSpringfield",
                    "metadata": { "crm": 4711 },
                }),
            )),
            ("change" = (
                summary = "Give a customer another email address, and remove the phone number",
                value = json!({
                    "telemetronCustomerId": "cust_01m835zmv6e3ts9whpry4tgqhh",
                    "email": "jane@example.com",
                    "phone": "",
                }),
            )),
        ),
    ),
    responses(
        (
            status = 200,
            description = "The customer was created or changed",
            body = CreateOrUpdateCustomerResponse,
            example = json!({
                "success": true,
                "telemetronCustomerId": "cust_01m835zmv6e3ts9whpry4tgqhh",
                "message": "Customer created successfully",
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
            Operation::without_lists("CreateOrUpdateCustomer"),
            async move |message: tonic::Request<CreateOrUpdateCustomerRequest>| {
                client.create_or_update_customer(message).await
            },
        )
        .await
}
