//! How a REST request becomes a call of the service, for every operation: the key is checked before the body is read, the body
//! is bounded, and the service's answer becomes the response.

use std::time::{Duration, Instant};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderMap, Version},
    response::IntoResponse,
};
use http_body_util::BodyExt;
use serde::{Serialize, de::DeserializeOwned};
use tonic::{Code, Response, Status};

use super::{
    Gateway, GatewayResult, ServiceResponse,
    compression::is_encoded,
    fields, json,
    json_line::JsonLine,
    on_behalf,
    operation::{Operation, RejectedRequest},
    passed_on,
    problem::Problem,
    query,
};
use crate::{
    body::{BodyError, BodyLimits, hold_until_sent, receive},
    code::code_name,
    grpc::is_write,
    key_headers::{PresentedKey, presented},
    pb::{CheckCredentialsRequest, CheckCredentialsResponse},
    peer, request_id,
    shares::{Holder, Share},
    telemetry::milliseconds,
};

/// The memory that a request takes in addition to its body: its head, tasks and timers.
const REQUEST_BYTES: usize = 4 * 1024;

/// The most that one element of a request's list adds to the size of the answer, its own text excepted, and the size of an
/// answer without elements. An element takes at least 3 bytes of the request's body.
const ANSWER_BYTES_PER_ELEMENT: usize = 96;
const ANSWER_BYTES: usize = 1_024;

/// The largest body that is read after its request was rejected, and the longest time for that. A client that is still sending
/// when the connection is closed may never see the answer (RFC 9112, 9.6).
const DISCARDED_BYTES: usize = 16 * 1024 * 1024;
const DISCARDED_WITHIN: Duration = Duration::from_secs(1);

/// The members that no URL has: proxies log addresses.
pub(super) const NOT_IN_URLS: [&str; 2] = ["customerEmail", "emailPrefix"];

/// The parameters that a URL needs because it has no member that could replace them, each with its RPC.
pub(super) const REQUIRED_IN_URLS: [(&str, &str); 1] = [("ListOwnerDevices", "customerId")];

/// The scope of a key that may only read.
const READ: &str = "read";

impl Gateway {
    /// Handles a POST whose body is the JSON of a message: calls `rpc` and returns its answer.
    pub(super) async fn post<M, R, F>(
        &self,
        request: Request,
        operation: Operation,
        rpc: impl FnOnce(tonic::Request<M>) -> F,
    ) -> GatewayResult
    where
        M: DeserializeOwned,
        R: Serialize,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let (parts, mut body) = request.into_parts();
        let answer = self.post_parts(&parts.headers, &mut body, operation, rpc).await;
        if answer.is_err() && parts.version <= Version::HTTP_11 && !body.is_end_stream() {
            tokio::spawn(discard(body));
        }
        answer
    }

    async fn post_parts<M, R, F>(
        &self,
        headers: &HeaderMap,
        body: &mut Body,
        operation: Operation,
        rpc: impl FnOnce(tonic::Request<M>) -> F,
    ) -> GatewayResult
    where
        M: DeserializeOwned,
        R: Serialize,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let start = Instant::now();
        let may_write = self.check_key(headers).await?;
        if !may_write && is_write(operation.name) {
            let rejected = Problem::scope_missing().into();
            return Err(self.count_rejected(headers, operation, rejected, start).await);
        }
        let (message, mut answer_share) = match self.message(headers, body, operation).await {
            Ok(message) => message,
            Err(rejected) => return Err(self.count_rejected(headers, operation, rejected, start).await),
        };
        let answer = self.get(headers, rpc(on_behalf(headers, message))).await?;
        let answer_bytes = answer.body().size_hint().lower();
        answer_share.cover(usize::try_from(answer_bytes).unwrap_or(usize::MAX));
        Ok(hold_until_sent(answer, answer_share))
    }

    /// Handles a GET whose parameters are the members of a message, of which `in_path` is in the path: calls `rpc` and returns its
    /// answer.
    pub(super) async fn get_with_parameters<M, R, F>(
        &self,
        request: Request,
        operation: Operation,
        in_path: Option<(&'static str, String)>,
        rpc: impl FnOnce(tonic::Request<M>) -> F,
    ) -> GatewayResult
    where
        M: DeserializeOwned,
        R: Serialize,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let start = Instant::now();
        let (headers, query) = (request.headers(), request.uri().query().unwrap_or_default());
        self.check_key(headers).await?;
        let mut share = self.in_flight.empty(Holder::Network(peer::network_of(headers)));
        if !share.grow(REQUEST_BYTES + ANSWER_BYTES + operation.answer_list_bytes) {
            return Err(Problem::no_room());
        }
        let in_query =
            |name: &str| !NOT_IN_URLS.contains(&name) && in_path.as_ref().is_none_or(|(path, _)| *path != name);
        let members = fields::members(operation.name).iter().copied();
        let parameters: Vec<_> = members.filter(|member| in_query(member.name)).collect();
        let required = REQUIRED_IN_URLS.iter().find(|(rpc, _)| *rpc == operation.name);
        let required = required.map(|(_, name)| *name);
        let message = match query::read(query, &parameters, required, in_path) {
            Ok(message) => message,
            Err(problem) => return Err(self.count_rejected(headers, operation, problem.into(), start).await),
        };
        let answer = self.get(headers, rpc(on_behalf(headers, message))).await?;
        let answer_bytes = answer.body().size_hint().lower();
        share.cover(usize::try_from(answer_bytes).unwrap_or(usize::MAX));
        Ok(hold_until_sent(answer, share))
    }

    /// Returns the answer of an RPC as JSON.
    pub(super) async fn get<R: Serialize>(
        &self,
        headers: &HeaderMap,
        rpc: impl Future<Output = Result<Response<R>, Status>>,
    ) -> GatewayResult {
        self.get_within(self.settings.upstream_timeout, headers, rpc).await
    }

    /// As [`get`](Self::get), for an RPC that may take longer than others.
    pub(super) async fn get_within<R: Serialize>(
        &self,
        timeout: Duration,
        headers: &HeaderMap,
        rpc: impl Future<Output = Result<Response<R>, Status>>,
    ) -> GatewayResult {
        let ServiceResponse {
            answer,
            headers: passed_on,
        } = self.call_within(timeout, headers, rpc).await?;
        let mut response = JsonLine(answer).into_response();
        passed_on::write(passed_on, response.headers_mut());
        Ok(response)
    }

    /// Makes an RPC. A key that the service rejects is no longer known.
    pub(super) async fn call<R>(
        &self,
        headers: &HeaderMap,
        rpc: impl Future<Output = Result<Response<R>, Status>>,
    ) -> Result<ServiceResponse<R>, Problem> {
        self.call_within(self.settings.upstream_timeout, headers, rpc).await
    }

    async fn call_within<R>(
        &self,
        timeout: Duration,
        headers: &HeaderMap,
        rpc: impl Future<Output = Result<Response<R>, Status>>,
    ) -> Result<ServiceResponse<R>, Problem> {
        let answered = self.answer_within(timeout, rpc).await;
        if let (Err(problem), PresentedKey::One(key)) = (&answered, presented(headers))
            && problem.code() == Code::Unauthenticated
        {
            self.known_keys.forget(key);
        }
        answered
    }

    /// Rejects a request without a valid key before any of its body is read. Returns whether the key may write.
    pub(super) async fn check_key(&self, headers: &HeaderMap) -> Result<bool, Problem> {
        let key = presented(headers);
        if let PresentedKey::One(key) = key
            && let Some(may_write) = self.known_keys.may_write(key)
        {
            return Ok(may_write);
        }
        let checked = self.check_credentials(headers, CheckCredentialsRequest::default());
        // A service of an earlier version names no scope. A key with a scope that this version does not know is left to the
        // service.
        let may_write = checked.await?.answer.scope != READ;
        if let PresentedKey::One(key) = key {
            self.known_keys.remember(key, may_write);
        }
        Ok(may_write)
    }

    /// Reads the message from the body. The returned share covers the largest possible answer, so that every call that is made
    /// can also be answered.
    async fn message<M: DeserializeOwned>(
        &self,
        headers: &HeaderMap,
        body: &mut Body,
        operation: Operation,
    ) -> Result<(M, Share<Holder>), RejectedRequest> {
        json::check_type(headers)?;
        if is_encoded(headers) {
            return Err(Problem::unsupported_encoding().into());
        }
        let (body, mut share) = self.body(headers, body).await?;
        let message = json::read(&body, operation)?;
        // From here on the service accounts for the message; the body itself is dropped.
        let elements = operation.list.map_or(0, |list| list.max.min(body.len() / 3));
        let elements = ANSWER_BYTES_PER_ELEMENT * elements;
        let answer = body.len() + ANSWER_BYTES + elements + operation.answer_list_bytes;
        drop(body);
        if !share.resize(REQUEST_BYTES + answer) {
            return Err(Problem::no_room().into());
        }
        Ok((message, share))
    }

    /// Receives a body. The returned share covers it and must live as long as its bytes.
    async fn body(&self, headers: &HeaderMap, body: &mut Body) -> Result<(Bytes, Share<Holder>), Problem> {
        let mut share = self.in_flight.empty(Holder::Network(peer::network_of(headers)));
        let limits = BodyLimits {
            max_bytes: self.settings.max_body_bytes,
            timeout: self.settings.body_timeout,
        };
        if !share.grow(REQUEST_BYTES) {
            return Err(Problem::no_room());
        }
        let bytes = receive(body, limits, &mut share).await;
        let bytes = bytes.map_err(|error| match error {
            BodyError::TooLarge => Problem::too_large(limits.max_bytes),
            BodyError::TooSlow => Problem::too_slow(),
            BodyError::NoRoom => Problem::no_room(),
            BodyError::Broken => Problem::invalid_body("The request body could not be read".into(), None),
        })?;
        Ok((bytes, share))
    }

    /// Reports a request that the gateway rejects to the service, so that it counts toward the limits of its key, and logs it
    /// like a call that the service rejects. Returns the problem to answer with.
    pub(super) async fn count_rejected(
        &self,
        headers: &HeaderMap,
        operation: Operation,
        rejected: RejectedRequest,
        start: Instant,
    ) -> Problem {
        let request = CheckCredentialsRequest {
            refused_calls: 1,
            refused_devices: u32::try_from(rejected.devices).unwrap_or(u32::MAX),
        };
        match self.check_credentials(headers, request).await {
            Ok(ServiceResponse {
                answer,
                headers: passed_on,
            }) => {
                tracing::info!(
                    method = operation.name,
                    request_id = request_id::of(headers),
                    protocol = "rest",
                    organization = answer.organization_id,
                    key = answer.api_key_id,
                    code = code_name(rejected.problem.code()),
                    reason = rejected.problem.reason(),
                    fields = rejected.problem.known_fields(operation.name),
                    duration_ms = milliseconds(start.elapsed()),
                    "call"
                );
                rejected.problem.with_passed_on(passed_on)
            }
            Err(problem) => problem,
        }
    }

    async fn check_credentials(
        &self,
        headers: &HeaderMap,
        request: CheckCredentialsRequest,
    ) -> Result<ServiceResponse<CheckCredentialsResponse>, Problem> {
        let mut client = self.organization.clone();
        self.answer(client.check_credentials(on_behalf(headers, request))).await
    }
}

/// Reads a body and discards it.
async fn discard(mut body: Body) {
    if body.size_hint().lower() > DISCARDED_BYTES as u64 {
        return;
    }
    let all = async {
        let mut length = 0;
        while let Some(Ok(frame)) = body.frame().await {
            length += frame.data_ref().map_or(0, Bytes::len);
            if length > DISCARDED_BYTES {
                break;
            }
        }
    };
    // A body that is cut off here is cut off by the closed connection otherwise.
    let _ = tokio::time::timeout(DISCARDED_WITHIN, all).await;
}
