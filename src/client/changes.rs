//! Follows the changes of an organization at a running service, and goes on by itself after interruptions.

use std::time::Duration;

use tonic::{Code, Request, Status, Streaming, metadata::MetadataValue, transport::Channel};
use tonic_types::StatusExt;

use super::{
    ClientError, Target,
    connect::{MAX_ANSWER, answer, endpoint, one_line},
};
use crate::{
    key_headers::X_API_KEY,
    pb::{Change, WatchChangesRequest, WatchChangesResponse, change_service_client::ChangeServiceClient},
};

/// How long a stream may be silent. The service sends something at least every 10 seconds.
const SILENCE: Duration = Duration::from_secs(25);
/// The pause before the stream is opened again; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The reason of the error that the changes are no longer available.
const CHANGES_EXPIRED: &str = "CHANGES_EXPIRED";

/// Where to go on: a revision, and the history that it belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// The id of the history; empty for the current one.
    pub history: String,
    /// The revision of the last change that was received; 0 for the beginning.
    pub revision: u64,
}

/// What a follower receives.
#[derive(Debug, Clone, PartialEq)]
pub enum Followed {
    /// The next changes, at least one.
    Changes {
        /// The changes, each the next after the one before.
        changes: Vec<Change>,
        /// The newest revision of the organization when they were read.
        head: u64,
    },
    /// There are no further changes so far.
    UpToDate,
    /// The stream was lost for this reason, and is opened again.
    Interrupted(String),
}

/// Why a follower cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The changes after the position are no longer available: the copy has to be filled again.
    #[error("the changes after revision {0} are no longer available; the copy has to be filled again")]
    Expired(u64),
    /// The service sent another change than the next one.
    #[error("revision {expected} was expected, but the service sent {sent}")]
    OutOfOrder {
        /// The next revision.
        expected: u64,
        /// The revision that was sent.
        sent: u64,
    },
    /// The service rejects the call, and a retry would not help.
    #[error("{0}")]
    Rejected(String),
}

/// Follows the changes of the organization that an API key belongs to.
pub struct ChangeFollower {
    client: ChangeServiceClient<Channel>,
    key: MetadataValue<tonic::metadata::Ascii>,
    include_names: bool,
    position: Position,
    stream: Option<Streaming<WatchChangesResponse>>,
    /// The pause before the next attempt to open the stream.
    pause: Duration,
}

impl ChangeFollower {
    /// Prepares to follow the changes after `position`. Connects when the first change is asked for.
    ///
    /// # Errors
    /// When the URL, the certificates or the key are not valid.
    pub fn new(target: &Target, position: Position, include_names: bool) -> Result<Self, ClientError> {
        let channel = endpoint(target)?.connect_lazy();
        Ok(Self {
            client: ChangeServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER),
            key: target.key.parse().map_err(|_| ClientError::Key)?,
            include_names,
            position,
            stream: None,
            pause: Duration::ZERO,
        })
    }

    /// The position after everything that was received.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Waits for the next changes. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When it cannot go on.
    pub async fn next(&mut self) -> Result<Followed, FollowError> {
        let received = match &mut self.stream {
            Some(stream) => tokio::time::timeout(SILENCE, stream.message()).await,
            None => {
                tokio::time::sleep(self.pause).await;
                self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                match tokio::time::timeout(SILENCE, self.open()).await {
                    Ok(Ok(mut stream)) => {
                        let first = tokio::time::timeout(SILENCE, stream.message()).await;
                        self.stream = Some(stream);
                        first
                    }
                    Ok(Err(status)) => Ok(Err(status)),
                    Err(elapsed) => Err(elapsed),
                }
            }
        };
        let problem = match received {
            Ok(Ok(Some(response))) => return self.accept(response),
            Ok(Ok(None)) => "the service ended the stream".to_owned(),
            Ok(Err(status)) => self.retryable(&status)?,
            Err(_elapsed) => "the service is silent".to_owned(),
        };
        self.stream = None;
        Ok(Followed::Interrupted(problem))
    }

    async fn open(&self) -> Result<Streaming<WatchChangesResponse>, Status> {
        let mut request = Request::new(WatchChangesRequest {
            after_revision: self.position.revision,
            history: self.position.history.clone(),
            include_names: self.include_names,
        });
        request.metadata_mut().insert(X_API_KEY, self.key.clone());
        let response = self.client.clone().watch_changes(request).await?;
        Ok(response.into_inner())
    }

    fn accept(&mut self, response: WatchChangesResponse) -> Result<Followed, FollowError> {
        self.pause = Duration::ZERO;
        self.position.history = response.history;
        for change in &response.changes {
            let expected = self.position.revision + 1;
            if change.revision != expected {
                let sent = change.revision;
                return Err(FollowError::OutOfOrder { expected, sent });
            }
            self.position.revision = expected;
        }
        Ok(match response.changes {
            changes if changes.is_empty() => Followed::UpToDate,
            changes => Followed::Changes {
                changes,
                head: response.revision,
            },
        })
    }

    /// Why the stream was lost, if it can be opened again.
    fn retryable(&self, status: &Status) -> Result<String, FollowError> {
        let reason = status.get_details_error_info().map(|info| info.reason);
        if reason.as_deref() == Some(CHANGES_EXPIRED) {
            return Err(FollowError::Expired(self.position.revision));
        }
        match status.code() {
            Code::InvalidArgument
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::NotFound
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented => Err(FollowError::Rejected(answer(status))),
            _ => Ok(one_line(&answer(status))),
        }
    }
}
