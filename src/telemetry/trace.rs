//! The spans of a trace, as OpenTelemetry's conventions name them and what is known of them. As long as nobody wants
//! traces, which only the program can be told, each of these functions is a look at one flag.
//!
//! A span says what was done and how it went: never an email address, an identifier, a key, a path that a caller made up, or
//! a parameter of a statement.

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

/// What tells the spans of a trace from those of the log.
pub const TARGET: &str = "device_assignment::trace";

/// The header, and the metadata entry, that says which trace a request is part of (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The shortest form of the first, in bytes.
const SHORTEST_TRACEPARENT: usize = 55;
/// The longest value that is read or passed on, in bytes: what the specification asks everybody to take.
const LONGEST: usize = 512;

/// The answer to a REST request with this method, which stands in the trace that its headers name.
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

/// Says how a REST request was answered.
pub fn answered(request: &Span, status: u16) {
    request.record("http.response.status_code", status);
    if status >= 500 {
        failed(request);
    }
}

/// A call of a method, given by its full name, which stands in the trace that its headers name.
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

/// Says how a call was answered, and whether that is a fault of the service.
pub fn returned(call: &Span, code: &'static str, is_fault: bool) {
    call.record("rpc.response.status_code", code);
    if is_fault {
        failed(call);
    }
}

/// A statement, by what it does, in the span that is under way; none if there is none.
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

/// Says that what a span stands for failed.
pub fn failed(span: &Span) {
    span.record("otel.status_code", "ERROR");
}

/// What waits in a queue, and the span that it waits on behalf of.
#[derive(Debug)]
pub struct Wait {
    since: Instant,
    span: Span,
    origin: Option<Context>,
}

impl Wait {
    /// Begins to wait in a queue by this name.
    pub fn begin(queue: &'static str) -> Self {
        let since = Instant::now();
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

    /// Says that the wait is over, and how long it was.
    pub fn end(&mut self) -> Duration {
        self.span = Span::none();
        self.since.elapsed()
    }
}

/// What is done at once for several that waited: a child of the first of them that is traced, with links to the others.
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

/// The trace that a span belongs to, if it is traced, or else the one that the headers name.
pub fn id(span: &Span, headers: &HeaderMap) -> Option<TraceId> {
    let context = if span.is_disabled() {
        read(headers)
    } else {
        span.context().span().span_context().clone()
    };
    context.is_valid().then(|| context.trace_id())
}

/// Passes on to the next service which trace this is: that of the span under way, or else what the caller said.
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

/// Whether a span of a trace is under way.
fn is_under_way() -> bool {
    tracing::span_enabled!(target: TARGET, tracing::Level::INFO)
        && Span::current().metadata().is_some_and(|span| span.target() == TARGET)
}

fn continue_in(span: &Span, headers: &HeaderMap) {
    if span.is_disabled() {
        return;
    }
    let parent = read(headers);
    // An invalid one would count as one that does not want to be sampled.
    if parent.is_valid() {
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// The span that the headers name; an invalid one if they name none. What is malformed counts as absent.
fn read(headers: &HeaderMap) -> SpanContext {
    if !headers.contains_key(&TRACEPARENT) {
        return SpanContext::NONE;
    }
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &ReadHeaders(headers));
    context.span().span_context().clone()
}

/// Headers, as the library reads them.
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

/// Headers, as the library writes them.
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
    fn the_trace_of_a_caller_is_read() {
        for flags in ["00", "01", "03"] {
            let traceparent = format!("00-{TRACE}-b7ad6b7169203331-{flags}");
            assert_eq!(id(&traceparent).as_deref(), Some(TRACE), "{traceparent}");
        }
        let of_a_later_version = format!("01-{TRACE}-b7ad6b7169203331-01-more");
        assert_eq!(id(&of_a_later_version), None, "only what is known to be harmless");
    }

    #[test]
    fn what_is_malformed_is_absent() {
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
    fn what_a_caller_said_is_passed_on_as_it_is() {
        let from = headers("00-anything");
        let mut to = HeaderMap::new();
        pass_on(&from, &mut to);
        assert_eq!(to, from);
        let mut to = HeaderMap::new();
        pass_on(&headers(&"x".repeat(LONGEST + 1)), &mut to);
        assert_eq!(to, HeaderMap::new());
    }
}
