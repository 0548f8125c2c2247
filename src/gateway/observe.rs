//! What operators see of each request, and its id.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};

use crate::{request_id, telemetry::metrics};

/// Gives every request an id before anybody looks at it, and every answer the same; tells operators how long it took.
pub(super) async fn layer(mut request: Request, next: Next) -> Response {
    let start = Instant::now();
    let id = request_id::give(request.headers_mut());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    response.headers_mut().insert(request_id::HEADER, id);
    let route = route.as_ref().map(MatchedPath::as_str);
    metrics::request(route, response.status().as_u16(), start.elapsed());
    response
}
