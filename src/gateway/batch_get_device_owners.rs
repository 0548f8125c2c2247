//! `POST /api/ext-v1/deviceAssignment/batchGetDeviceOwners`.

use axum::extract::{Request, State};

use super::{
    Gateway, GatewayResult,
    error_responses::ErrorResponses,
    operation::{BoundedList, Operation},
    parameters::RequestIdHeader,
};
use crate::pb::{BatchGetDeviceOwnersRequest, BatchGetDeviceOwnersResponse};

/// The most devices in one look-up. The service has the same limit.
const MAX_DEVICES: usize = 1_000;

#[utoipa::path(
    post,
    path = "/api/ext-v1/deviceAssignment/batchGetDeviceOwners",
    operation_id = "batchGetDeviceOwners",
    tag = "Devices",
    summary = "Look up the owners of devices",
    description = include_str!(concat!(env!("OUT_DIR"), "/BatchGetDeviceOwners.md")),
    params(RequestIdHeader),
    request_body(
        content = BatchGetDeviceOwnersRequest,
        examples(
            ("devices" = (
                summary = "Look up two devices",
                value = json!({ "deviceIdentifiers": ["SN-001", "SN-002"] }),
            )),
        ),
    ),
    responses(
        (
            status = 200,
            description = "The call succeeded. `devices` has one entry for each identifier, in the same order",
            body = BatchGetDeviceOwnersResponse,
            example = json!({
                "devices": [
                    {
                        "identifier": "SN-001",
                        "found": true,
                        "deviceId": "dev_01m835zmv6e3ts9whps1149tvb",
                        "type": "sensor",
                        "owners": [{
                            "customerId": "cust_01m835zmv6e3ts9whpry4tgqhh",
                            "email": "john.doe@example.com",
                            "assignedAt": "2026-11-26T08:00:00Z",
                        }],
                        "hasMoreOwners": false,
                    },
                    {
                        "identifier": "SN-002",
                        "found": false,
                        "deviceId": "",
                        "type": "",
                        "owners": [],
                        "hasMoreOwners": false,
                    },
                ],
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
        name: "BatchGetDeviceOwners",
        list: Some(BoundedList {
            member: "deviceIdentifiers",
            max: gateway.settings.max_devices_per_request.min(MAX_DEVICES),
        }),
        answer_list_bytes: 0,
    };
    gateway
        .post(
            request,
            operation,
            async move |message: tonic::Request<BatchGetDeviceOwnersRequest>| {
                client.batch_get_device_owners(message).await
            },
        )
        .await
}
