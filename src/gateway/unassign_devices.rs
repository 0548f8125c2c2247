//! `POST /api/ext-v1/deviceAssignment/unassignDevicesFromOwner` and `…/unassignDeviceFromOwner`.

use axum::extract::{Request, State};

use super::{
    Gateway, GatewayResult,
    error_responses::ErrorResponses,
    operation::{BoundedList, DEVICE_LIST_BYTES, Operation},
    parameters::RequestIdHeader,
};
use crate::pb::{
    UnassignDeviceFromOwnerRequest, UnassignDeviceFromOwnerResponse, UnassignDevicesFromOwnerRequest,
    UnassignDevicesFromOwnerResponse,
};

#[utoipa::path(
    post,
    path = "/api/ext-v1/deviceAssignment/unassignDevicesFromOwner",
    operation_id = "unassignDevicesFromOwner",
    tag = "Devices",
    summary = "Remove devices from a customer",
    description = include_str!(concat!(env!("OUT_DIR"), "/UnassignDevicesFromOwner.md")),
    params(RequestIdHeader),
    request_body(
        content = UnassignDevicesFromOwnerRequest,
        examples(
            ("devices" = (
                summary = "Remove devices, and skip those that the customer does not have",
                value = json!({
                    "customerEmail": "john.doe@example.com",
                    "deviceIdentifiers": ["SN-001", "SN-002"],
                }),
            )),
        ),
    ),
    responses(
        (
            status = 200,
            description = "The call succeeded. Each device is either in `unassignedDevices` or in `skipped`",
            body = UnassignDevicesFromOwnerResponse,
            example = json!({
                "success": true,
                "message": "Successfully unassigned 1 device(s) from customer",
                "customerId": "cust_01m835zmv6e3ts9whpry4tgqhh",
                "unassignedDevices": ["SN-001"],
                "skipped": ["SN-002"],
                "devicesRemaining": ["SN-003"],
                "devicesRemainingCount": 1,
            }),
        ),
        ErrorResponses,
    ),
    security(("apiKey" = []), ("bearer" = [])),
)]
pub(super) async fn many(State(gateway): State<Gateway>, request: Request) -> GatewayResult {
    let mut client = gateway.devices.clone();
    let operation = Operation {
        name: "UnassignDevicesFromOwner",
        list: Some(BoundedList {
            member: "deviceIdentifiers",
            max: gateway.settings.max_devices_per_request,
        }),
        answer_list_bytes: DEVICE_LIST_BYTES,
    };
    gateway
        .post(
            request,
            operation,
            async move |mut message: tonic::Request<UnassignDevicesFromOwnerRequest>| {
                message.get_mut().include_remaining = true;
                client.unassign_devices_from_owner(message).await
            },
        )
        .await
}

#[utoipa::path(
    post,
    path = "/api/ext-v1/deviceAssignment/unassignDeviceFromOwner",
    operation_id = "unassignDeviceFromOwner",
    tag = "Devices",
    summary = "Remove one device from a customer",
    description = include_str!(concat!(env!("OUT_DIR"), "/UnassignDeviceFromOwner.md")),
    params(RequestIdHeader),
    request_body(
        content = UnassignDeviceFromOwnerRequest,
        examples(
            ("device" = (
                summary = "Remove a device that belongs to the customer",
                value = json!({
                    "customerEmail": "john.doe@example.com",
                    "deviceIdentifier": "SN-12345-ABCDE",
                }),
            )),
        ),
    ),
    responses(
        (
            status = 200,
            description = "The device no longer belongs to the customer",
            body = UnassignDeviceFromOwnerResponse,
            example = json!({
                "success": true,
                "message": "Device successfully unassigned from customer",
                "customerId": "cust_01m835zmv6e3ts9whpry4tgqhh",
                "deviceIdentifier": "SN-12345-ABCDE",
                "devicesRemaining": ["SN-67890-FGHIJ"],
                "devicesRemainingCount": 1,
            }),
        ),
        ErrorResponses,
    ),
    security(("apiKey" = []), ("bearer" = [])),
)]
pub(super) async fn one(State(gateway): State<Gateway>, request: Request) -> GatewayResult {
    let mut client = gateway.devices.clone();
    let operation = Operation {
        name: "UnassignDeviceFromOwner",
        list: None,
        answer_list_bytes: DEVICE_LIST_BYTES,
    };
    gateway
        .post(
            request,
            operation,
            async move |mut message: tonic::Request<UnassignDeviceFromOwnerRequest>| {
                message.get_mut().include_remaining = true;
                client.unassign_device_from_owner(message).await
            },
        )
        .await
}
