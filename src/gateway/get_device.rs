//! `GET /api/ext-v1/device`.

use axum::extract::{Request, State};

use super::{
    Gateway, GatewayResult,
    error_responses::ErrorResponses,
    operation::{JSON_OBJECT_BYTES, Operation},
    parameters::RequestIdHeader,
};
use crate::pb::{GetDeviceRequest, GetDeviceResponse};

#[utoipa::path(
    get,
    path = "/api/ext-v1/device",
    operation_id = "getDevice",
    tag = "Devices",
    summary = "Look up a device",
    description = include_str!(concat!(env!("OUT_DIR"), "/GetDevice.md")),
    params(RequestIdHeader),
    responses(
        (
            status = 200,
            description = "The call succeeded",
            body = GetDeviceResponse,
            example = json!({
                "deviceId": "dev_01m835zmv6e3ts9whps1149tvb",
                "identifier": "SN-001",
                "type": "sensor",
                "properties": { "firmware": "1.2.3" },
                "ownersCount": 1,
                "createdAt": "2026-11-26T08:00:00Z",
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
        name: "GetDevice",
        list: None,
        answer_list_bytes: JSON_OBJECT_BYTES,
    };
    let rpc = async move |message: tonic::Request<GetDeviceRequest>| client.get_device(message).await;
    gateway.get_with_parameters(request, operation, None, rpc).await
}
