//! What all requests have: an id, metrics, a trace span, and headers that keep answers out of caches.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;

use crate::{
    request_id,
    telemetry::{metrics, trace},
};

/// Answers are for one key, and can be personal. Without these headers, caches would keep them: of keys, they know `Authorization` only.
const PRIVATE: [(HeaderName, &str); 2] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// Gives a request an id before any other layer sees it, returns the id with the answer, keeps the answer out of caches, and records
/// metrics and a span.
pub(super) async fn layer(mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = request_id::give(request.headers_mut());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    let span = trace::request(request.headers(), request.method().as_str(), route);
    let trace_id = trace::id(&span, request.headers());
    let mut response = next.run(request).instrument(span.clone()).await;
    let headers = response.headers_mut();
    headers.insert(request_id::HEADER, id);
    for (name, value) in PRIVATE {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Some(trace_id) = trace_id {
        response.extensions_mut().insert(trace_id);
    }
    let status = response.status().as_u16();
    trace::answered(&span, status);
    metrics::request(route, status, start.elapsed());
    response
}
