//! How a request becomes a call: its key is judged before its body is read, the body is bounded, and what the service says
//! becomes the answer. The same for every operation.

use std::time::{Duration, Instant};

use axum::{
    Json,
    body::{Body, Bytes, HttpBody},
    extract::Request,
    http::{HeaderMap, Version},
    response::IntoResponse,
};
use http_body_util::BodyExt;
use serde::{Serialize, de::DeserializeOwned};
use tonic::{Code, Response, Status};

use super::{API_KEY, Answer, Gateway, Told, json, on_behalf, pass_on, problem::Problem};
use crate::{
    body::{BodyError, BodyLimits, holding, receive},
    code::code_name,
    pb::{CheckCredentialsRequest, CheckCredentialsResponse},
    peer, request_id,
    shares::{Holder, Share},
    telemetry::milliseconds,
};

/// What a request holds beside its body: its head, tasks and timers.
const REQUEST_BYTES: usize = 4 * 1024;

/// What an element of a request's list adds to the size of the answer, at most, beside its own text; and what an answer has
/// beside its elements. An element takes 3 bytes of a body at least.
const ANSWER_BYTES_PER_ELEMENT: usize = 96;
const ANSWER_BYTES: usize = 1_024;

/// The largest body that is read after its request was refused, and how long that may take. A peer that still sends when the
/// connection is closed may never see the answer (RFC 9112, 9.6).
const DISCARDED_BYTES: usize = 16 * 1024 * 1024;
const DISCARDED_WITHIN: Duration = Duration::from_secs(1);

/// An operation whose request is the JSON of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    /// The name of its RPC.
    pub(super) name: &'static str,
    /// The list in its request.
    pub(super) list: BoundedList,
}

/// A list in the JSON of a request, which is refused while it is read when it is too long.
#[derive(Debug, Clone, Copy)]
pub(super) struct BoundedList {
    /// The member that it is the value of.
    pub(super) member: &'static str,
    /// The most elements that it may have.
    pub(super) max: usize,
}

/// A request that the gateway refuses by itself, and how many identifiers its caller has sent.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) problem: Box<Problem>,
    pub(super) devices: usize,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self {
            problem: Box::new(problem),
            devices: 0,
        }
    }
}

impl Gateway {
    /// Answers a POST whose body is the JSON of a message, with the answer of `rpc` to it.
    pub(super) async fn post<M, R, F>(
        &self,
        request: Request,
        operation: Operation,
        rpc: impl FnOnce(tonic::Request<M>) -> F,
    ) -> Answer
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
    ) -> Answer
    where
        M: DeserializeOwned,
        R: Serialize,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let start = Instant::now();
        self.check_key(headers).await?;
        let (message, answer_share) = match self.message(headers, body, operation.list).await {
            Ok(message) => message,
            Err(refused) => return Err(self.count_refused(headers, operation, refused, start).await),
        };
        let answer = self.get(headers, rpc(on_behalf(headers, message))).await?;
        Ok(holding(answer, answer_share))
    }

    /// The answer of an RPC as JSON.
    pub(super) async fn get<R: Serialize>(
        &self,
        headers: &HeaderMap,
        rpc: impl Future<Output = Result<Response<R>, Status>>,
    ) -> Answer {
        let answered = self.answer(rpc).await;
        if let (Err(problem), Some(key)) = (&answered, headers.get(API_KEY))
            && problem.code() == Code::Unauthenticated
        {
            self.known_keys.forget(key);
        }
        let Told { answer, limits } = answered?;
        let mut response = Json(answer).into_response();
        pass_on(limits, response.headers_mut());
        Ok(response)
    }

    /// A caller without a valid key learns that before anything of its body is read.
    async fn check_key(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let key = headers.get(API_KEY);
        if key.is_some_and(|key| self.known_keys.is_known(key)) {
            return Ok(());
        }
        self.check_credentials(headers, CheckCredentialsRequest::default())
            .await?;
        if let Some(key) = key {
            self.known_keys.remember(key);
        }
        Ok(())
    }

    /// Reads the message that a body holds. The share that is returned pays for the answer: what is carried out can also be
    /// answered.
    async fn message<M: DeserializeOwned>(
        &self,
        headers: &HeaderMap,
        body: &mut Body,
        list: BoundedList,
    ) -> Result<(M, Share<Holder>), Refused> {
        json::check_type(headers)?;
        let (body, mut share) = self.body(headers, body).await?;
        let message = json::read(&body, list)?;
        // Its bytes are gone now, and the message is the service's to count.
        let answer = body.len() + ANSWER_BYTES + ANSWER_BYTES_PER_ELEMENT * list.max.min(body.len() / 3);
        drop(body);
        if !share.resize(REQUEST_BYTES + answer) {
            return Err(Problem::no_room().into());
        }
        Ok((message, share))
    }

    /// Receives a body. The share that pays for it lasts as long as its bytes.
    async fn body(&self, headers: &HeaderMap, body: &mut Body) -> Result<(Bytes, Share<Holder>), Problem> {
        let mut share = self.in_flight.nothing(Holder::Network(peer::network_of(headers)));
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

    /// What a caller learns of a request that the gateway refuses. The request counts toward the limits of its key, and has
    /// its line in the log like a call that the service refuses.
    async fn count_refused(
        &self,
        headers: &HeaderMap,
        operation: Operation,
        refused: Refused,
        start: Instant,
    ) -> Problem {
        let request = CheckCredentialsRequest {
            refused_calls: 1,
            refused_devices: u32::try_from(refused.devices).unwrap_or(u32::MAX),
        };
        match self.check_credentials(headers, request).await {
            Ok(Told { answer, limits }) => {
                tracing::info!(
                    method = operation.name,
                    request_id = request_id::of(headers),
                    organization = answer.organization_id,
                    code = code_name(refused.problem.code()),
                    duration_ms = milliseconds(start.elapsed()),
                    "call"
                );
                refused.problem.with_limits(limits)
            }
            Err(problem) => problem,
        }
    }

    async fn check_credentials(
        &self,
        headers: &HeaderMap,
        request: CheckCredentialsRequest,
    ) -> Result<Told<CheckCredentialsResponse>, Problem> {
        let mut client = self.organization.clone();
        self.answer(client.check_credentials(on_behalf(headers, request))).await
    }
}

/// Reads a body and throws it away.
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
    // Whether it came to its end does not matter to anybody.
    let _ = tokio::time::timeout(DISCARDED_WITHIN, all).await;
}
