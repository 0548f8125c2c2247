//! Commands of calls with an idempotency key: any command, with the key around it.

use std::{fmt, sync::Arc};

use super::{
    Tally,
    answers::{Known, RepeatedAt},
    change::{ChangeKind, Revision},
    command::{Command, Rejection, Touches},
    idempotency::IdempotencyKey,
    state::State,
};

/// Makes the message of an answer, in protobuf. None if the call goes on with another command: then there is no answer yet.
pub type Encode<O> = Arc<dyn Fn(&O) -> Option<Vec<u8>> + Send + Sync>;

/// A command of a call that may have an idempotency key.
pub struct Keyed<C: Command> {
    /// The command.
    pub command: C,
    /// The key, and what makes the answer from the outcome.
    pub key: Option<(IdempotencyKey, Encode<C::Outcome>)>,
}

impl<C: Command + fmt::Debug> fmt::Debug for Keyed<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

/// The outcome of a command with or without a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<O> {
    /// The command was carried out.
    New(O),
    /// An earlier call with this key was carried out, and this is its answer.
    Repeated(RepeatedAnswer),
}

/// The answer of an earlier call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepeatedAnswer {
    /// The message, in protobuf.
    pub message: Vec<u8>,
    at: RepeatedAt,
}

impl<C: Command> Command for Keyed<C> {
    type Outcome = Reply<C::Outcome>;

    const KIND: ChangeKind = C::KIND;

    fn weight(&self) -> usize {
        self.command.weight()
    }

    fn touch<'a>(&'a self, touches: &mut Touches<'a>) {
        self.command.touch(touches);
        if let Some((key, _)) = &self.key {
            touches.key(key.digest);
        }
    }

    fn apply(&self, state: &mut State<'_>) -> Result<Self::Outcome, Rejection> {
        let Some((key, encode)) = &self.key else {
            return self.command.apply(state).map(Reply::New);
        };
        if let Some(Known { request, message, at }) = state.answers().get(&key.digest) {
            if *request != key.request {
                return Err(Rejection::IdempotencyKeyReused);
            }
            let message = message.ok_or(Rejection::AnswerErased)?.to_vec();
            return Ok(Reply::Repeated(RepeatedAnswer { message, at }));
        }
        let outcome = self.command.apply(state)?;
        if let Some(message) = encode(&outcome) {
            state.answers().keep(*key, message);
        }
        Ok(Reply::New(outcome))
    }

    fn tally(outcome: &Self::Outcome) -> Tally {
        match outcome {
            Reply::New(outcome) => C::tally(outcome),
            Reply::Repeated(_) => Tally::default(),
        }
    }

    fn revision(outcome: &Self::Outcome, head: Revision, changes: usize) -> Revision {
        match outcome {
            Reply::New(outcome) => C::revision(outcome, head, changes),
            Reply::Repeated(RepeatedAnswer { at, .. }) => match *at {
                RepeatedAt::Revision(revision) => revision,
                RepeatedAt::Changes(changes) => head.after(changes),
            },
        }
    }
}

#[cfg(test)]
mod tests;
