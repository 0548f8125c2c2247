//! One line a call. Never a key, an email address or an identifier.

use std::time::Instant;

use axum::{extract::Request, http::HeaderMap, middleware::Next, response::Response};
use tonic::{Code, Status};
use tracing::{Instrument, Span, field::Empty};

use super::{authenticate::is_public, status::code_name};
use crate::{
    domain::assign_devices::{Fate, Outcome},
    request_id,
};

/// Logs each call when it is over, in a span that names it: whatever else is logged on its behalf carries the same
/// request id.
pub(super) async fn layer(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if is_public(path) {
        // Probes call every few seconds.
        return next.run(request).await;
    }
    let span = tracing::info_span!(
        "call",
        method = path.rsplit('/').next().unwrap_or_default(),
        request_id = request_id::of(request.headers()),
        organization = Empty,
        assigned = Empty,
        already_assigned = Empty,
        skipped = Empty,
    );
    let line = Line {
        span: span.clone(),
        start: Instant::now(),
        code: Code::Cancelled,
    };
    let response = next.run(request).instrument(span).await;
    line.finish(code(response.headers()));
    response
}

/// Notes in the log line what a call did.
pub(super) fn record_outcome(outcome: &Outcome) {
    let count = |is: fn(&Fate) -> bool| outcome.devices.iter().filter(|(_, fate)| is(fate)).count();
    let span = Span::current();
    span.record("assigned", count(|fate| matches!(fate, Fate::Assigned { .. })));
    span.record(
        "already_assigned",
        count(|fate| matches!(fate, Fate::AlreadyAssigned { .. })),
    );
    span.record("skipped", count(|fate| matches!(fate, Fate::Skipped)));
}

/// A refusal stands in the headers; a success has its code in the trailers, which are still to come.
fn code(headers: &HeaderMap) -> Code {
    Status::from_header_map(headers).map_or(Code::Ok, |status| status.code())
}

/// Is logged when it is dropped: also for a caller that went away, whose call is dropped.
struct Line {
    span: Span,
    start: Instant,
    code: Code,
}

impl Line {
    fn finish(mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let code = code_name(self.code);
        let duration_ms = self.start.elapsed().as_secs_f64() * 1_000.0;
        self.span.in_scope(|| tracing::info!(code, duration_ms, "call"));
    }
}
