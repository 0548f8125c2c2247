//! Records when keys were last used, and warns of keys that expire soon. The times are stored periodically, outside of calls.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    domain::id::ApiKeyId,
    storage::{Database, KeyOwner, KeyUse},
    supervision::{Supervisor, Tasks},
};
use moka::sync::Cache;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The most keys in one statement.
const BATCH: usize = 1_000;
/// The timeout of storing. What is not stored is tried again later.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout when the service stops.
const LAST_TIMEOUT: Duration = Duration::from_millis(1_000);
/// How often the log warns about one key.
const WARN_EVERY: Duration = Duration::from_secs(24 * 3_600);
/// The most keys that the warnings remember.
const WARNED: u64 = 100_000;

/// The settings for the use of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUsageSettings {
    /// How often the times of the last use are stored.
    pub interval: Duration,
    /// How long before a key expires the log warns about its use. Zero: never.
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

/// The uses of keys, and the task that stores them.
#[derive(Debug)]
pub(super) struct KeyUsage {
    settings: KeyUsageSettings,
    unstored: Arc<Unstored>,
    warned: Cache<ApiKeyId, ()>,
    /// The task ends when this is dropped.
    _storing: Tasks,
}

/// Uses that are not stored yet.
#[derive(Debug)]
struct Unstored {
    database: Database,
    uses: Mutex<HashMap<ApiKeyId, KeyUse>>,
}

impl KeyUsage {
    pub(super) fn start(database: Database, settings: KeyUsageSettings, supervisor: &Supervisor) -> Self {
        let unstored = Arc::new(Unstored {
            database,
            uses: Mutex::default(),
        });
        let mut storing = Tasks::new(supervisor);
        storing.keep_running("key_usage", {
            let unstored = Arc::clone(&unstored);
            move || keep_storing(Arc::clone(&unstored), settings.interval)
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

    /// Stores the uses that are not stored yet, if possible.
    pub(super) async fn close(&self) {
        self.unstored.store(LAST_TIMEOUT).await;
    }
}

async fn keep_storing(unstored: Arc<Unstored>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        unstored.store(TIMEOUT).await;
    }
}

impl Unstored {
    /// Uses that cannot be stored are kept for the next time.
    async fn store(&self, timeout: Duration) {
        let uses: Vec<KeyUse> = self.uses().values().copied().collect();
        for batch in uses.chunks(BATCH) {
            let problem = match tokio::time::timeout(timeout, self.database.use_keys(batch)).await {
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
            tracing::warn!(
                problem,
                "the last use of API keys could not be stored; it is tried again"
            );
            return;
        }
    }

    fn uses(&self) -> MutexGuard<'_, HashMap<ApiKeyId, KeyUse>> {
        // Nothing panics while it holds the lock.
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
