//! `POST /api/ext-v1/deviceAssignment/assignDeviceToOwners`.

use axum::extract::{Request, State};

use super::{
    Gateway, GatewayResult,
    error_responses::ErrorResponses,
    operation::{BoundedList, Operation},
    parameters::RequestIdHeader,
};
use crate::pb::{AssignDeviceToOwnersRequest, AssignDeviceToOwnersResponse};

/// The most customers of one request, as the service limits them.
const MAX_CUSTOMERS: usize = 1_000;

/// What is reserved for the customers that owned the device before, who are listed twice, in bytes.
const REPEATED_CUSTOMERS_BYTES: usize = 350 * 1024;

#[utoipa::path(
    post,
    path = "/api/ext-v1/deviceAssignment/assignDeviceToOwners",
    operation_id = "assignDeviceToOwners",
    tag = "Devices",
    summary = "Assign one device to several customers",
    description = include_str!(concat!(env!("OUT_DIR"), "/AssignDeviceToOwners.md")),
    params(RequestIdHeader),
    request_body(
        content = AssignDeviceToOwnersRequest,
        examples(
            ("customers" = (
                summary = "Assign a device to two customers",
                value = json!({
                    "deviceIdentifier": "SN-12345-ABCDE",
                    "customerEmails": ["john.doe@example.com", "jane.smith@example.com"],
                }),
            )),
        ),
    ),
    responses(
        (
            status = 200,
            description = "The device belongs to all of these customers",
            body = AssignDeviceToOwnersResponse,
            example = json!({
                "success": true,
                "message": "Successfully assigned device to 2 customer(s)",
                "deviceId": "dev_01m835zmv6e3ts9whps1149tvb",
                "deviceWasCreated": false,
                "assignedCustomers": [
                    { "email": "john.doe@example.com", "customerId": "cust_01m835zmv6e3ts9whpry4tgqhh", "wasCreated": false },
                    { "email": "jane.smith@example.com", "customerId": "cust_01m835zmv6e3ts9whps774wyap", "wasCreated": true },
                ],
                "alreadyAssigned": [
                    { "email": "john.doe@example.com", "customerId": "cust_01m835zmv6e3ts9whpry4tgqhh", "wasCreated": false },
                ],
            }),
        ),
        ErrorResponses,
    ),
    security(("apiKey" = []), ("bearer" = [])),
)]
pub(super) async fn handle(State(gateway): State<Gateway>, request: Request) -> GatewayResult {
    let mut client = gateway.devices.clone();
    let operation = Operation {
        name: "AssignDeviceToOwners",
        list: Some(BoundedList {
            member: "customerEmails",
            max: MAX_CUSTOMERS,
        }),
        answer_list_bytes: REPEATED_CUSTOMERS_BYTES,
    };
    gateway
        .post(request, operation, async move |message| {
            client.assign_device_to_owners(message).await
        })
        .await
}
