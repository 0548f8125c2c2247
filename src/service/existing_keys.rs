//! Which keys exist, as far as memory allows: asked when an address has shown too many wrong keys, so that a neighbour of an
//! attacker is let in and the attacker costs the database next to nothing.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::sync::watch;

use crate::{
    domain::api_key::ApiKeyDigest,
    storage::{Database, DatabaseError},
};

/// The most keys that are known to exist. Eight bytes each, so 800 KB. Of more keys, the newest are known.
const MAX_KEYS: u32 = 100_000;
/// How long the database is left alone after it was asked.
const PAUSE: Duration = Duration::from_secs(2);

/// The keys that exist, as they were when the database was last asked.
#[derive(Debug)]
pub(super) struct ExistingKeys {
    database: Database,
    list: Arc<watch::Sender<List>>,
}

#[derive(Debug, Default)]
struct List {
    /// The beginnings of their digests, sorted. To find another key with the same beginning takes 2^64 attempts over the
    /// number of keys, and gains one look-up.
    prefixes: Vec<u64>,
    is_loading: bool,
    /// Whether the database could not be read when it was last asked.
    has_failed: bool,
    /// When the database last answered, or failed to.
    asked: Option<Instant>,
}

impl ExistingKeys {
    pub(super) fn new(database: Database) -> Self {
        let list = Arc::default();
        Self { database, list }
    }

    /// Whether this key exists; `None` when the database could not be read, and the last list does not have it. It need not be
    /// valid any more. A key that was created within [`PAUSE`] may be missing.
    pub(super) async fn contains(&self, digest: &ApiKeyDigest) -> Option<bool> {
        let mut list = self.list.subscribe();
        if list.borrow().contains(digest) {
            return Some(true);
        }
        if self.list.send_if_modified(|list| list.begin_loading(Instant::now())) {
            // In a task of its own: callers who go away must not keep the others from the list.
            tokio::spawn(load(self.database.clone(), Arc::clone(&self.list)));
        }
        let list = list.wait_for(|list| !list.is_loading).await.ok()?;
        match list.contains(digest) {
            false if list.has_failed => None,
            found => Some(found),
        }
    }
}

async fn load(database: Database, list: Arc<watch::Sender<List>>) {
    let loaded = AssertUnwindSafe(database.newest_digests(MAX_KEYS)).catch_unwind().await;
    // A panic counts as a failure: callers wait for the end of this.
    let loaded = loaded.unwrap_or(Err(DatabaseError::Panicked));
    let loaded = loaded.map(|digests| {
        let mut prefixes: Vec<u64> = digests.iter().filter_map(|digest| prefix(digest)).collect();
        prefixes.sort_unstable();
        prefixes
    });
    if let Err(failure) = &loaded {
        tracing::warn!(%failure, "which API keys exist cannot be found out");
    }
    list.send_modify(|list| list.finish_loading(loaded.ok(), Instant::now()));
}

impl List {
    fn contains(&self, digest: &ApiKeyDigest) -> bool {
        prefix(digest).is_some_and(|prefix| self.prefixes.binary_search(&prefix).is_ok())
    }

    /// Whether the caller has to load the list now: nobody else does, and nobody did a moment ago.
    fn begin_loading(&mut self, now: Instant) -> bool {
        let is_due = self.asked.is_none_or(|asked| now.duration_since(asked) >= PAUSE);
        let begins = is_due && !self.is_loading;
        self.is_loading |= begins;
        begins
    }

    /// A list that could not be loaded leaves the one before it.
    fn finish_loading(&mut self, prefixes: Option<Vec<u64>>, now: Instant) {
        self.has_failed = prefixes.is_none();
        if let Some(prefixes) = prefixes {
            self.prefixes = prefixes;
        }
        self.is_loading = false;
        self.asked = Some(now);
    }
}

/// The first eight bytes of a digest.
fn prefix(digest: &[u8]) -> Option<u64> {
    digest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_loaded_by_one_and_then_left_alone() {
        let mut list = List::default();
        let start = Instant::now();
        assert!(list.begin_loading(start));
        // However long it takes.
        assert!(!list.begin_loading(start + 10 * PAUSE));
        let loaded = start + 11 * PAUSE;
        list.finish_loading(Some(vec![1]), loaded);
        assert!(!list.begin_loading(loaded));
        assert!(!list.begin_loading(loaded + PAUSE - Duration::from_nanos(1)));
        assert!(list.begin_loading(loaded + PAUSE));
    }

    #[test]
    fn a_list_that_cannot_be_loaded_leaves_the_one_before() {
        let mut list = List::default();
        let key: ApiKeyDigest = [7; 32];
        assert!(!list.contains(&key));
        let now = Instant::now();
        list.finish_loading(Some(prefix(&key).into_iter().collect()), now);
        list.finish_loading(None, now);
        assert!(list.contains(&key));
        assert!(!list.contains(&[8; 32]));
        assert!(!list.begin_loading(now), "a failure is no reason to ask at once again");
        list.finish_loading(Some(Vec::new()), now);
        assert!(!list.contains(&key));
    }
}
