//! One line a request, for a gateway that is not in the service's process: there, the service logs each call.

use std::time::Instant;

use axum::{extract::Request, middleware::Next, response::Response};
use opentelemetry::trace::TraceId;
use tracing::field::display;

use crate::{request_id, telemetry::milliseconds};

/// Logs each request when it is answered.
pub async fn layer(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    let request_id = request_id::of(response.headers());
    let trace_id = response.extensions().get::<TraceId>().map(display);
    let duration_ms = milliseconds(start.elapsed());
    tracing::info!(%method, status, request_id, trace_id, duration_ms, "request");
    response
}
