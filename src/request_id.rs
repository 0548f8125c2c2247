//! The id of a request: the caller's, or a new one. Both faces treat it alike.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use uuid::Uuid;

/// The header, and the metadata entry, that carries the id.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

const MAX_LENGTH: usize = 64;

/// Gives every request an id before anybody looks at it, and every answer the same.
pub(crate) async fn layer(mut request: Request, next: Next) -> Response {
    let id = request
        .headers()
        .get(HEADER)
        .filter(|given| is_acceptable(given))
        .cloned()
        .unwrap_or_else(new);
    request.headers_mut().insert(HEADER, id.clone());
    let mut response = next.run(request).await;
    response.headers_mut().insert(HEADER, id);
    response
}

/// The id of a request that went through [`layer`].
pub(crate) fn of(headers: &HeaderMap) -> &str {
    headers.get(HEADER).and_then(|id| id.to_str().ok()).unwrap_or_default()
}

/// What stands in logs and answers must be harmless there.
fn is_acceptable(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    (1..=MAX_LENGTH).contains(&id.len())
        && id
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn new() -> HeaderValue {
    HeaderValue::try_from(Uuid::now_v7().to_string()).unwrap_or(HeaderValue::from_static("unknown"))
}
