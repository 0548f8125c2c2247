//! `GET /api/ext-v1/deviceAssignment/owners`.

use axum::extract::{Request, State};

use super::{
    Gateway, GatewayResult,
    error_responses::ErrorResponses,
    operation::{Operation, PAGE_BYTES},
    parameters::RequestIdHeader,
};
use crate::pb::{ListDeviceOwnersRequest, ListDeviceOwnersResponse};

#[utoipa::path(
    get,
    path = "/api/ext-v1/deviceAssignment/owners",
    operation_id = "listDeviceOwners",
    tag = "Devices",
    summary = "List the owners of a device",
    description = include_str!(concat!(env!("OUT_DIR"), "/ListDeviceOwners.md")),
    params(RequestIdHeader),
    responses(
        (
            status = 200,
            description = "The call succeeded",
            body = ListDeviceOwnersResponse,
            example = json!({
                "owners": [{
                    "customerId": "cust_01m835zmv6e3ts9whpry4tgqhh",
                    "email": "john.doe@example.com",
                    "assignedAt": "2026-11-26T08:00:00Z",
                }],
                "nextPageToken": "",
                "revision": "4711",
            }),
        ),
        ErrorResponses,
    ),
    security(("apiKey" = []), ("bearer" = [])),
)]
pub(super) async fn handle(State(gateway): State<Gateway>, request: Request) -> GatewayResult {
    let mut client = gateway.devices.clone();
    let operation = Operation {
        name: "ListDeviceOwners",
        list: None,
        answer_list_bytes: PAGE_BYTES,
    };
    let rpc = async move |message: tonic::Request<ListDeviceOwnersRequest>| client.list_device_owners(message).await;
    gateway.get_with_parameters(request, operation, None, rpc).await
}
