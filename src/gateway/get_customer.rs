//! `POST /api/ext-v1/customer/queryCustomer` and `GET /api/ext-v1/customer/getCustomer/{telemetronCustomerId}`.

use axum::extract::{Path, Request, State, rejection::PathRejection};

use super::{
    Gateway, GatewayResult,
    error_responses::ErrorResponses,
    operation::{DEVICE_LIST_BYTES, JSON_OBJECT_BYTES, Operation},
    parameters::RequestIdHeader,
    problem::Problem,
};
use crate::pb::{Customer, GetCustomerRequest, QueryCustomerRequest};

/// The operation of an RPC.
const fn operation(name: &'static str) -> Operation {
    Operation {
        name,
        list: None,
        answer_list_bytes: DEVICE_LIST_BYTES + JSON_OBJECT_BYTES,
    }
}

#[utoipa::path(
    post,
    path = "/api/ext-v1/customer/queryCustomer",
    operation_id = "queryCustomer",
    tag = "Customers",
    summary = "Look up a customer by its email address",
    description = include_str!(concat!(env!("OUT_DIR"), "/QueryCustomer.md")),
    params(RequestIdHeader),
    request_body(
        content = QueryCustomerRequest,
        examples(("customer" = (summary = "Look up a customer", value = json!({ "email": "john.doe@example.com" })))),
    ),
    responses(
        (
            status = 200,
            description = "The call succeeded",
            body = Customer,
            example = json!({
                "id": "cust_01m835zmv6e3ts9whpry4tgqhh",
                "organizationId": "org_01m835zmv6e3ts9whpry4tgqhh",
                "name": "John Doe",
                "email": "john.doe@example.com",
                "phone": "+1 555 0100",
                "address": "",
                "devices": ["SN-001", "SN-002"],
                "devicesCount": 2,
                "orders": [],
                "metadata": { "segment": "gold" },
                "createdAt": "2026-11-26T08:00:00Z",
                "revision": "4711",
            }),
        ),
        ErrorResponses,
    ),
    security(("apiKey" = []), ("bearer" = [])),
)]
pub(super) async fn by_email(State(gateway): State<Gateway>, request: Request) -> GatewayResult {
    let mut client = gateway.customer.clone();
    let rpc = async move |message: tonic::Request<QueryCustomerRequest>| client.query_customer(message).await;
    gateway.post(request, operation("QueryCustomer"), rpc).await
}

#[utoipa::path(
    get,
    path = "/api/ext-v1/customer/getCustomer/{telemetronCustomerId}",
    operation_id = "getCustomer",
    tag = "Customers",
    summary = "Look up a customer by its id",
    description = include_str!(concat!(env!("OUT_DIR"), "/GetCustomer.md")),
    params(RequestIdHeader),
    responses(
        (
            status = 200,
            description = "The call succeeded",
            body = Customer,
            example = json!({
                "id": "cust_01m835zmv6e3ts9whpry4tgqhh",
                "organizationId": "org_01m835zmv6e3ts9whpry4tgqhh",
                "name": "John Doe",
                "email": "john.doe@example.com",
                "phone": "+1 555 0100",
                "address": "",
                "devices": ["SN-001", "SN-002"],
                "devicesCount": 2,
                "orders": [],
                "metadata": { "segment": "gold" },
                "createdAt": "2026-11-26T08:00:00Z",
                "revision": "4711",
            }),
        ),
        ErrorResponses,
    ),
    security(("apiKey" = []), ("bearer" = [])),
)]
pub(super) async fn by_id(
    State(gateway): State<Gateway>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> GatewayResult {
    let Path(id) = id.map_err(|_| Problem::not_found())?;
    let mut client = gateway.customer.clone();
    let rpc = async move |message: tonic::Request<GetCustomerRequest>| client.get_customer(message).await;
    let in_path = Some(("telemetronCustomerId", id));
    gateway
        .get_with_parameters(request, operation("GetCustomer"), in_path, rpc)
        .await
}
