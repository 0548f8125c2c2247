//! Authentication: who is calling.

use std::{net::IpAddr, sync::Arc, time::Duration};

use moka::{Entry, future, sync};
use time::OffsetDateTime;

use super::{
    Service,
    audit::{self, RejectedKey},
    existing_keys::ExistingKeys,
    failed_keys::{FailedAttempt, FailedKeys},
    limits::{Allowance, RateLimitHandle},
};
use crate::{
    domain::{
        Cause, Error,
        api_key::{ApiKeyDigest, ApiKeySecret, Scope},
        id::{ApiKeyId, OrganizationId},
    },
    storage::{Database, KeyOwner},
    telemetry::metrics::KEY_LOOKUPS_BY_RESULT,
};

/// The most keys that are remembered, valid or not. So a flood of invalid keys takes a bounded amount of memory.
const REMEMBERED_KEYS: u64 = 10_000;
/// How long after its last use a valid key is accepted whatever other keys come from its address.
const PROVEN_FOR: Duration = Duration::from_secs(5 * 60);

/// The origin of a call, for the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The id of the request.
    pub request_id: String,
    /// The address of the caller, if known.
    pub address: Option<IpAddr>,
}

/// The owner of the valid API key of a call.
#[derive(Debug)]
pub struct Caller {
    /// The organization of the key.
    pub organization: OrganizationId,
    /// The id of the key.
    pub key: ApiKeyId,
    /// The origin of the call.
    pub origin: Origin,
    /// The record of the key.
    pub(super) owner: Arc<KeyOwner>,
    pub(super) rate_limits: RateLimitHandle,
}

impl Caller {
    /// The rate limits of the key, and what is left of them.
    pub fn allowances(&self) -> impl Iterator<Item = Allowance> {
        self.rate_limits.allowances()
    }

    /// Checks that the key may make calls that need this scope.
    ///
    /// # Errors
    /// [`Error::ScopeMissing`].
    pub fn check_scope(&self, needed: Scope) -> Result<(), Error> {
        if self.owner.scope.includes(needed) {
            Ok(())
        } else {
            Err(Error::ScopeMissing)
        }
    }
}

/// Looks up keys, and remembers the results for a short time.
#[derive(Debug)]
pub(super) struct Keys {
    database: Database,
    remembered: future::Cache<ApiKeyDigest, Option<Arc<KeyOwner>>>,
    /// Keys that were valid a moment ago.
    proven: sync::Cache<ApiKeyDigest, ()>,
    existing: ExistingKeys,
}

impl Keys {
    pub(super) fn new(database: Database, ttl: Duration) -> Self {
        let remembered = future::Cache::builder()
            .max_capacity(REMEMBERED_KEYS)
            .time_to_live(ttl)
            .build();
        let proven = sync::Cache::builder()
            .max_capacity(REMEMBERED_KEYS)
            .time_to_idle(PROVEN_FOR)
            .build();
        Self {
            existing: ExistingKeys::new(database.clone()),
            database,
            remembered,
            proven,
        }
    }

    async fn owner(&self, digest: ApiKeyDigest) -> Result<Option<Arc<KeyOwner>>, Error> {
        if let Some(owner) = self.remembered.get(&digest).await {
            KEY_LOOKUPS_BY_RESULT.hits.increment(1);
            return Ok(owner);
        }
        // On the heap: it is rarely needed, and as large as everything else that a call holds.
        Box::pin(self.look_up(digest)).await
    }

    async fn look_up(&self, digest: ApiKeyDigest) -> Result<Option<Arc<KeyOwner>>, Error> {
        // Simultaneous calls with the same key share one query.
        let found = self
            .remembered
            .entry(digest)
            .or_try_insert_with(async {
                let owner = self.database.key_owner(&digest).await.map_err(Error::from)?;
                Ok::<_, Error>(owner.map(Arc::new))
            })
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

    /// Whether a key was valid a moment ago.
    fn is_proven(&self, digest: &ApiKeyDigest) -> bool {
        self.proven.get(digest).is_some()
    }

    /// Returns the owner of a key, or why the key is rejected.
    async fn check(
        &self,
        digest: ApiKeyDigest,
        now: OffsetDateTime,
    ) -> Result<Result<Arc<KeyOwner>, RejectedKey>, Error> {
        let verdict = match self.owner(digest).await? {
            None => Err(RejectedKey::Unknown),
            Some(owner) if owner.revoked_at.is_some() => Err(RejectedKey::Revoked(owner)),
            Some(owner) if owner.expires_at.is_some_and(|expiry| expiry <= now) => Err(RejectedKey::Expired(owner)),
            Some(owner) => Ok(owner),
        };
        Ok(verdict)
    }
}

impl Service {
    /// Finds the owner of `api_key`.
    ///
    /// # Errors
    /// [`Error::MissingApiKey`], [`Error::InvalidApiKey`], [`Error::TooManyFailedKeys`], and [`Error::Unavailable`] if the
    /// database cannot be read.
    pub async fn authenticate(&self, api_key: Option<&str>, origin: Origin) -> Result<Caller, Error> {
        let given = api_key.filter(|key| !key.is_empty()).ok_or(Error::MissingApiKey)?;
        let Some(digest) = ApiKeySecret::parse(given).map(|secret| secret.digest()) else {
            self.failed_keys.admit(origin.address)?;
            return Err(self.reject(RejectedKey::Malformed, &origin));
        };
        let is_proven = self.keys.is_proven(&digest);
        // Over the limit of its address, a key is still looked up if it exists: an attacker may share the address with others.
        if !is_proven && let Err(error) = self.failed_keys.admit_look_up(origin.address) {
            match Box::pin(self.keys.existing.contains(&digest)).await {
                Some(true) => {}
                Some(false) => return Err(error),
                None => {
                    return Err(Error::Unavailable(Cause::new(
                        "the list of existing API keys cannot be read",
                    )));
                }
            }
        }
        let now = OffsetDateTime::now_utc();
        let pending = (!is_proven).then(|| PendingLookUp {
            failed_keys: &self.failed_keys,
            address: origin.address,
        });
        let verdict = self.keys.check(digest, now).await;
        // The caller waited for the result.
        std::mem::forget(pending);
        match verdict? {
            Ok(owner) => {
                if !is_proven {
                    self.keys.proven.insert(digest, ());
                }
                self.key_usage.note(&owner, now);
                Ok(Caller {
                    organization: owner.organization,
                    key: owner.key,
                    origin,
                    rate_limits: self.rate_limiter.of_key(owner.key),
                    owner,
                })
            }
            Err(rejected) => {
                self.keys.proven.invalidate(&digest);
                Err(self.reject(rejected, &origin))
            }
        }
    }

    /// The error for a rejected key: the same whatever the reason.
    fn reject(&self, rejected: RejectedKey, origin: &Origin) -> Error {
        let attempt = self.failed_keys.count(origin.address);
        if let FailedAttempt::OverLimit { retry_after } = attempt {
            return Error::TooManyFailedKeys { retry_after };
        }
        audit::api_key_rejected(rejected, origin, &self.log_sampler);
        if attempt == FailedAttempt::Last {
            audit::address_locked_out(origin.address, &self.log_sampler);
        }
        Error::InvalidApiKey
    }
}

/// The look-up of a key. If its caller does not wait for the result, it counts as an invalid key: otherwise nothing would
/// bound the look-ups of callers that never wait.
struct PendingLookUp<'a> {
    failed_keys: &'a FailedKeys,
    address: Option<IpAddr>,
}

impl Drop for PendingLookUp<'_> {
    fn drop(&mut self) {
        self.failed_keys.count(self.address);
    }
}
