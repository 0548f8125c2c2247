//! Who is calling.

use std::time::Duration;

use moka::{Entry, future::Cache};
use time::OffsetDateTime;

use super::Service;
use crate::{
    domain::{
        Error,
        api_key::{ApiKeyDigest, ApiKeySecret},
        id::{ApiKeyId, OrganizationId},
    },
    storage::{Database, KeyOwner},
    telemetry::metrics::KEY_LOOKUPS_BY_RESULT,
};

/// The most keys that are remembered, known and unknown ones: a flood of wrong keys costs no memory beyond it.
const REMEMBERED_KEYS: u64 = 10_000;

/// Who calls: what a valid API key proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The organization that the caller acts for.
    pub organization: OrganizationId,
    /// The key that the caller showed.
    pub key: ApiKeyId,
}

/// Looks keys up, and remembers what it found for a short while.
#[derive(Debug)]
pub(super) struct Keys {
    database: Database,
    remembered: Cache<ApiKeyDigest, Option<KeyOwner>>,
}

impl Keys {
    pub(super) fn new(database: Database, ttl: Duration) -> Self {
        let remembered = Cache::builder().max_capacity(REMEMBERED_KEYS).time_to_live(ttl).build();
        Self { database, remembered }
    }

    async fn owner(&self, key: &ApiKeySecret) -> Result<Option<KeyOwner>, Error> {
        let digest = key.digest();
        // Callers who ask for the same key at the same time share one look into the database.
        let found = self
            .remembered
            .entry(digest)
            .or_try_insert_with(async { self.database.key_owner(&digest).await.map_err(Error::from) })
            .await;
        let lookups = &KEY_LOOKUPS_BY_RESULT;
        match found {
            Ok(entry) if !entry.is_fresh() => {
                lookups.hits.increment(1);
                Ok(entry.into_value())
            }
            found => {
                lookups.misses.increment(1);
                found.map(Entry::into_value).map_err(|error| (*error).clone())
            }
        }
    }
}

impl Service {
    /// Finds out who shows `api_key`.
    ///
    /// # Errors
    /// [`Error::MissingApiKey`], [`Error::InvalidApiKey`], and [`Error::Unavailable`] when the database cannot tell.
    pub async fn authenticate(&self, api_key: Option<&str>) -> Result<Caller, Error> {
        let given = api_key.filter(|key| !key.is_empty()).ok_or(Error::MissingApiKey)?;
        let secret = ApiKeySecret::parse(given).ok_or(Error::InvalidApiKey)?;
        let owner = self.keys.owner(&secret).await?.ok_or(Error::InvalidApiKey)?;
        if owner
            .expires_at
            .is_some_and(|expiry| expiry <= OffsetDateTime::now_utc())
        {
            return Err(Error::InvalidApiKey);
        }
        Ok(Caller {
            organization: owner.organization,
            key: owner.key,
        })
    }
}
