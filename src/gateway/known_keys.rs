//! Keys that were valid a moment ago: the bodies of their requests are read without asking the service first.
//!
//! Nothing but that follows from it. The service judges the key of every call.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use http::HeaderValue;
use moka::sync::Cache;

/// How long a key is remembered: as long as the service itself remembers one.
const REMEMBERED_FOR: Duration = Duration::from_secs(2);
/// The most keys that are remembered.
const REMEMBERED: u64 = 10_000;

/// The keys, by a hash that only this process can make.
#[derive(Debug, Clone)]
pub(super) struct KnownKeys {
    hasher: Arc<RandomState>,
    keys: Cache<u64, ()>,
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

    pub(super) fn is_known(&self, key: &HeaderValue) -> bool {
        self.keys.contains_key(&self.hasher.hash_one(key))
    }

    pub(super) fn remember(&self, key: &HeaderValue) {
        self.keys.insert(self.hasher.hash_one(key), ());
    }

    pub(super) fn forget(&self, key: &HeaderValue) {
        self.keys.invalidate(&self.hasher.hash_one(key));
    }
}
