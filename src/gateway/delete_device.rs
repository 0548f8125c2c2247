//! `POST /api/ext-v1/device/deleteDevice`.

use axum::extract::{Request, State};

use super::{
    Gateway, GatewayResult, error_responses::ErrorResponses, operation::Operation, parameters::RequestIdHeader,
};
use crate::pb::{DeleteDeviceRequest, DeleteDeviceResponse};

#[utoipa::path(
    post,
    path = "/api/ext-v1/device/deleteDevice",
    operation_id = "deleteDevice",
    tag = "Devices",
    summary = "Delete a device",
    description = include_str!(concat!(env!("OUT_DIR"), "/DeleteDevice.md")),
    params(RequestIdHeader),
    request_body(
        content = DeleteDeviceRequest,
        examples(
            ("device" = (
                summary = "Delete a device, and remove it from its owners",
                value = json!({ "identifier": "SN-12345-ABCDE" }),
            )),
        ),
    ),
    responses(
        (
            status = 200,
            description = "The device does not exist any more",
            body = DeleteDeviceResponse,
            example = json!({
                "success": true,
                "message": "Device deleted successfully",
                "deviceId": "dev_01m835zmv7e6q9zmk0pj8gk6e1",
                "unassignedCount": 2,
            }),
        ),
        ErrorResponses,
    ),
    security(("apiKey" = []), ("bearer" = [])),
)]
pub(super) async fn handle(State(gateway): State<Gateway>, request: Request) -> GatewayResult {
    let mut client = gateway.device.clone();
    gateway
        .post(
            request,
            Operation::without_lists("DeleteDevice"),
            async move |message: tonic::Request<DeleteDeviceRequest>| client.delete_device(message).await,
        )
        .await
}
