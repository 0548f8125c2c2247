//! `POST /api/ext-v1/deviceAssignment/transferDevicesToOwner`.

use axum::extract::{Request, State};

use super::{
    Gateway, GatewayResult,
    error_responses::ErrorResponses,
    operation::{BoundedList, Operation},
    parameters::RequestIdHeader,
};
use crate::pb::{TransferDevicesToOwnerRequest, TransferDevicesToOwnerResponse};

/// What is reserved for the previous owners, at most 10,000 ids, and for their numbers, in bytes.
const PREVIOUS_OWNERS_BYTES: usize = 350 * 1024;

#[utoipa::path(
    post,
    path = "/api/ext-v1/deviceAssignment/transferDevicesToOwner",
    operation_id = "transferDevicesToOwner",
    tag = "Devices",
    summary = "Transfer devices to a customer",
    description = include_str!(concat!(env!("OUT_DIR"), "/TransferDevicesToOwner.md")),
    params(RequestIdHeader),
    request_body(
        content = TransferDevicesToOwnerRequest,
        examples(
            ("sale" = (
                summary = "Transfer devices that still belong to the seller",
                value = json!({
                    "customerEmail": "jane.smith@example.com",
                    "deviceIdentifiers": ["SN-001", "SN-002", "SN-003"],
                    "expectedOwner": "john.doe@example.com",
                }),
            )),
        ),
    ),
    responses(
        (
            status = 200,
            description = "The devices in `assignedDevices` and `alreadyAssigned` belong to the customer alone",
            body = TransferDevicesToOwnerResponse,
            example = json!({
                "success": true,
                "message": "Successfully transferred 2 device(s) to customer",
                "customerId": "cust_01m835zmv6e3ts9whps774wyap",
                "customerWasCreated": false,
                "assignedDevices": [
                    {
                        "identifier": "SN-001",
                        "deviceId": "dev_01m835zmv6e3ts9whps1149tvb",
                        "wasCreated": false,
                        "previousOwners": ["cust_01m835zmv6e3ts9whpry4tgqhh"],
                        "previousOwnersCount": 1,
                    },
                ],
                "alreadyAssigned": [
                    {
                        "identifier": "SN-002",
                        "deviceId": "dev_01m835zmv6e3ts9whps774wyap",
                        "wasCreated": false,
                        "previousOwners": ["cust_01m835zmv6e3ts9whpry4tgqhh"],
                        "previousOwnersCount": 1,
                    },
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
        name: "TransferDevicesToOwner",
        list: Some(BoundedList {
            member: "deviceIdentifiers",
            max: gateway.settings.max_devices_per_request,
        }),
        answer_list_bytes: PREVIOUS_OWNERS_BYTES,
    };
    gateway
        .post(request, operation, async move |message| {
            client.transfer_devices_to_owner(message).await
        })
        .await
}
