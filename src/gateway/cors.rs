//! CORS: lets web pages of other origins call the REST API from a browser. Off unless the operator names the origins.

use std::time::Duration;

use axum::http::{
    HeaderName, HeaderValue, Method,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use tower_http::cors::CorsLayer;

use crate::{
    grpc::{IDEMPOTENCY_KEY_HEADER, RESPONSE_HEADERS},
    key_headers::KEY_HEADERS,
    request_id,
};

/// The headers that carry the trace context (W3C Trace Context).
const TRACE_CONTEXT: [HeaderName; 2] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// How long a browser may remember the answer to a preflight request.
const MAX_AGE: Duration = Duration::from_secs(3_600);

/// Allows calls from these origins. Cookies and other credentials of the browser are not allowed: the API key is a header.
pub(super) fn layer(origins: &[HeaderValue]) -> CorsLayer {
    let [api_key, authorization] = KEY_HEADERS;
    let [traceparent, tracestate] = TRACE_CONTEXT;
    let own = [request_id::HEADER, RETRY_AFTER, WWW_AUTHENTICATE];
    let exposed: Vec<_> = own.into_iter().chain(RESPONSE_HEADERS).collect();
    CorsLayer::new()
        .allow_origin(origins.to_vec())
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            api_key,
            authorization,
            CONTENT_TYPE,
            IDEMPOTENCY_KEY_HEADER,
            request_id::HEADER,
            traceparent,
            tracestate,
        ])
        .expose_headers(exposed)
        .max_age(MAX_AGE)
}
