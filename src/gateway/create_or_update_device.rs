//! `POST /api/ext-v1/device`.

use axum::extract::{Request, State};

use super::{
    Gateway, GatewayResult,
    error_responses::ErrorResponses,
    operation::{JSON_OBJECT_BYTES, Operation},
    parameters::RequestIdHeader,
};
use crate::pb::{CreateOrUpdateDeviceRequest, CreateOrUpdateDeviceResponse};

#[utoipa::path(
    post,
    path = "/api/ext-v1/device",
    operation_id = "createOrUpdateDevice",
    tag = "Devices",
    summary = "Create or change a device",
    description = include_str!(concat!(env!("OUT_DIR"), "/CreateOrUpdateDevice.md")),
    params(RequestIdHeader),
    request_body(
        content = CreateOrUpdateDeviceRequest,
        examples(
            ("device" = (
                summary = "Create a device, or change the one with this identifier",
                value = json!({
                    "identifier": "SN-12345-ABCDE",
                    "type": "sensor",
                    "properties": { "firmware": "1.4.2", "room": { "floor": 2 } },
                }),
            )),
        ),
    ),
    responses(
        (
            status = 200,
            description = "The device as it is now",
            body = CreateOrUpdateDeviceResponse,
            example = json!({
                "success": true,
                "message": "Device created successfully",
                "deviceId": "dev_01m835zmv7e6q9zmk0pj8gk6e1",
                "identifier": "SN-12345-ABCDE",
                "type": "sensor",
                "properties": { "firmware": "1.4.2", "room": { "floor": 2 } },
                "wasCreated": true,
            }),
        ),
        ErrorResponses,
    ),
    security(("apiKey" = []), ("bearer" = [])),
)]
pub(super) async fn handle(State(gateway): State<Gateway>, request: Request) -> GatewayResult {
    let mut client = gateway.device.clone();
    let operation = Operation {
        name: "CreateOrUpdateDevice",
        list: None,
        answer_list_bytes: JSON_OBJECT_BYTES,
    };
    gateway
        .post(
            request,
            operation,
            async move |message: tonic::Request<CreateOrUpdateDeviceRequest>| {
                client.create_or_update_device(message).await
            },
        )
        .await
}
