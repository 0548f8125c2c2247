//! The spans of a trace, named after OpenTelemetry's conventions. While traces are off, each of these functions only checks
//! a flag.
//!
//! A span never holds an email address, an identifier, a key, a path from a caller or a parameter of a statement.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::{SpanContext, TraceContextExt, TraceId},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The target of trace spans, which separates them from the log.
pub const TARGET: &str = "device_assignment::trace";

/// The header and metadata entry that names the trace of a request (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The shortest valid `traceparent`, in bytes.
const SHORTEST_TRACEPARENT: usize = 55;
/// The longest value that is read or passed on, in bytes. The specification asks for at least this much.
const LONGEST: usize = 512;

/// The span of a REST request, in the trace that its headers name.
pub fn request(headers: &HeaderMap, method: &str, route: Option<&str>) -> Span {
    let method = match method {
        "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH" => method,
        _ => "_OTHER",
    };
    let span = info_span!(
        target: TARGET,
        parent: None,
        "request",
        otel.name = route.map(|route| format!("{method} {route}")).as_deref().unwrap_or(method),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
    );
    continue_in(&span, headers);
    span
}

/// Records the status of a REST request.
pub fn answered(request: &Span, status: u16) {
    request.record("http.response.status_code", status);
    if status >= 500 {
        failed(request);
    }
}

/// The span of a call, in the trace that its headers name. `method` is the full name.
pub fn call(headers: &HeaderMap, method: &'static str) -> Span {
    let span = info_span!(
        target: TARGET,
        parent: None,
        "call",
        otel.name = method,
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.response.status_code = Empty,
    );
    continue_in(&span, headers);
    span
}

/// Records the status of a call, and whether the service is at fault.
pub fn returned(call: &Span, code: &'static str, is_fault: bool) {
    call.record("rpc.response.status_code", code);
    if is_fault {
        failed(call);
    }
}

/// The span of a statement, below the current span. Without a current span there is none.
pub fn statement(system: &'static str, operation: &'static str, summary: &'static str) -> Span {
    if !is_under_way() {
        return Span::none();
    }
    info_span!(
        target: TARGET,
        "statement",
        otel.name = summary,
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = system,
        db.operation.name = operation,
        db.query.summary = summary,
    )
}

/// Marks a span as failed.
pub fn failed(span: &Span) {
    span.record("otel.status_code", "ERROR");
}

/// The time that a call waits in a queue, with the span of the call.
#[derive(Debug)]
pub struct Wait {
    /// When it began; `None` when it has ended.
    since: Option<Instant>,
    span: Span,
    origin: Option<Context>,
}

impl Wait {
    /// Starts to wait in the queue with this name.
    pub fn begin(queue: &'static str) -> Self {
        let since = Some(Instant::now());
        let (span, origin) = if is_under_way() {
            let context = Span::current().context();
            let is_wanted = context.span().span_context().is_sampled();
            let span = info_span!(target: TARGET, "queue", device_assignment.queue = queue);
            (span, is_wanted.then_some(context))
        } else {
            (Span::none(), None)
        };
        Self { since, span, origin }
    }

    /// Ends the wait and returns its duration; `None` if it has ended before.
    pub fn end(&mut self) -> Option<Duration> {
        self.span = Span::none();
        Some(self.since.take()?.elapsed())
    }
}

/// The span of a batch: a child of the first traced call in it, with links to the others.
pub fn batch<'a>(waited: impl Iterator<Item = &'a Wait>, calls: usize, devices: usize) -> Span {
    let mut origins = waited.filter_map(|wait| wait.origin.as_ref());
    let Some(first) = origins.next() else {
        return Span::none();
    };
    let span = info_span!(
        target: TARGET,
        parent: None,
        "batch",
        otel.status_code = Empty,
        device_assignment.batch.calls = calls,
        device_assignment.batch.devices = devices,
    );
    let _ = span.set_parent(first.clone());
    for other in origins {
        span.add_link(other.span().span_context().clone());
    }
    span
}

/// The trace of a span, or the one that the headers name if the span is not traced.
pub fn id(span: &Span, headers: &HeaderMap) -> Option<TraceId> {
    let context = if span.is_disabled() {
        read(headers)
    } else {
        span.context().span().span_context().clone()
    };
    context.is_valid().then(|| context.trace_id())
}

/// Passes the trace on to the next service: the current span's, or else the caller's.
pub fn pass_on(from: &HeaderMap, to: &mut HeaderMap) {
    if is_under_way() {
        TraceContextPropagator::new().inject_context(&Span::current().context(), &mut Headers(to));
        return;
    }
    for name in [TRACEPARENT, TRACESTATE] {
        if let Some(value) = from.get(&name).filter(|value| value.len() <= LONGEST) {
            to.insert(name, value.clone());
        }
    }
}

/// Whether the current span belongs to a trace.
fn is_under_way() -> bool {
    tracing::span_enabled!(target: TARGET, tracing::Level::INFO)
        && Span::current().metadata().is_some_and(|span| span.target() == TARGET)
}

fn continue_in(span: &Span, headers: &HeaderMap) {
    if span.is_disabled() {
        return;
    }
    let parent = read(headers);
    // An invalid parent would turn sampling off.
    if parent.is_valid() {
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// The span that the headers name. Without one, or with a malformed one, the result is invalid.
fn read(headers: &HeaderMap) -> SpanContext {
    if !headers.contains_key(&TRACEPARENT) {
        return SpanContext::NONE;
    }
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &ReadHeaders(headers));
    context.span().span_context().clone()
}

/// Lets the library read headers.
struct ReadHeaders<'a>(&'a HeaderMap);

impl Extractor for ReadHeaders<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name)?.to_str().ok()?;
        let is_form = |text: &str| {
            text.len() >= SHORTEST_TRACEPARENT
                && text
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'))
        };
        (value.len() <= LONGEST && (name != TRACEPARENT || is_form(value))).then_some(value)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// Lets the library write headers.
struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, name: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
            && !value.is_empty()
        {
            self.0.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    fn headers(traceparent: &str) -> HeaderMap {
        HeaderMap::from_iter([(TRACEPARENT, HeaderValue::try_from(traceparent).expect("a value"))])
    }

    fn id(traceparent: &str) -> Option<String> {
        super::id(&Span::none(), &headers(traceparent)).map(|id| id.to_string())
    }

    #[test]
    fn a_valid_header_is_read() {
        for flags in ["00", "01", "03"] {
            let traceparent = format!("00-{TRACE}-b7ad6b7169203331-{flags}");
            assert_eq!(id(&traceparent).as_deref(), Some(TRACE), "{traceparent}");
        }
        let of_a_later_version = format!("01-{TRACE}-b7ad6b7169203331-01-more");
        assert_eq!(
            id(&of_a_later_version),
            None,
            "unknown versions with more fields are ignored"
        );
    }

    #[test]
    fn a_malformed_header_counts_as_absent() {
        for traceparent in [
            "",
            "canary",
            "00-1-1-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b71692033312-01",
        ] {
            assert_eq!(id(traceparent), None, "{traceparent}");
        }
    }

    #[test]
    fn a_header_is_passed_on_unchanged() {
        let from = headers("00-anything");
        let mut to = HeaderMap::new();
        pass_on(&from, &mut to);
        assert_eq!(to, from);
        let mut to = HeaderMap::new();
        pass_on(&headers(&"x".repeat(LONGEST + 1)), &mut to);
        assert_eq!(to, HeaderMap::new());
    }
}
