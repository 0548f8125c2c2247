//! One log line per request, for a gateway in a process of its own. In the service's process the service logs each call.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode},
    middleware::Next,
    response::Response,
};
use opentelemetry::trace::TraceId;
use tracing::field::display;

use crate::{
    grpc::RATE_LIMIT_HEADERS,
    log_sampler::{Log, LogSampler},
    peer, request_id,
    telemetry::milliseconds,
};

/// The prefix of the paths that take a key.
const CALLS: &str = "/api/";

/// Logs each request when it is answered. Lines of requests without a known caller are sampled.
pub async fn layer(State(sampler): State<Arc<LogSampler>>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let method = request.method().clone();
    let address = peer::of(request.headers());
    let route = request.extensions().get::<MatchedPath>();
    // Browsers ask without a key whether they may call (CORS).
    let takes_key = method != Method::OPTIONS && route.is_some_and(|route| route.as_str().starts_with(CALLS));
    let response = next.run(request).await;
    let may_be_known = takes_key && may_have_known_caller(&response);
    if !may_be_known && !sampler.admits(Log::Calls, address) {
        return response;
    }
    let status = response.status().as_u16();
    let request_id = request_id::of(response.headers());
    let trace_id = response.extensions().get::<TraceId>().map(display);
    let duration_ms = milliseconds(start.elapsed());
    tracing::info!(%method, status, request_id, trace_id, duration_ms, "request");
    response
}

/// Whether the service may have identified the caller. If it did, the answer usually has rate-limit headers; a 429 without them
/// may belong to an unknown caller.
fn may_have_known_caller(response: &Response) -> bool {
    let headers = response.headers();
    match response.status() {
        StatusCode::UNAUTHORIZED | StatusCode::METHOD_NOT_ALLOWED => false,
        StatusCode::TOO_MANY_REQUESTS => RATE_LIMIT_HEADERS.iter().any(|name| headers.contains_key(name)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::HeaderValue};

    use super::*;

    #[test]
    fn a_caller_is_unknown_when_no_key_was_accepted() {
        let answer = |status: u16| {
            let response = Response::builder().status(status).body(Body::empty());
            response.expect("a response")
        };
        for (status, may_be_known) in [
            (200, true),
            (400, true),
            (503, true),
            (401, false),
            (405, false),
            (429, false),
        ] {
            assert_eq!(may_have_known_caller(&answer(status)), may_be_known, "{status}");
        }
        let mut limited = answer(429);
        let [policy, _] = RATE_LIMIT_HEADERS;
        limited
            .headers_mut()
            .insert(policy, HeaderValue::from_static("\"calls\";q=1;w=1"));
        assert!(may_have_known_caller(&limited));
    }
}
