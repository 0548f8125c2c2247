//! `POST /api/ext-v1/customer/listCustomers` and `GET /api/ext-v1/customers`.

use axum::extract::{Request, State};

use super::{
    Gateway, GatewayResult,
    error_responses::ErrorResponses,
    operation::{Operation, PAGE_BYTES},
    parameters::RequestIdHeader,
};
use crate::pb::{ListCustomersRequest, ListCustomersResponse};

const OPERATION: Operation = Operation {
    name: "ListCustomers",
    list: None,
    answer_list_bytes: PAGE_BYTES,
};

#[utoipa::path(
    post,
    path = "/api/ext-v1/customer/listCustomers",
    operation_id = "listCustomers",
    tag = "Customers",
    summary = "List customers by the beginning of their email addresses",
    description = include_str!(concat!(env!("OUT_DIR"), "/ListCustomers.md")),
    params(RequestIdHeader),
    request_body(
        content = ListCustomersRequest,
        examples(("prefix" = (summary = "Customers whose address begins with john", value = json!({ "emailPrefix": "john" })))),
    ),
    responses(
        (
            status = 200,
            description = "The call succeeded",
            body = ListCustomersResponse,
            example = json!({
                "customers": [{
                    "id": "cust_01m835zmv6e3ts9whpry4tgqhh",
                    "name": "John Doe",
                    "email": "john.doe@example.com",
                    "phone": "",
                    "createdAt": "2026-11-26T08:00:00Z",
                }],
                "nextPageToken": "",
                "revision": "4711",
            }),
        ),
        ErrorResponses,
    ),
    security(("apiKey" = []), ("bearer" = [])),
)]
pub(super) async fn by_body(State(gateway): State<Gateway>, request: Request) -> GatewayResult {
    let mut client = gateway.customer.clone();
    let rpc = async move |message: tonic::Request<ListCustomersRequest>| client.list_customers(message).await;
    gateway.post(request, OPERATION, rpc).await
}

#[utoipa::path(
    get,
    path = "/api/ext-v1/customers",
    operation_id = "getCustomers",
    tag = "Customers",
    summary = "List all customers",
    description = include_str!(concat!(env!("OUT_DIR"), "/ListCustomers.md")),
    params(RequestIdHeader),
    responses(
        (
            status = 200,
            description = "The call succeeded",
            body = ListCustomersResponse,
            example = json!({
                "customers": [{
                    "id": "cust_01m835zmv6e3ts9whpry4tgqhh",
                    "name": "John Doe",
                    "email": "john.doe@example.com",
                    "phone": "",
                    "createdAt": "2026-11-26T08:00:00Z",
                }],
                "nextPageToken": "",
                "revision": "4711",
            }),
        ),
        ErrorResponses,
    ),
    security(("apiKey" = []), ("bearer" = [])),
)]
pub(super) async fn by_query(State(gateway): State<Gateway>, request: Request) -> GatewayResult {
    let mut client = gateway.customer.clone();
    let rpc = async move |message: tonic::Request<ListCustomersRequest>| client.list_customers(message).await;
    gateway.get_with_parameters(request, OPERATION, None, rpc).await
}
