//! The policies that apply to every call, the outermost first.
//!
//! They are one function and not a layer each, because a layer costs several allocations a call.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use http::HeaderValue;
use tonic::Status;
use tracing::{Instrument, Span};

use super::{
    GrpcSettings, MAX_SMALL_MESSAGE_BYTES, answer, authenticate,
    call_log::{CallLogEntry, Note},
    deadline,
    keyless::{Keyless, is_keyless},
    message_errors,
    method::Method,
    panic, rate_limit, receive,
    status::{code_of, to_status, with_reason},
    stream,
};
use crate::{
    body::{BodyLimits, hold_until_sent},
    domain::api_key::Scope,
    peer,
    reason::Reason,
    request_id,
    service::{InFlightPermit, Service},
    shares::{Holder, Share, Shares},
    telemetry::trace,
};

/// If the message took longer than this to arrive, the key is checked again: it may have been revoked in between.
const CHECKED_FOR: Duration = Duration::from_secs(1);

/// The state of the policies.
struct Policies {
    service: Arc<Service>,
    settings: GrpcSettings,
    keyless: Keyless,
    /// The bytes that requests and responses hold.
    in_flight: Shares<Holder>,
}

/// `router` with the policies before every method.
pub(super) fn with_policies(
    router: Router,
    service: Arc<Service>,
    settings: GrpcSettings,
    in_flight: Shares<Holder>,
) -> Router {
    let policies = Policies {
        service,
        settings,
        keyless: Keyless::new(settings.max_keyless_calls),
        in_flight,
    };
    router.layer(from_fn_with_state(Arc::new(policies), pass))
}

async fn pass(State(policies): State<Arc<Policies>>, mut request: Request, next: Next) -> Response {
    let id = request_id::give(request.headers_mut());
    let path = request.uri().path();
    let mut response = if !Method::exists(path) {
        policies.reject_unknown(request, id.clone())
    } else if is_keyless(path) {
        policies.pass_keyless(request, next).await
    } else {
        policies.pass_with_key(request, next, id.clone()).await
    };
    response.headers_mut().insert(request_id::HEADER, id);
    response
}

impl Policies {
    /// Rejects a call of a method that does not exist, with or without a key. Such calls are bounded and logged like calls
    /// without a key. So a method that is missing in the list of methods cannot be called at all.
    fn reject_unknown(&self, mut request: Request, id: HeaderValue) -> Response {
        let entry = CallLogEntry::begin(&mut request, id, Span::none(), self.service.log_sampler());
        let network = peer::network_of(request.headers());
        let (status, permit) = match self.keyless.enter(network, request.extensions()) {
            Ok(permit) => (
                with_reason(Reason::UnknownMethod, "There is no such method", []),
                Some(permit),
            ),
            Err(error) => (to_status(&error), None),
        };
        let response: Response = status.into_http();
        entry.finish(response.headers());
        hold_until_sent(response, permit)
    }

    /// Passes a call that needs no key. Probes call every few seconds, so these calls are not logged. Some are streams that
    /// are meant to stay open: their deadline ends with the start of the response.
    async fn pass_keyless(&self, request: Request, next: Next) -> Response {
        let start = Instant::now();
        let method = Method::at(request.uri().path());
        let network = peer::network_of(request.headers());
        let permit = match self.keyless.enter(network, request.extensions()) {
            Ok(permit) => permit,
            Err(error) => return to_status(&error).into_http(),
        };
        if let Err(status) = receive::check_encoding(request.headers()) {
            return status.into_http();
        }
        // A message that never comes must not hold the permit.
        let deadline = deadline::after(self.settings.default_timeout);
        let response = deadline::hold(deadline, panic::catch(next.run(request))).await;
        if let Some(method) = method {
            method.record(code_of(response.headers()), start.elapsed());
        }
        hold_until_sent(message_errors::rephrase(response, MAX_SMALL_MESSAGE_BYTES), permit)
    }

    async fn pass_with_key(&self, mut request: Request, next: Next, id: HeaderValue) -> Response {
        let method = Method::at(request.uri().path());
        if method.is_some_and(|method| method.is_stream) {
            return self.pass_stream(method, request, next, id).await;
        }
        let span = method.map_or_else(Span::none, |method| trace::call(request.headers(), method.name));
        let entry = CallLogEntry::begin(&mut request, id, span, self.service.log_sampler());
        let deadline = deadline::of(&request, self.settings.default_timeout, self.settings.max_timeout);
        request.extensions_mut().insert(deadline);
        let call = self.carry_out(method, request, next, entry.note());
        let mut response = panic::catch(deadline::hold(deadline, call))
            // The inner span is the parent of further spans.
            .instrument(entry.trace().clone())
            .instrument(entry.span())
            .await;
        if let Some(caller) = entry.note().caller() {
            rate_limit::write(response.headers_mut(), caller);
        }
        entry.finish(response.headers());
        response
    }

    /// Passes a call whose response is a stream. All policies apply until its handler has the request: from then on it has a permit
    /// of its own. It has the deadline of a call until it begins, then the deadline that the caller asks for, if any. The service
    /// ends it when its key ends. Its log line comes at its end.
    async fn pass_stream(
        &self,
        method: Option<&Method>,
        mut request: Request,
        next: Next,
        id: HeaderValue,
    ) -> Response {
        let span = method.map_or_else(Span::none, |method| trace::call(request.headers(), method.name));
        let entry = CallLogEntry::begin(&mut request, id, span, self.service.log_sampler());
        let deadline = deadline::of_stream(&request);
        request.extensions_mut().insert(deadline);
        let begin = async {
            let begun = async {
                let (mut request, held) = self.admit(method, request, entry.note()).await?;
                // Dropped with the request.
                request.extensions_mut().insert(Arc::new(held));
                Ok(message_errors::rephrase(
                    next.run(request).await,
                    self.max_message_bytes(method),
                ))
            };
            begun.await.unwrap_or_else(Status::into_http)
        };
        let begun_by = deadline.min(deadline::after(self.settings.default_timeout));
        let mut response = panic::catch(deadline::hold(begun_by, begin))
            .instrument(entry.trace().clone())
            .instrument(entry.span())
            .await;
        if let Some(caller) = entry.note().caller() {
            rate_limit::write(response.headers_mut(), caller);
        }
        stream::logged(response, entry)
    }

    async fn carry_out(&self, method: Option<&Method>, request: Request, next: Next, note: &Note) -> Response {
        let carried_out = async {
            let (request, held) = self.admit(method, request, note).await?;
            let response = message_errors::rephrase(next.run(request).await, self.max_message_bytes(method));
            answer::encoded(response, held).await
        };
        carried_out.await.unwrap_or_else(Status::into_http)
    }

    /// The largest message of a method.
    fn max_message_bytes(&self, method: Option<&Method>) -> usize {
        match method {
            // The calls of the API. Whatever a field has too much of is an error of that field.
            Some(method) if method.is_counted => self.settings.max_message_bytes,
            _ => self.settings.max_message_bytes.min(MAX_SMALL_MESSAGE_BYTES),
        }
    }

    /// Admits a call if its key is valid, its limits are not reached, and there is room for its message and its response. The
    /// permit and the share are held until the response has been sent.
    async fn admit(
        &self,
        method: Option<&Method>,
        request: Request,
        note: &Note,
    ) -> Result<(Request, (InFlightPermit, Share<Holder>)), Status> {
        let service = &self.service;
        let (parts, body) = request.into_parts();
        let admitted = async {
            let permit = service.enter(peer::network_of(&parts.headers))?;
            let caller = Arc::new(authenticate::caller(service, &parts.headers).await?);
            note.set_caller(Arc::clone(&caller));
            if method.is_none_or(|method| method.is_counted) {
                service.count_call(&caller)?;
            }
            caller.check_scope(method.map_or(Scope::Write, |method| method.scope))?;
            Ok((permit.for_organization(caller.organization)?, caller))
        };
        let (permit, caller) = admitted.await.map_err(|error| to_status(&error))?;
        let checked_at = Instant::now();
        receive::check_encoding(&parts.headers)?;

        let mut share = self.in_flight.empty(Holder::Organization(caller.organization.uuid()));
        let limits = BodyLimits {
            max_bytes: self.max_message_bytes(method),
            timeout: self.settings.body_timeout,
        };
        let received = receive::request(method, body, limits, &mut share).await;
        let received = received.map_err(|error| message_errors::of_body(error, limits.max_bytes))?;
        let admitted = async {
            if checked_at.elapsed() > CHECKED_FOR {
                Box::pin(authenticate::caller(service, &parts.headers)).await?;
            }
            service.check_device_count(&caller, received.list, received.devices)?;
            received.reserve_answer(self.settings.max_answer_bytes, &mut share)
        };
        admitted.await.map_err(|error| to_status(&error))?;
        let request = Request::from_parts(parts, Body::from(received.body));
        Ok((request, (permit, share)))
    }
}
