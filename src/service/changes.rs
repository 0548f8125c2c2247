//! Lists and follows the changes of an organization.

mod recent;
mod stream;
mod streams;

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::sync::{Mutex, Semaphore, watch};

use self::{recent::Recent, streams::Streams};
pub use self::{
    stream::{ChangeStream, WatchChangesRequest},
    streams::StreamSettings,
};
use super::{Caller, Service};
use crate::{
    domain::{
        Cause, Error,
        change::Revision,
        id::{HistoryId, OrganizationId},
    },
    shares::{Holder, Shares},
    storage::{ChangePage, ChangeRecord, Database, Names, PageLimits, Reads},
    supervision::{Supervisor, Tasks},
};

/// The largest page, in changes.
const MAX_PAGE_SIZE: usize = 1_000;
/// The size of a page whose request does not name one, in changes.
const DEFAULT_PAGE_SIZE: usize = 100;
/// The largest page, in bytes of the response. A single change may be larger.
pub const MAX_PAGE_BYTES: usize = 1024 * 1024;
/// The longest wait for the first change.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// How long before the deadline of a call a wait ends, so that the response arrives in time.
const WAIT_MARGIN: Duration = Duration::from_millis(500);

/// How often the newest revisions of the followed organizations are read. It is the longest time after which followers learn of
/// what another instance has committed.
const READ_HEADS_EVERY: Duration = Duration::from_millis(500);
/// How many of these reads go by between two checks of the keys that have streams.
const READS_BETWEEN_KEY_CHECKS: u32 = 2;

/// The most bytes that the messages of all streams hold until they are read.
const MAX_STREAM_BYTES: usize = 32 * 1024 * 1024;
/// The most reads for streams at the same time: half of the connections for reads, so that the reads of calls need not wait until many
/// streams have begun.
const MAX_STREAM_READS: usize = 2;
/// The most organizations whose latest changes are kept in memory: up to about 300 KiB for each.
const MAX_RECENT: u64 = 200;
/// How long they are kept after they were last needed.
const KEEP_RECENT: Duration = Duration::from_secs(60);

/// A change, and the current names of what is in it, if they are wanted. Clones share its message.
#[derive(Debug, Clone)]
pub struct NamedChange {
    /// The change.
    pub change: Arc<ChangeRecord>,
    /// The names, and possibly others.
    pub names: Arc<Names>,
    /// The change as an API sends it to followers.
    message: Arc<OnceLock<Arc<[u8]>>>,
}

impl NamedChange {
    /// A change with names.
    pub fn new(change: Arc<ChangeRecord>, names: Arc<Names>) -> Self {
        let message = Arc::default();
        Self { change, names, message }
    }

    /// The change as an API sends it to followers. It is encoded once for all of them.
    ///
    /// # Errors
    /// Those of `encode`.
    pub fn message(&self, encode: impl FnOnce() -> Result<Vec<u8>, Error>) -> Result<Arc<[u8]>, Error> {
        if let Some(message) = self.message.get() {
            return Ok(Arc::clone(message));
        }
        let message = encode()?;
        Ok(Arc::clone(self.message.get_or_init(|| message.into())))
    }

    /// The most bytes that it takes in a message.
    fn bytes(&self) -> usize {
        let ids = if self.names.is_empty() {
            Vec::new()
        } else {
            ids([&*self.change])
        };
        let names = ids.iter().filter_map(|id| self.names.get(id));
        self.change.bytes() + names.map(|name| name.len() + 48).sum::<usize>()
    }
}

/// Consecutive changes of an organization.
#[derive(Debug, Clone)]
pub struct ChangeBatch {
    /// The history that the revisions belong to.
    pub history: HistoryId,
    /// The newest revision when they were read.
    pub head: Revision,
    /// The changes; none if there is nothing new.
    pub changes: Vec<NamedChange>,
}

/// What `ListChanges` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListChangesRequest {
    /// The revision before the first change.
    pub after: Revision,
    /// The history that this revision belongs to; empty for the current one.
    pub history: String,
    /// The most changes; 0 for the default.
    pub page_size: usize,
    /// Whether to add names.
    pub include_names: bool,
    /// How long to wait for the first change.
    pub wait: Duration,
}

/// What lists and streams share.
#[derive(Debug)]
pub(super) struct Changes {
    database: Database,
    reads: Reads,
    streams: Arc<Streams>,
    /// The latest changes of organizations that are followed, so that their streams share what is read.
    recent: Cache<OrganizationId, Arc<Mutex<Recent>>>,
    /// The bytes that the messages of streams hold.
    bytes: Shares<Holder>,
    /// Permits for reads.
    turns: Semaphore,
    /// When the service started: streams send at multiples of some time after it.
    started: Instant,
    /// Whether the service stops.
    stop: watch::Sender<bool>,
    /// The task ends when this is dropped.
    _watching: Tasks,
}

impl Changes {
    pub(super) fn start(database: Database, reads: Reads, settings: StreamSettings, supervisor: &Supervisor) -> Self {
        let streams = Arc::new(Streams::new(settings));
        let mut watching = Tasks::new(supervisor);
        watching.keep_running("changes", {
            let (database, streams) = (database.clone(), Arc::clone(&streams));
            move || keep_reading(database.clone(), Arc::clone(&streams))
        });
        Self {
            database,
            reads,
            streams,
            recent: Cache::builder()
                .max_capacity(MAX_RECENT)
                .eviction_policy(EvictionPolicy::lru())
                .time_to_idle(KEEP_RECENT)
                .build(),
            bytes: Shares::new(MAX_STREAM_BYTES),
            turns: Semaphore::new(MAX_STREAM_READS),
            started: Instant::now(),
            stop: watch::Sender::new(false),
            _watching: watching,
        }
    }

    /// Ends all streams and waits: the service stops.
    pub(super) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Reads a page, and checks that the request can go on from there.
    async fn page(
        &self,
        organization: OrganizationId,
        after: Revision,
        history: &str,
        limits: PageLimits,
    ) -> Result<ChangePage, Error> {
        let page = self.reads.changes(organization, after, limits).await?;
        if !history.is_empty() && page.history.to_string() != history {
            return Err(Error::ChangesExpired);
        }
        if after > page.head {
            return Err(Error::RevisionInFuture { current: page.head });
        }
        Ok(page)
    }

    /// Reads a page for a stream.
    async fn page_for_stream(
        &self,
        organization: OrganizationId,
        after: Revision,
        history: &str,
        limits: PageLimits,
    ) -> Result<ChangePage, Error> {
        let turn = self.turns.acquire().await;
        let _turn = turn.map_err(|closed| Error::Internal(Cause::new(closed)))?;
        self.page(organization, after, history, limits).await
    }

    /// Adds names to changes.
    async fn named(
        &self,
        organization: OrganizationId,
        page: ChangePage,
        include_names: bool,
    ) -> Result<ChangeBatch, Error> {
        let names = if include_names {
            self.reads.names(organization, ids(&page.changes)).await?
        } else {
            Names::new()
        };
        let names = Arc::new(names);
        let named = |change| NamedChange::new(Arc::new(change), Arc::clone(&names));
        Ok(ChangeBatch {
            history: page.history,
            head: page.head,
            changes: page.changes.into_iter().map(named).collect(),
        })
    }
}

/// The ids in changes, each once.
fn ids<'a>(changes: impl IntoIterator<Item = &'a ChangeRecord>) -> Vec<uuid::Uuid> {
    let mut ids: Vec<_> = changes.into_iter().flat_map(ChangeRecord::ids).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Reads the newest revisions of followed organizations, and whether the keys of their followers are revoked. One query for all
/// of them; none if nobody follows.
async fn keep_reading(database: Database, streams: Arc<Streams>) {
    for read in 0_u32.. {
        tokio::time::sleep(READ_HEADS_EVERY).await;
        if let Err(error) = database.read_heads().await {
            tracing::debug!(%error, "the newest revisions cannot be read");
        }
        if read.is_multiple_of(READS_BETWEEN_KEY_CHECKS)
            && let Err(error) = streams.check_keys(&database).await
        {
            tracing::debug!(%error, "the keys of streams cannot be checked");
        }
    }
}

impl Service {
    /// Ends all streams of changes, and rejects further ones: the service stops. Each follower learns which revision to go on
    /// from.
    pub fn end_streams(&self) {
        self.changes.stop();
    }

    /// Lists changes. Waits for the first one if the request asks for that.
    ///
    /// # Errors
    /// [`Error::ChangesExpired`], [`Error::RevisionInFuture`], [`Error::Unavailable`] if the database cannot be read, and while
    /// it waits [`Error::TooManyStreams`] and [`Error::InvalidApiKey`].
    pub async fn list_changes(
        &self,
        caller: &Caller,
        request: &ListChangesRequest,
        deadline: Instant,
    ) -> Result<ChangeBatch, Error> {
        let limits = PageLimits {
            changes: match request.page_size {
                0 => DEFAULT_PAGE_SIZE,
                size => size.min(MAX_PAGE_SIZE),
            },
            bytes: MAX_PAGE_BYTES,
        };
        let changes = &self.changes;
        let organization = caller.organization;
        // Before the log is read, so that no change is missed in between.
        let followed = (!request.wait.is_zero()).then(|| changes.database.follow(organization));
        let mut page = changes
            .page(organization, request.after, &request.history, limits)
            .await?;
        if let Some(followed) = followed
            && page.changes.is_empty()
        {
            let permit = changes.streams.enter(caller)?;
            let latest = deadline.checked_sub(WAIT_MARGIN).unwrap_or(deadline);
            let until = latest.min(Instant::now() + request.wait.min(MAX_WAIT));
            let mut stop = changes.stop.subscribe();
            tokio::select! {
                () = followed.changed_since(page.history, page.head) => {}
                () = tokio::time::sleep_until(until.into()) => {}
                _ = stop.wait_for(|stop| *stop) => {}
                () = permit.key_ended() => return Err(Error::InvalidApiKey),
            }
            let history = page.history.to_string();
            page = changes.page(organization, request.after, &history, limits).await?;
        }
        changes.named(organization, page, request.include_names).await
    }
}
