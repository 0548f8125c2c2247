//! One log line and the metrics of each call. Never a key, an email address or an identifier.

use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::extract::Request;
use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::TraceId;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tracing::Span;

use super::method::Method;
use crate::{
    code::code_name,
    domain::{Tally, change::ChangeKind, command::Command},
    log_sampler::{Log, LogSampler},
    peer, request_id,
    service::Caller,
    telemetry::{metrics::OTHER, milliseconds, trace},
};

/// What is known of a call so far; an extension of its request.
#[derive(Debug, Default)]
pub(super) struct Note {
    /// The full name of the method.
    method: &'static str,
    /// Whether the answer is that of an earlier call with the same idempotency key.
    is_replayed: OnceLock<bool>,
    caller: OnceLock<Arc<Caller>>,
    effects: OnceLock<Effects>,
    /// The changes that were sent.
    sent: AtomicU64,
}

/// What a call did.
#[derive(Debug)]
struct Effects {
    kind: ChangeKind,
    tally: Tally,
    /// Whether it would have done that, but has written nothing.
    is_preview: bool,
}

impl Note {
    /// Notes who calls.
    pub(super) fn set_caller(&self, caller: Arc<Caller>) {
        let _ = self.caller.set(caller);
    }

    /// Who calls, once that is known.
    pub(super) fn caller(&self) -> Option<&Arc<Caller>> {
        self.caller.get()
    }

    /// The full name of the method, without a slash at the beginning.
    pub(super) fn method(&self) -> &'static str {
        self.method
    }

    /// Notes that the answer is that of an earlier call with the same idempotency key.
    pub(super) fn set_replayed(&self) {
        let _ = self.is_replayed.set(true);
    }

    /// Notes that so many changes are sent.
    pub(super) fn sent(&self, changes: usize) {
        self.sent.fetch_add(changes as u64, Ordering::Relaxed);
    }

    /// Notes what the call did, or would have done if it is a preview.
    pub(super) fn outcome<C: Command>(&self, outcome: &C::Outcome, is_preview: bool) {
        let _ = self.effects.set(Effects {
            kind: C::KIND,
            tally: C::tally(outcome),
            is_preview,
        });
    }

    /// What a call of one of these kinds did.
    fn effects(&self, kinds: &[ChangeKind]) -> Option<&Tally> {
        let effects = self.effects.get().filter(|effects| kinds.contains(&effects.kind));
        effects.map(|effects| &effects.tally)
    }

    /// True if the call has written nothing because its caller wanted that.
    fn is_preview(&self) -> Option<bool> {
        self.effects
            .get()
            .map(|effects| effects.is_preview)
            .filter(|is_preview| *is_preview)
    }
}

/// The log line of a call. It is written on drop, so that a call whose caller went away has its line, too. Lines of calls
/// without a known caller are sampled.
pub(super) struct CallLogEntry {
    sampler: Arc<LogSampler>,
    address: Option<IpAddr>,
    path: String,
    protocol: &'static str,
    request_id: HeaderValue,
    trace_id: Option<TraceId>,
    trace: Span,
    note: Arc<Note>,
    start: Instant,
    code: Code,
    reason: Option<String>,
    /// The paths of the invalid fields.
    fields: Option<String>,
}

impl CallLogEntry {
    /// Begins the entry of a call with a request id. `trace` is the span of the call.
    pub(super) fn begin(
        request: &mut Request,
        request_id: HeaderValue,
        trace: Span,
        sampler: &Arc<LogSampler>,
    ) -> Self {
        // Any other path is the caller's own text.
        let method = Method::at(request.uri().path()).map_or(OTHER, |method| method.name);
        let note = Arc::new(Note {
            method,
            ..Note::default()
        });
        request.extensions_mut().insert(Arc::clone(&note));
        let headers = request.headers();
        Self {
            sampler: Arc::clone(sampler),
            address: peer::of(headers),
            path: request.uri().path().to_owned(),
            protocol: if headers.get(peer::PROTOCOL).is_some_and(|name| name == "rest") {
                "rest"
            } else {
                "grpc"
            },
            request_id,
            trace_id: trace::id(&trace, headers),
            trace,
            note,
            start: Instant::now(),
            code: Code::Cancelled,
            reason: None,
            fields: None,
        }
    }

    /// What is known of the call.
    pub(super) fn note(&self) -> &Note {
        &self.note
    }

    /// The span of the call in its trace.
    pub(super) fn trace(&self) -> &Span {
        &self.trace
    }

    /// A span for other log lines about the call: it carries the request id.
    pub(super) fn span(&self) -> Span {
        tracing::info_span!("call", method = self.method(), request_id = self.request_id())
    }

    /// Ends the entry of a call that was answered.
    pub(super) fn finish(mut self, response: &HeaderMap) {
        // An error is in the headers; the code of a success comes in the trailers.
        let Some(status) = Status::from_header_map(response) else {
            self.code = Code::Ok;
            return;
        };
        self.code = status.code();
        self.reason = status.get_details_error_info().map(|info| info.reason);
        let violations = status.get_details_bad_request().map(|details| details.field_violations);
        let paths = violations.map(|violations| violations.into_iter().map(|violation| violation.field));
        self.fields = paths.map(|paths| paths.collect::<Vec<_>>().join(","));
    }

    /// The name of the method.
    fn method(&self) -> &'static str {
        let name = self.note.method();
        name.rsplit('/').next().unwrap_or(name)
    }

    fn request_id(&self) -> &str {
        request_id::text(&self.request_id)
    }
}

impl Drop for CallLogEntry {
    fn drop(&mut self) {
        let duration = self.start.elapsed();
        if let Some(method) = Method::at(&self.path) {
            method.record(self.code, duration);
            trace::returned(&self.trace, code_name(self.code), is_fault(self.code));
        }
        // A gateway checks the key before it reads a body: only failed checks are worth a line.
        if self.code == Code::Ok && Method::at(&self.path).is_some_and(|method| !method.is_counted) {
            tracing::debug!(
                method = self.method(),
                request_id = self.request_id(),
                "checked credentials"
            );
            return;
        }
        let caller = self.note.caller();
        if caller.is_none() && !self.sampler.admits(Log::Calls, self.address) {
            return;
        }
        let assigned = self.note.effects(&[ChangeKind::Assign, ChangeKind::Transfer]);
        let unassigned = self
            .note
            .effects(&[ChangeKind::Unassign, ChangeKind::Transfer, ChangeKind::Delete]);
        let updated = self.note.effects(&[ChangeKind::Update]);
        tracing::info!(
            method = self.method(),
            request_id = self.request_id(),
            trace_id = self.trace_id.map(display),
            protocol = self.protocol,
            organization = caller.map(|caller| display(caller.organization)),
            key = caller.map(|caller| display(caller.key)),
            assigned = assigned.map(|tally| tally.assigned),
            already_assigned = assigned.map(|tally| tally.already_assigned),
            unassigned = unassigned.map(|tally| tally.unassigned),
            created = updated.map(|tally| tally.devices_created + tally.customers_created),
            updated = updated.map(|tally| tally.devices_updated + tally.customers_updated),
            validate_only = self.note.is_preview(),
            changes = Some(self.note.sent.load(Ordering::Relaxed)).filter(|sent| *sent > 0),
            skipped = assigned.or(unassigned).or(updated).map(|tally| tally.skipped),
            replayed = self.note.is_replayed.get(),
            code = code_name(self.code),
            reason = self.reason,
            fields = self.fields,
            duration_ms = milliseconds(duration),
            "call"
        );
    }
}

/// Whether an error with this code is a fault of the service (OpenTelemetry, semantic conventions for gRPC).
fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
