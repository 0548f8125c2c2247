//! `POST /api/ext-v1/deviceAssignment/assignDevicesToOwner`.

use axum::extract::{Request, State};

use super::{
    Answer, Gateway,
    call::{BoundedList, Operation},
    openapi::{Refusals, RequestId},
};
use crate::pb::{AssignDevicesToOwnerRequest, AssignDevicesToOwnerResponse};

#[utoipa::path(
    post,
    path = "/api/ext-v1/deviceAssignment/assignDevicesToOwner",
    operation_id = "assignDevicesToOwner",
    tag = "Devices",
    summary = "Assign devices to a customer",
    description = include_str!(concat!(env!("OUT_DIR"), "/AssignDevicesToOwner.md")),
    params(RequestId),
    request_body(
        content = AssignDevicesToOwnerRequest,
        description = "`application/json`, or a type that ends in `+json`; a request without a Content-Type is read as JSON.",
        examples(
            ("known devices" = (
                summary = "Assign devices that exist, and skip the others",
                value = json!({
                    "customerEmail": "john.doe@example.com",
                    "deviceIdentifiers": ["SN-001", "SN-002", "SN-003"],
                }),
            )),
            ("new devices" = (
                summary = "Create those that do not exist",
                value = json!({
                    "customerEmail": "john.doe@example.com",
                    "deviceIdentifiers": ["SN-001", "SN-002", "SN-003"],
                    "autoCreateDevices": true,
                    "deviceType": "sensor",
                }),
            )),
        ),
    ),
    responses(
        (
            status = 200,
            description = "Every device has its place in one of the three lists",
            body = AssignDevicesToOwnerResponse,
            headers(
                ("x-request-id" = String, description = "The id of the request: the caller's, or a new one"),
                ("RateLimit-Policy" = String, description = "The limits that the key is held to (draft-ietf-httpapi-ratelimit-headers), unless there are none"),
                ("RateLimit" = String, description = "Where the key stands now"),
            ),
            example = json!({
                "success": true,
                "message": "Successfully assigned 2 device(s) to customer",
                "customerId": "cust_01m835zmv6e3ts9whpry4tgqhh",
                "customerWasCreated": false,
                "assignedDevices": [
                    { "identifier": "SN-001", "deviceId": "dev_01m835zmv6e3ts9whps1149tvb", "wasCreated": false },
                ],
                "alreadyAssigned": [
                    { "identifier": "SN-002", "deviceId": "dev_01m835zmv6e3ts9whps774wyap", "wasCreated": false },
                ],
                "skipped": ["SN-003"],
            }),
        ),
        Refusals,
    ),
    security(("apiKey" = [])),
)]
pub(super) async fn handle(State(gateway): State<Gateway>, request: Request) -> Answer {
    let mut client = gateway.devices.clone();
    let operation = Operation {
        name: "AssignDevicesToOwner",
        list: BoundedList {
            member: "deviceIdentifiers",
            max: gateway.settings.max_devices_per_request,
        },
    };
    gateway
        .post(request, operation, async move |message| {
            client.assign_devices_to_owner(message).await
        })
        .await
}
