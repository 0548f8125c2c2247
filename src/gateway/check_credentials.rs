//! `GET /api/ext-v1/credentials`.

use axum::{extract::State, http::HeaderMap};

use super::{Gateway, GatewayResult, error_responses::ErrorResponses, on_behalf, parameters::RequestIdHeader};
use crate::pb::{CheckCredentialsRequest, CheckCredentialsResponse};

#[utoipa::path(
    get,
    path = "/api/ext-v1/credentials",
    operation_id = "checkCredentials",
    tag = "Organization",
    summary = "Check an API key",
    description = include_str!(concat!(env!("OUT_DIR"), "/CheckCredentials.md")),
    params(RequestIdHeader),
    responses(
        (
            status = 200,
            description = "The key is valid",
            body = CheckCredentialsResponse,
            example = json!({
                "organizationId": "org_01m835zmv6e3ts9whpry4tgqhh",
                "organizationName": "acme",
                "apiKeyId": "key_01m835zmv6e3ts9whps1149tvb",
                "label": "their back office",
                "createdAt": "2026-11-26T08:00:00Z",
                "expiresAt": null,
                "scope": "write",
            }),
        ),
        ErrorResponses,
    ),
    security(("apiKey" = []), ("bearer" = [])),
)]
pub(super) async fn handle(State(gateway): State<Gateway>, headers: HeaderMap) -> GatewayResult {
    let mut client = gateway.organization.clone();
    let request = on_behalf(&headers, CheckCredentialsRequest::default());
    gateway.get(&headers, client.check_credentials(request)).await
}
