//! What all writes have in common: the idempotency key, and the answer.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use prost::Message;
use tonic::{Response, Status};

use super::{Admitted, revision::response_at, status::to_status};
use crate::{
    domain::{
        Cause, Error, Field, FieldProblem, Violations, command::Command, idempotency::IdempotencyKey, keyed::Reply,
    },
    service::{Completed, WriteCall, Written},
    telemetry::metrics::REPLAYED_CALLS,
};

/// The header with the idempotency key of a call.
pub const IDEMPOTENCY_KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// The header that says that the answer is that of an earlier call with the same key.
pub(super) const REPLAYED_HEADER: HeaderName = HeaderName::from_static("idempotency-replayed");

impl Admitted {
    /// The call as a write. `answer` makes the message of its answer, which is stored if the call has an idempotency key.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when the key is invalid or repeated.
    pub(super) fn write<O, M>(
        &self,
        request: &impl Message,
        answer: impl Fn(O) -> M + Send + Sync + 'static,
    ) -> Result<WriteCall<O>, Status>
    where
        O: Clone,
        M: Message,
    {
        let key = match self.idempotency_keys.as_slice() {
            [] => None,
            [key] => {
                let key = IdempotencyKey::new(key, self.note.method(), &request.encode_to_vec());
                Some(key.ok_or_else(|| invalid(FieldProblem::NotAnIdempotencyKey))?)
            }
            _ => return Err(invalid(FieldProblem::Repeated)),
        };
        Ok(WriteCall {
            caller: Arc::clone(&self.caller),
            deadline: self.deadline,
            key: key.map(|key| {
                let encode = move |outcome: &O| Some(answer(outcome.clone()).encode_to_vec());
                (key, Arc::new(encode) as _)
            }),
        })
    }

    /// The response to a write, from its outcome. What the command did goes to the log line of the call.
    pub(super) fn respond<C: Command, M: Message + Default>(
        &self,
        written: Result<Written<C::Outcome>, Error>,
        answer: impl FnOnce(C::Outcome) -> M,
    ) -> Result<Response<M>, Status> {
        let Completed {
            outcome,
            revision,
            is_preview,
        } = written.map_err(|error| to_status(&error))?;
        match outcome {
            Reply::New(outcome) => {
                self.note.outcome::<C>(&outcome, is_preview);
                Ok(response_at(revision, answer(outcome)))
            }
            Reply::Repeated(repeated) => {
                self.note.set_replayed();
                REPLAYED_CALLS.increment(1);
                let message = M::decode(repeated.message.as_slice());
                let message = message.map_err(|error| to_status(&Error::Internal(Cause::new(error))))?;
                let mut response = response_at(revision, message);
                let headers = response.metadata_mut().as_mut();
                headers.insert(REPLAYED_HEADER, HeaderValue::from_static("true"));
                Ok(response)
            }
        }
    }
}

fn invalid(problem: FieldProblem) -> Status {
    to_status(&Error::InvalidRequest(Violations::one(Field::IdempotencyKey, problem)))
}
