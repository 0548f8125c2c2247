//! Keys that were valid a moment ago. The gateway reads the bodies of their requests without a call to the service first.
//!
//! This is not authentication: the service checks the key of every call.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use moka::sync::Cache;

/// How long a key is remembered: as long as in the service itself.
const REMEMBERED_FOR: Duration = Duration::from_secs(2);
/// The most keys that are remembered.
const REMEMBERED: u64 = 10_000;

/// The keys, stored as hashes that only this process can compute.
#[derive(Debug, Clone)]
pub(super) struct KnownKeys {
    hasher: Arc<RandomState>,
    /// Whether each may write.
    keys: Cache<u64, bool>,
}

impl KnownKeys {
    pub(super) fn new() -> Self {
        let keys = Cache::builder()
            .max_capacity(REMEMBERED)
            .time_to_live(REMEMBERED_FOR)
            .build();
        Self {
            hasher: Arc::default(),
            keys,
        }
    }

    /// Whether a key that is known may write.
    pub(super) fn may_write(&self, key: &[u8]) -> Option<bool> {
        self.keys.get(&self.hasher.hash_one(key))
    }

    pub(super) fn remember(&self, key: &[u8], may_write: bool) {
        self.keys.insert(self.hasher.hash_one(key), may_write);
    }

    pub(super) fn forget(&self, key: &[u8]) {
        self.keys.invalidate(&self.hasher.hash_one(key));
    }
}
