//! `POST /api/ext-v1/deviceAssignment/assignDevicesToOwner`.

use axum::extract::{Request, State};

use super::{
    Gateway, GatewayResult,
    error_responses::ErrorResponses,
    operation::{BoundedList, Operation},
    parameters::RequestIdHeader,
};
use crate::pb::{AssignDevicesToOwnerRequest, AssignDevicesToOwnerResponse};

#[utoipa::path(
    post,
    path = "/api/ext-v1/deviceAssignment/assignDevicesToOwner",
    operation_id = "assignDevicesToOwner",
    tag = "Devices",
    summary = "Assign devices to a customer",
    description = include_str!(concat!(env!("OUT_DIR"), "/AssignDevicesToOwner.md")),
    params(RequestIdHeader),
    request_body(
        content = AssignDevicesToOwnerRequest,
        examples(
            ("create devices" = (
                summary = "Create the devices that do not exist, and assign all of them",
                value = json!({
                    "customerEmail": "john.doe@example.com",
                    "deviceIdentifiers": ["SN-001", "SN-002", "SN-003"],
                    "autoCreateDevices": true,
                    "deviceType": "sensor",
                }),
            )),
            ("existing devices" = (
                summary = "Assign existing devices and skip the others",
                value = json!({
                    "customerEmail": "john.doe@example.com",
                    "deviceIdentifiers": ["SN-001", "SN-002", "SN-003"],
                }),
            )),
        ),
    ),
    responses(
        (
            status = 200,
            description = "The call succeeded. Each device is in exactly one of the three lists",
            body = AssignDevicesToOwnerResponse,
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
        ErrorResponses,
    ),
    security(("apiKey" = []), ("bearer" = [])),
)]
pub(super) async fn handle(State(gateway): State<Gateway>, request: Request) -> GatewayResult {
    let mut client = gateway.devices.clone();
    let operation = Operation {
        name: "AssignDevicesToOwner",
        list: Some(BoundedList {
            member: "deviceIdentifiers",
            max: gateway.settings.max_devices_per_request,
        }),
        answer_list_bytes: 0,
    };
    gateway
        .post(request, operation, async move |message| {
            client.assign_devices_to_owner(message).await
        })
        .await
}
