//! The streams that are open: how many there may be, and whether their keys are still valid.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::sync::watch;

use crate::{
    domain::{
        Error, StreamScope,
        id::{ApiKeyId, OrganizationId},
    },
    service::Caller,
    shares::{Share, Shares},
    storage::{Database, DatabaseError},
    telemetry::metrics::STREAMS,
};

/// How many streams of changes may be open. A call that waits for a change counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSettings {
    /// Of one API key.
    pub max_of_key: usize,
    /// In all. An organization may have at most as many as are still free, so half of them if it is alone.
    pub max: usize,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            max_of_key: 16,
            max: 1_000,
        }
    }
}

/// The open streams.
#[derive(Debug)]
pub(super) struct Streams {
    settings: StreamSettings,
    shares: Shares<OrganizationId>,
    /// Only keys with streams.
    keys: Mutex<HashMap<ApiKeyId, OfKey>>,
}

#[derive(Debug)]
struct OfKey {
    organization: OrganizationId,
    count: usize,
    is_revoked: watch::Sender<bool>,
}

/// The permit of one stream, until it is dropped.
#[derive(Debug)]
pub(super) struct StreamPermit {
    streams: Arc<Streams>,
    key: ApiKeyId,
    _share: Share<OrganizationId>,
    is_revoked: watch::Receiver<bool>,
    expires_at: Option<OffsetDateTime>,
}

impl Streams {
    pub(super) fn new(settings: StreamSettings) -> Self {
        Self {
            settings,
            shares: Shares::new(settings.max),
            keys: Mutex::default(),
        }
    }

    /// Permits `caller` one more stream.
    ///
    /// # Errors
    /// [`Error::TooManyStreams`].
    pub(super) fn enter(self: &Arc<Self>, caller: &Caller) -> Result<StreamPermit, Error> {
        let StreamSettings { max_of_key, max } = self.settings;
        let Some(share) = self.shares.take(caller.organization, 1) else {
            let scope = StreamScope::Instance;
            return Err(Error::TooManyStreams { limit: max, scope });
        };
        let is_revoked = match self.keys().entry(caller.key) {
            Entry::Occupied(mut of_key) if of_key.get().count < max_of_key => {
                of_key.get_mut().count += 1;
                of_key.get().is_revoked.subscribe()
            }
            Entry::Vacant(entry) if max_of_key > 0 => {
                let of_key = OfKey {
                    organization: caller.organization,
                    count: 1,
                    is_revoked: watch::Sender::new(false),
                };
                entry.insert(of_key).is_revoked.subscribe()
            }
            _ => {
                let scope = StreamScope::ApiKey;
                return Err(Error::TooManyStreams {
                    limit: max_of_key,
                    scope,
                });
            }
        };
        STREAMS.open.increment(1);
        Ok(StreamPermit {
            streams: Arc::clone(self),
            key: caller.key,
            _share: share,
            is_revoked,
            expires_at: caller.owner.expires_at,
        })
    }

    /// Ends the streams whose keys are revoked: one query for all keys.
    pub(super) async fn check_keys(&self, database: &Database) -> Result<(), DatabaseError> {
        let keys: Vec<_> = self
            .keys()
            .iter()
            .map(|(key, of_key)| (of_key.organization, *key))
            .collect();
        if keys.is_empty() {
            return Ok(());
        }
        let revoked = database.revoked_keys(keys).await?;
        let keys = self.keys();
        for of_key in revoked.iter().filter_map(|key| keys.get(key)) {
            of_key.is_revoked.send_replace(true);
        }
        Ok(())
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<ApiKeyId, OfKey>> {
        // Nothing panics while it holds the lock.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamPermit {
    /// Returns when the key is revoked or expires.
    pub(super) async fn key_ended(&self) {
        let mut is_revoked = self.is_revoked.clone();
        let expired = async {
            match self.expires_at {
                Some(expires_at) => {
                    let left = Duration::try_from(expires_at - OffsetDateTime::now_utc()).unwrap_or_default();
                    tokio::time::sleep(left).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = is_revoked.wait_for(|is_revoked| *is_revoked) => {}
            () = expired => {}
        }
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        if let Entry::Occupied(mut of_key) = self.streams.keys().entry(self.key) {
            of_key.get_mut().count -= 1;
            if of_key.get().count == 0 {
                of_key.remove();
            }
        }
        STREAMS.open.decrement(1);
    }
}
