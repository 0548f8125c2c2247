//! `GET /api/ext-v1/credentials`.

use axum::{extract::State, http::HeaderMap};

use super::{
    Answer, Gateway, on_behalf,
    openapi::{Refusals, RequestId},
};
use crate::pb::{CheckCredentialsRequest, CheckCredentialsResponse};

#[utoipa::path(
    get,
    path = "/api/ext-v1/credentials",
    operation_id = "checkCredentials",
    tag = "Organization",
    summary = "Tell whose API key this is",
    description = include_str!(concat!(env!("OUT_DIR"), "/CheckCredentials.md")),
    params(RequestId),
    responses(
        (
            status = 200,
            description = "The key is valid",
            body = CheckCredentialsResponse,
            headers(
                ("x-request-id" = String, description = "The id of the request: the caller's, or a new one"),
                ("RateLimit-Policy" = String, description = "The limits that the key is held to (draft-ietf-httpapi-ratelimit-headers), unless there are none"),
            ),
            example = json!({
                "organizationId": "org_01m835zmv6e3ts9whpry4tgqhh",
                "organizationName": "acme",
                "apiKeyId": "key_01m835zmv6e3ts9whps1149tvb",
                "label": "their back office",
                "createdAt": "2026-11-26T08:00:00Z",
                "expiresAt": null,
            }),
        ),
        Refusals,
    ),
    security(("apiKey" = [])),
)]
pub(super) async fn handle(State(gateway): State<Gateway>, headers: HeaderMap) -> Answer {
    let mut client = gateway.organization.clone();
    let request = on_behalf(&headers, CheckCredentialsRequest::default());
    gateway.get(&headers, client.check_credentials(request)).await
}
