//! `GET /api/ext-v1/devices`.

use axum::extract::{Request, State};

use super::{
    Gateway, GatewayResult,
    error_responses::ErrorResponses,
    operation::{Operation, PAGE_BYTES},
    parameters::RequestIdHeader,
};
use crate::pb::{ListDevicesRequest, ListDevicesResponse};

#[utoipa::path(
    get,
    path = "/api/ext-v1/devices",
    operation_id = "listDevices",
    tag = "Devices",
    summary = "List devices",
    description = include_str!(concat!(env!("OUT_DIR"), "/ListDevices.md")),
    params(RequestIdHeader),
    responses(
        (
            status = 200,
            description = "The call succeeded",
            body = ListDevicesResponse,
            example = json!({
                "devices": [{
                    "identifier": "SN-001",
                    "deviceId": "dev_01m835zmv6e3ts9whps1149tvb",
                    "type": "sensor",
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
pub(super) async fn handle(State(gateway): State<Gateway>, request: Request) -> GatewayResult {
    let mut client = gateway.device.clone();
    let operation = Operation {
        name: "ListDevices",
        list: None,
        answer_list_bytes: PAGE_BYTES,
    };
    let rpc = async move |message: tonic::Request<ListDevicesRequest>| client.list_devices(message).await;
    gateway.get_with_parameters(request, operation, None, rpc).await
}
