//! `POST /api/ext-v1/device/bulk-metadata`.

use axum::extract::{Request, State};

use super::{
    Gateway, GatewayResult,
    error_responses::ErrorResponses,
    operation::{BoundedList, Operation},
    parameters::RequestIdHeader,
};
use crate::pb::{BulkUpdateDeviceMetadataRequest, BulkUpdateDeviceMetadataResponse};

/// The most devices of a request, as the public API documents it.
const MAX_DEVICES: usize = 1_000;

#[utoipa::path(
    post,
    path = "/api/ext-v1/device/bulk-metadata",
    operation_id = "bulkUpdateDeviceMetadata",
    tag = "Devices",
    summary = "Replace the properties of many devices",
    description = include_str!(concat!(env!("OUT_DIR"), "/BulkUpdateDeviceMetadata.md")),
    params(RequestIdHeader),
    request_body(
        content = BulkUpdateDeviceMetadataRequest,
        examples(
            ("metadata" = (
                summary = "Replace the properties of two devices, by identifier",
                value = json!({
                    "devices": {
                        "SN-001": { "firmware": "1.4.2" },
                        "SN-999": { "firmware": "1.4.2", "batteries": ["AA", "AA"] },
                    },
                }),
            )),
        ),
    ),
    responses(
        (
            status = 200,
            description = "The call succeeded. `results` says of each device whether it exists",
            body = BulkUpdateDeviceMetadataResponse,
            example = json!({
                "success": true,
                "updated": 1,
                "notFound": 1,
                "results": [
                    { "identifier": "SN-001", "deviceId": "dev_01m835zmv7e6q9zmk0pj8gk6e1", "status": "updated" },
                    { "identifier": "SN-999", "deviceId": "", "status": "not_found" },
                ],
            }),
        ),
        ErrorResponses,
    ),
    security(("apiKey" = []), ("bearer" = [])),
)]
pub(super) async fn handle(State(gateway): State<Gateway>, request: Request) -> GatewayResult {
    let mut client = gateway.device.clone();
    let operation = Operation {
        name: "BulkUpdateDeviceMetadata",
        list: Some(BoundedList {
            member: "devices",
            max: MAX_DEVICES,
        }),
        answer_list_bytes: 0,
    };
    gateway
        .post(
            request,
            operation,
            async move |message: tonic::Request<BulkUpdateDeviceMetadataRequest>| {
                client.bulk_update_device_metadata(message).await
            },
        )
        .await
}
