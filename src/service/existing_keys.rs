//! The list of existing keys, within bounds. It is consulted when an address has sent too many invalid keys: valid keys from
//! the same address still work, and an attacker costs the database almost nothing.

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

/// The most keys in the list, eight bytes each: 800 KB. If there are more keys, the list has the newest.
const MAX_KEYS: u32 = 100_000;
/// The shortest time between two queries for the list.
const PAUSE: Duration = Duration::from_secs(2);

/// The existing keys, as of the last query.
#[derive(Debug)]
pub(super) struct ExistingKeys {
    database: Database,
    list: Arc<watch::Sender<List>>,
}

#[derive(Debug, Default)]
struct List {
    /// The first bytes of their digests, sorted. To find another key with the same first bytes takes 2^64 attempts divided by
    /// the number of keys, and gains one look-up.
    prefixes: Vec<u64>,
    is_loading: bool,
    /// Whether the last query failed.
    has_failed: bool,
    /// When the last query ended.
    asked: Option<Instant>,
}

impl ExistingKeys {
    pub(super) fn new(database: Database) -> Self {
        let list = Arc::default();
        Self { database, list }
    }

    /// Whether this key exists, valid or not. `None` if the database cannot be read and the last list does not have the key. A
    /// key that was created within [`PAUSE`] may be missing.
    pub(super) async fn contains(&self, digest: &ApiKeyDigest) -> Option<bool> {
        let mut list = self.list.subscribe();
        if list.borrow().contains(digest) {
            return Some(true);
        }
        if self.list.send_if_modified(|list| list.begin_loading(Instant::now())) {
            // In a separate task: a caller that goes away must not stop the query that others wait for.
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
    // A panic counts as a failure, because callers wait for the end of the query.
    let loaded = loaded.unwrap_or(Err(DatabaseError::Panicked));
    let loaded = loaded.map(|digests| {
        let mut prefixes: Vec<u64> = digests.iter().filter_map(|digest| prefix(digest)).collect();
        prefixes.sort_unstable();
        prefixes
    });
    if let Err(failure) = &loaded {
        tracing::warn!(%failure, "the list of existing API keys cannot be read");
    }
    list.send_modify(|list| list.finish_loading(loaded.ok(), Instant::now()));
}

impl List {
    fn contains(&self, digest: &ApiKeyDigest) -> bool {
        prefix(digest).is_some_and(|prefix| self.prefixes.binary_search(&prefix).is_ok())
    }

    /// Whether the caller has to load the list: nobody else is loading it, and it is older than [`PAUSE`].
    fn begin_loading(&mut self, now: Instant) -> bool {
        let is_due = self.asked.is_none_or(|asked| now.duration_since(asked) >= PAUSE);
        let begins = is_due && !self.is_loading;
        self.is_loading |= begins;
        begins
    }

    /// If the query failed, the previous list stays.
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
    fn one_caller_loads_the_list_and_not_too_often() {
        let mut list = List::default();
        let start = Instant::now();
        assert!(list.begin_loading(start));
        // However long the query takes.
        assert!(!list.begin_loading(start + 10 * PAUSE));
        let loaded = start + 11 * PAUSE;
        list.finish_loading(Some(vec![1]), loaded);
        assert!(!list.begin_loading(loaded));
        assert!(!list.begin_loading(loaded + PAUSE - Duration::from_nanos(1)));
        assert!(list.begin_loading(loaded + PAUSE));
    }

    #[test]
    fn the_previous_list_stays_when_a_query_fails() {
        let mut list = List::default();
        let key: ApiKeyDigest = [7; 32];
        assert!(!list.contains(&key));
        let now = Instant::now();
        list.finish_loading(Some(prefix(&key).into_iter().collect()), now);
        list.finish_loading(None, now);
        assert!(list.contains(&key));
        assert!(!list.contains(&[8; 32]));
        assert!(!list.begin_loading(now), "the next query waits after a failure, too");
        list.finish_loading(Some(Vec::new()), now);
        assert!(!list.contains(&key));
    }
}
