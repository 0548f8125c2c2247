//! One line a call, and its place among the figures. Never a key, an email address or an identifier.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Instant,
};

use axum::extract::Request;
use http::{HeaderMap, HeaderValue};
use opentelemetry::trace::TraceId;
use tonic::Code;
use tracing::Span;

use super::{method::Method, status::code_of};
use crate::{
    code::code_name,
    domain::assign_devices::{Fate, Outcome},
    log_sampler::{Log, LogSampler},
    peer, request_id,
    service::Caller,
    telemetry::{metrics::OTHER, milliseconds, trace},
};

/// What is found out about a call on its way; among the extensions of every call that is logged.
#[derive(Debug, Default)]
pub(super) struct Note {
    caller: OnceLock<Arc<Caller>>,
    tally: OnceLock<Tally>,
}

/// What a call did.
#[derive(Debug)]
struct Tally {
    assigned: usize,
    already_assigned: usize,
    skipped: usize,
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

    /// Notes what the call did.
    pub(super) fn outcome(&self, outcome: &Outcome) {
        let count = |is: fn(&Fate) -> bool| outcome.devices.iter().filter(|(_, fate)| is(fate)).count();
        let _ = self.tally.set(Tally {
            assigned: count(|fate| matches!(fate, Fate::Assigned { .. })),
            already_assigned: count(|fate| matches!(fate, Fate::AlreadyAssigned { .. })),
            skipped: count(|fate| matches!(fate, Fate::Skipped)),
        });
    }
}

/// The line of a call. Is logged when it is dropped: also for a caller that went away, whose call is dropped. Lines of calls
/// without a known caller are sampled.
pub(super) struct Line<'a> {
    sampler: &'a LogSampler,
    address: Option<IpAddr>,
    path: String,
    request_id: HeaderValue,
    trace_id: Option<TraceId>,
    trace: Span,
    note: Arc<Note>,
    start: Instant,
    code: Code,
}

impl<'a> Line<'a> {
    /// Begins the line of a call that has a request id, and that `trace` is the span of.
    pub(super) fn begin(request: &mut Request, request_id: HeaderValue, trace: Span, sampler: &'a LogSampler) -> Self {
        let note = Arc::<Note>::default();
        request.extensions_mut().insert(Arc::clone(&note));
        Self {
            sampler,
            address: peer::of(request.headers()),
            path: request.uri().path().to_owned(),
            request_id,
            trace_id: trace::id(&trace, request.headers()),
            trace,
            note,
            start: Instant::now(),
            code: Code::Cancelled,
        }
    }

    /// What is found out about the call.
    pub(super) fn note(&self) -> &Note {
        &self.note
    }

    /// The span of the call in its trace.
    pub(super) fn trace(&self) -> &Span {
        &self.trace
    }

    /// A span for what else is logged on the call's behalf: it carries the same request id.
    pub(super) fn span(&self) -> Span {
        tracing::info_span!("call", method = self.method(), request_id = self.request_id())
    }

    /// Ends the line of a call that was answered.
    pub(super) fn finish(mut self, answer: &HeaderMap) {
        self.code = code_of(answer);
    }

    /// The method, if there is one: what else stands in a path is the caller's own words.
    fn method(&self) -> &'static str {
        let name = Method::at(&self.path).map_or(OTHER, |method| method.name);
        name.rsplit('/').next().unwrap_or(name)
    }

    fn request_id(&self) -> &str {
        request_id::text(&self.request_id)
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let duration = self.start.elapsed();
        if let Some(method) = Method::at(&self.path) {
            method.record(self.code, duration);
            trace::returned(&self.trace, code_name(self.code), is_fault(self.code));
        }
        // A gateway asks before each body that it reads: only its refusals are worth a line.
        if self.code == Code::Ok && Method::at(&self.path).is_some_and(|method| !method.is_counted) {
            tracing::debug!(
                method = self.method(),
                request_id = self.request_id(),
                "checked credentials"
            );
            return;
        }
        if self.note.caller().is_none() && !self.sampler.admits(Log::Calls, self.address) {
            return;
        }
        let tally = self.note.tally.get();
        tracing::info!(
            method = self.method(),
            request_id = self.request_id(),
            trace_id = self.trace_id.map(display),
            organization = self.note.caller().map(|caller| display(caller.organization)),
            assigned = tally.map(|tally| tally.assigned),
            already_assigned = tally.map(|tally| tally.already_assigned),
            skipped = tally.map(|tally| tally.skipped),
            code = code_name(self.code),
            duration_ms = milliseconds(duration),
            "call"
        );
    }
}

/// Whether an answer with this code is a fault of the service, as OpenTelemetry's conventions for gRPC have it.
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
