//! `POST /api/ext-v1/deviceAssignment/listOwnerDevices` and `GET /api/ext-v1/deviceAssignment/devices`.

use axum::extract::{Request, State};

use super::{
    Gateway, GatewayResult,
    error_responses::ErrorResponses,
    operation::{Operation, PAGE_BYTES},
    parameters::RequestIdHeader,
};
use crate::pb::{ListOwnerDevicesRequest, ListOwnerDevicesResponse};

const OPERATION: Operation = Operation {
    name: "ListOwnerDevices",
    list: None,
    answer_list_bytes: PAGE_BYTES,
};

#[utoipa::path(
    post,
    path = "/api/ext-v1/deviceAssignment/listOwnerDevices",
    operation_id = "listOwnerDevices",
    tag = "Devices",
    summary = "List the devices of a customer",
    description = include_str!(concat!(env!("OUT_DIR"), "/ListOwnerDevices.md")),
    params(RequestIdHeader),
    request_body(
        content = ListOwnerDevicesRequest,
        examples(
            ("devices" = (
                summary = "The first page of a customer's devices",
                value = json!({ "customerEmail": "john.doe@example.com" }),
            )),
        ),
    ),
    responses(
        (
            status = 200,
            description = "The call succeeded",
            body = ListOwnerDevicesResponse,
            example = json!({
                "devices": [{
                    "identifier": "SN-001",
                    "deviceId": "dev_01m835zmv6e3ts9whps1149tvb",
                    "type": "sensor",
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
pub(super) async fn by_body(State(gateway): State<Gateway>, request: Request) -> GatewayResult {
    let mut client = gateway.devices.clone();
    let rpc = async move |message: tonic::Request<ListOwnerDevicesRequest>| client.list_owner_devices(message).await;
    gateway.post(request, OPERATION, rpc).await
}

#[utoipa::path(
    get,
    path = "/api/ext-v1/deviceAssignment/devices",
    operation_id = "getOwnerDevices",
    tag = "Devices",
    summary = "List the devices of the customer with an id",
    description = include_str!(concat!(env!("OUT_DIR"), "/ListOwnerDevices.md")),
    params(RequestIdHeader),
    responses(
        (
            status = 200,
            description = "The call succeeded",
            body = ListOwnerDevicesResponse,
            example = json!({
                "devices": [{
                    "identifier": "SN-001",
                    "deviceId": "dev_01m835zmv6e3ts9whps1149tvb",
                    "type": "sensor",
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
pub(super) async fn by_query(State(gateway): State<Gateway>, request: Request) -> GatewayResult {
    let mut client = gateway.devices.clone();
    let rpc = async move |message: tonic::Request<ListOwnerDevicesRequest>| client.list_owner_devices(message).await;
    gateway.get_with_parameters(request, OPERATION, None, rpc).await
}
