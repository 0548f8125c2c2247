//! The id of each request, its metrics and its trace span.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use tracing::Instrument;

use crate::{
    request_id,
    telemetry::{metrics, trace},
};

/// Gives a request an id before any other layer sees it, returns the id with the answer, and records metrics and a span.
pub(super) async fn layer(mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = request_id::give(request.headers_mut());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    let span = trace::request(request.headers(), request.method().as_str(), route);
    let trace_id = trace::id(&span, request.headers());
    let mut response = next.run(request).instrument(span.clone()).await;
    response.headers_mut().insert(request_id::HEADER, id);
    if let Some(trace_id) = trace_id {
        response.extensions_mut().insert(trace_id);
    }
    let status = response.status().as_u16();
    trace::answered(&span, status);
    metrics::request(route, status, start.elapsed());
    response
}
