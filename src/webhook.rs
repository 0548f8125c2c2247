//! Posts changes to a receiver over HTTP, signed as [Standard Webhooks](https://www.standardwebhooks.com) specifies. A change is
//! posted until the receiver has accepted it, and only then the next one.

mod cursor;
mod pause;
mod receiver;
mod secret;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::body::Bytes;

pub use self::{
    cursor::{Cursor, CursorError, CursorPosition},
    receiver::{Receiver, ReceiverError},
    secret::{SecretError, Secrets},
};
use self::{
    pause::pause,
    receiver::{Message, Outcome},
};
use crate::pb::Change;

/// A receiver, and what is needed to sign for it.
pub struct Webhook {
    /// Where the changes go.
    pub receiver: Receiver,
    /// What they are signed with.
    pub secrets: Secrets,
    /// The id of the organization whose changes they are. It is part of the id of each message, because other organizations
    /// have the same revisions.
    pub organization: String,
}

/// Why a change cannot be delivered, ever.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The receiver answered with a status that is not expected to change.
    #[error("the receiver rejected it: {0}")]
    Rejected(String),
    /// A bug: a change is always JSON.
    #[error("it is not JSON: {0}")]
    Body(#[from] serde_json::Error),
}

impl Webhook {
    /// Posts a change until the receiver has accepted it. Before each pause, it calls `on_failure` with the problem, as a clause,
    /// and the length of the pause.
    ///
    /// # Errors
    /// When the receiver rejects the change for good.
    pub async fn deliver(
        &mut self,
        change: &Change,
        mut on_failure: impl FnMut(&str, Duration),
    ) -> Result<(), DeliveryError> {
        let id = format!("{}:{}:{}", self.organization, change.history, change.revision);
        let body = Bytes::from(serde_json::to_vec(change)?);
        let mut failures = 0;
        loop {
            let timestamp = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs();
            let message = Message {
                id: id.clone(),
                timestamp,
                signature: self.secrets.sign(&id, timestamp, &body),
                body: body.clone(),
            };
            let (problem, asked) = match self.receiver.post(message).await {
                Outcome::Accepted => return Ok(()),
                Outcome::Rejected(status) => return Err(DeliveryError::Rejected(status)),
                Outcome::Failed { problem, retry_after } => (problem, retry_after),
            };
            let pause = pause(failures, asked, rand::random_range(0.0..1.0));
            on_failure(&problem, pause);
            tokio::time::sleep(pause).await;
            failures += 1;
        }
    }
}
