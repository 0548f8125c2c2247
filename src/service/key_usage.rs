//! That keys are used: stored now and then, off the way of calls, and looked at for keys that are about to expire.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use moka::sync::Cache;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::task::JoinSet;

use crate::{
    domain::id::ApiKeyId,
    storage::{Database, KeyOwner, KeyUse},
};

/// Keys whose use is stored by one statement.
const BATCH: usize = 1_000;
/// How long storing may take before it is given up, to be tried again later.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take when the service stops.
const LAST_PATIENCE: Duration = Duration::from_millis(1_000);
/// How often the log warns of one key.
const WARN_EVERY: Duration = Duration::from_secs(24 * 3_600);
/// The most keys of which is known that they were warned of.
const WARNED: u64 = 100_000;

/// How the use of keys is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUsageSettings {
    /// How often the last use of keys is stored.
    pub interval: Duration,
    /// How long before its end the log begins to warn of a key that is used; zero is never.
    pub expiry_warning: Duration,
}

impl Default for KeyUsageSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            expiry_warning: Duration::from_secs(14 * 24 * 3_600),
        }
    }
}

/// What is known of the use of keys, and the task that stores it.
#[derive(Debug)]
pub(super) struct KeyUsage {
    settings: KeyUsageSettings,
    unstored: Arc<Unstored>,
    warned: Cache<ApiKeyId, ()>,
    /// Ends when it is dropped.
    _storing: JoinSet<()>,
}

/// Uses that are not stored yet.
#[derive(Debug)]
struct Unstored {
    database: Database,
    uses: Mutex<HashMap<ApiKeyId, KeyUse>>,
}

impl KeyUsage {
    pub(super) fn start(database: Database, settings: KeyUsageSettings) -> Self {
        let unstored = Arc::new(Unstored {
            database,
            uses: Mutex::default(),
        });
        let mut storing = JoinSet::new();
        storing.spawn({
            let unstored = Arc::clone(&unstored);
            async move {
                loop {
                    tokio::time::sleep(settings.interval).await;
                    unstored.store(PATIENCE).await;
                }
            }
        });
        let warned = Cache::builder().max_capacity(WARNED).time_to_live(WARN_EVERY).build();
        Self {
            settings,
            unstored,
            warned,
            _storing: storing,
        }
    }

    /// Notes that a key was used.
    pub(super) fn note(&self, owner: &KeyOwner, now: OffsetDateTime) {
        self.unstored.uses().insert(
            owner.key,
            KeyUse {
                organization: owner.organization,
                key: owner.key,
                at: now.replace_nanosecond(0).unwrap_or(now),
            },
        );
        if let Some(expires_at) = owner.expires_at
            && expires_at - now <= self.settings.expiry_warning
            && !self.settings.expiry_warning.is_zero()
            && self.warned.entry(owner.key).or_insert(()).is_fresh()
        {
            tracing::warn!(
                key = %owner.key,
                organization = %owner.organization,
                expires_at = expires_at.format(&Rfc3339).ok(),
                "an API key that is used expires soon; create another one for its owner"
            );
        }
    }

    /// Stores what is not stored yet, if the database lets it.
    pub(super) async fn close(&self) {
        self.unstored.store(LAST_PATIENCE).await;
    }
}

impl Unstored {
    /// What cannot be stored is kept for the next time.
    async fn store(&self, patience: Duration) {
        let uses: Vec<KeyUse> = self.uses().values().copied().collect();
        for batch in uses.chunks(BATCH) {
            let problem = match tokio::time::timeout(patience, self.database.use_keys(batch)).await {
                Ok(Ok(())) => {
                    let mut left = self.uses();
                    for stored in batch {
                        if left.get(&stored.key) == Some(stored) {
                            left.remove(&stored.key);
                        }
                    }
                    continue;
                }
                Ok(Err(failure)) => failure.to_string(),
                Err(_elapsed) => "the database did not answer in time".to_owned(),
            };
            tracing::warn!(problem, "the last use of API keys is not stored yet");
            return;
        }
    }

    fn uses(&self) -> MutexGuard<'_, HashMap<ApiKeyId, KeyUse>> {
        // Nothing panics while it holds the lock.
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
