//! `POST /api/ext-v1/deviceAssignment/assignDevicesToOwner`.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Request, State},
    http::HeaderMap,
    response::IntoResponse,
};

use super::{
    Answer, Gateway, Limits, Told, json, on_behalf,
    openapi::{Refusals, RequestId},
    pass_on,
    problem::Problem,
};
use crate::pb::{AssignDevicesToOwnerRequest, AssignDevicesToOwnerResponse};

#[utoipa::path(
    post,
    path = "/api/ext-v1/deviceAssignment/assignDevicesToOwner",
    operation_id = "assignDevicesToOwner",
    tag = "Devices",
    summary = "Assign devices to a customer",
    description = include_str!(concat!(env!("OUT_DIR"), "/assign_devices.md")),
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
    let headers = request.headers().clone();
    match read(&gateway, &headers, request).await {
        Ok(message) => {
            let Told { answer, limits } = gateway.assign_devices(&headers, message).await?;
            let mut response = Json(answer).into_response();
            pass_on(limits, response.headers_mut());
            Ok(response)
        }
        Err(problem) => {
            let limits = gateway.check_key(&headers).await?;
            Err(problem.with_limits(limits))
        }
    }
}

async fn read(
    gateway: &Gateway,
    headers: &HeaderMap,
    request: Request,
) -> Result<AssignDevicesToOwnerRequest, Problem> {
    let body = Bytes::from_request(request, &());
    let body = tokio::time::timeout(gateway.settings.body_timeout, body).await;
    let body = body.map_err(|_elapsed| Problem::too_slow())?;
    json::read(headers, body, gateway.settings.max_body_bytes)
}

impl Gateway {
    async fn assign_devices(
        &self,
        headers: &HeaderMap,
        message: AssignDevicesToOwnerRequest,
    ) -> Result<Told<AssignDevicesToOwnerResponse>, Problem> {
        let mut client = self.client.clone();
        self.answer(client.assign_devices_to_owner(on_behalf(headers, message)))
            .await
    }

    /// A caller with a wrong key learns that before anything about the body. The service judges keys, and it does so
    /// before it looks at the message: asked for nothing at all, it refuses the message only if the key is right. Returns
    /// what it tells of the key's limits.
    async fn check_key(&self, headers: &HeaderMap) -> Result<Limits, Problem> {
        match self
            .assign_devices(headers, AssignDevicesToOwnerRequest::default())
            .await
        {
            Err(problem) if !problem.names_fields() => Err(problem),
            Err(problem) => Ok(problem.into_limits()),
            Ok(told) => Ok(told.limits),
        }
    }
}
