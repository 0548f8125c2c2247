//! A stream of changes: one consumer follows one organization.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use time::OffsetDateTime;

use super::{ChangeBatch, Changes, MAX_PAGE_SIZE, streams::StreamPermit};
use crate::{
    domain::{
        Error,
        change::Revision,
        id::{HistoryId, OrganizationId},
    },
    service::{Caller, Service},
    shares::{Holder, Share},
    storage::{Followed, PageLimits},
    telemetry::metrics::STREAMS,
};

/// How long after a message another one is sent, even if nothing has changed.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How often a stream to a follower that has all changes sends a message, at most. What comes in between goes into one message, so that
/// the cost of many streams does not grow with the number of changes alone. All streams send at the same times: streams that share
/// a connection are then written to it together.
const GATHER: Duration = Duration::from_millis(25);
/// The largest message, in bytes. A single change may be larger.
const MAX_MESSAGE_BYTES: usize = 256 * 1024;
/// How long to wait before the next attempt, when the streams hold too many bytes, or what was told cannot be read yet.
const PAUSE: Duration = Duration::from_millis(50);

/// What `WatchChanges` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchChangesRequest {
    /// The revision before the first change.
    pub after: Revision,
    /// The history that this revision belongs to; empty for the current one.
    pub history: String,
    /// Whether to add names.
    pub include_names: bool,
}

/// A stream of changes. A follower that does not read has at most one message waiting in memory: the stream goes on from the log.
pub struct ChangeStream {
    position: Position,
    /// Completes when the stream has to end.
    end: Pin<Box<dyn Future<Output = Error> + Send>>,
    first: Option<ChangeBatch>,
}

/// Where a stream is.
struct Position {
    changes: Arc<Changes>,
    followed: Arc<Followed>,
    organization: OrganizationId,
    history: HistoryId,
    include_names: bool,
    /// The last revision that was sent.
    sent: Revision,
    /// The newest revision that is known.
    head: Revision,
    sent_at: Instant,
    room: Room,
}

impl Service {
    /// Follows the changes of the caller's organization until `deadline`, or until the key ends or the service stops.
    ///
    /// # Errors
    /// [`Error::ChangesExpired`], [`Error::RevisionInFuture`], [`Error::TooManyStreams`], [`Error::ShuttingDown`], and
    /// [`Error::Unavailable`] if the database cannot be read.
    pub async fn watch_changes(
        &self,
        caller: &Caller,
        request: &WatchChangesRequest,
        deadline: Instant,
    ) -> Result<ChangeStream, Error> {
        let changes = Arc::clone(&self.changes);
        let organization = caller.organization;
        let permit = changes.streams.enter(caller)?;
        let end = Box::pin(end(Arc::clone(&changes), permit, deadline));
        if *changes.stop.borrow() {
            return Err(Error::ShuttingDown);
        }
        // Before the log is read, so that no change is missed in between.
        let followed = changes.database.follow(organization);
        let first = changes.first(organization, &followed, request, LIMITS).await?;
        let room = Room(changes.bytes.empty(Holder::Organization(organization.uuid())));
        let mut position = Position {
            changes,
            followed,
            organization,
            history: first.history,
            include_names: request.include_names,
            sent: request.after,
            head: first.head,
            sent_at: Instant::now(),
            room,
        };
        position.take_room(&first).await;
        Ok(ChangeStream {
            position,
            end,
            first: Some(first),
        })
    }
}

const LIMITS: PageLimits = PageLimits {
    changes: MAX_PAGE_SIZE,
    bytes: MAX_MESSAGE_BYTES,
};

/// Waits until a stream has to end, and returns why.
async fn end(changes: Arc<Changes>, permit: StreamPermit, deadline: Instant) -> Error {
    let mut stop = changes.stop.subscribe();
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => Error::ShuttingDown,
        () = permit.key_ended() => Error::InvalidApiKey,
        () = tokio::time::sleep_until(deadline.into()) => Error::DeadlineExceeded,
    }
}

impl ChangeStream {
    /// The revision to go on from: that of the last change that was returned.
    pub fn revision(&self) -> Revision {
        self.position.sent
    }

    /// The next changes: immediately if there are some, otherwise when there are. Without changes it is a heartbeat: the follower
    /// has all changes up to `head`.
    ///
    /// # Errors
    /// Why the stream ends. It must not be called again after that.
    pub async fn next(&mut self) -> Result<ChangeBatch, Error> {
        let batch = match self.first.take() {
            Some(first) => first,
            None => tokio::select! {
                biased;
                error = &mut self.end => return Err(error),
                batch = self.position.next() => batch?,
            },
        };
        self.position.sent = batch
            .changes
            .last()
            .map_or(self.position.sent, |last| last.change.revision);
        self.position.sent_at = Instant::now();
        Ok(batch)
    }
}

impl Position {
    async fn next(&mut self) -> Result<ChangeBatch, Error> {
        let heartbeat_at = self.sent_at + HEARTBEAT;
        let mut has_waited = false;
        loop {
            if self.sent >= self.head {
                has_waited = true;
                let changed = self.followed.changed_since(self.history, self.sent);
                if tokio::time::timeout_at(heartbeat_at.into(), changed).await.is_err() {
                    return self.heartbeat();
                }
                tokio::time::sleep_until(next_time(self.changes.started, self.sent_at).into()).await;
            }
            let next = self
                .changes
                .next(self.organization, self.sent, self.history, LIMITS, self.include_names);
            let batch = next.await?;
            self.head = batch.head;
            if !batch.changes.is_empty() {
                self.take_room(&batch).await;
                if let Some(first) = batch.changes.first().filter(|_| has_waited) {
                    let lag = OffsetDateTime::now_utc() - first.change.at;
                    // The clocks of instances differ.
                    STREAMS.lag.record(lag.as_seconds_f64().max(0.0));
                }
                return Ok(batch);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn heartbeat(&self) -> Result<ChangeBatch, Error> {
        // Whether it is up to date cannot be known otherwise.
        self.changes.database.check_reach()?;
        Ok(ChangeBatch {
            history: self.history,
            head: self.sent,
            changes: Vec::new(),
        })
    }

    /// Waits until there is room for the bytes of a message.
    async fn take_room(&mut self, batch: &ChangeBatch) {
        let bytes = batch.changes.iter().map(|named| named.bytes()).sum();
        self.room.take(bytes).await;
    }
}

/// The first time to send after `sent_at`: a multiple of [`GATHER`] after `start`.
fn next_time(start: Instant, sent_at: Instant) -> Instant {
    let since = sent_at.duration_since(start).as_nanos() % GATHER.as_nanos();
    sent_at + GATHER - Duration::from_nanos(u64::try_from(since).unwrap_or_default())
}

/// The bytes of the message that was sent last. When the next one is asked for, the follower has read it.
struct Room(Share<Holder>);

impl Room {
    /// Waits until there is room for the bytes of the next message.
    async fn take(&mut self, bytes: usize) {
        // Streams that wait for more while they hold some would wait for each other.
        self.0.resize(0);
        while !self.0.resize(bytes) {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::shares::Shares;

    #[test]
    fn streams_send_at_the_same_times() {
        let start = Instant::now();
        for (sent_at, next) in [(0, 25), (1, 25), (24, 25), (25, 50), (60_003, 60_025)] {
            let after = |millis| start + Duration::from_millis(millis);
            assert_eq!(next_time(start, after(sent_at)), after(next), "{sent_at}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn streams_do_not_wait_for_each_other_to_read() {
        let bytes = Shares::new(100);
        let mut rooms: Vec<_> = (0..5)
            .map(|_| Room(bytes.empty(Holder::Organization(Uuid::nil()))))
            .collect();
        for room in &mut rooms {
            room.take(10).await;
        }
        // One organization has half. All have read their messages, and the next ones are larger.
        let next = rooms.iter_mut().map(async |room| {
            room.take(20).await;
            // The follower reads it.
            room.take(0).await;
        });
        let all = futures_util::future::join_all(next);
        tokio::time::timeout(PAUSE * 100, all)
            .await
            .expect("room for each in turn");
    }
}
