//! Who is calling.

use std::{net::IpAddr, sync::Arc, time::Duration};

use moka::{Entry, future, sync};
use time::OffsetDateTime;

use super::{
    Service,
    audit::{self, Refusal},
    existing_keys::ExistingKeys,
    failed_keys::{FailedKeys, Strike},
    limits::{Account, Allowance},
};
use crate::{
    domain::{
        Cause, Error,
        api_key::{ApiKeyDigest, ApiKeySecret},
        id::{ApiKeyId, OrganizationId},
    },
    storage::{Database, KeyOwner},
    telemetry::metrics::KEY_LOOKUPS_BY_RESULT,
};

/// The most keys that are remembered, known and unknown ones: a flood of wrong keys costs no memory beyond it.
const REMEMBERED_KEYS: u64 = 10_000;
/// How long after its last use a key is looked at whatever else its address shows.
const PROVEN_FOR: Duration = Duration::from_secs(5 * 60);

/// Where a call comes from, for the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The id of the request.
    pub request_id: String,
    /// The address of the caller, where it is known.
    pub address: Option<IpAddr>,
}

/// Who calls: what a valid API key proves.
#[derive(Debug)]
pub struct Caller {
    /// The organization that the caller acts for.
    pub organization: OrganizationId,
    /// The key that the caller showed.
    pub key: ApiKeyId,
    /// Where the call comes from.
    pub origin: Origin,
    /// What is known of the key.
    pub(super) owner: Arc<KeyOwner>,
    pub(super) account: Account,
}

impl Caller {
    /// The limits of the caller's key, and what this call found left of them.
    pub fn allowances(&self) -> impl Iterator<Item = Allowance> {
        self.account.allowances()
    }
}

/// Looks keys up, and remembers what it found for a short while.
#[derive(Debug)]
pub(super) struct Keys {
    database: Database,
    remembered: future::Cache<ApiKeyDigest, Option<Arc<KeyOwner>>>,
    /// Keys that were good a moment ago.
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
        // On the heap: seldom needed, and as large as all else that a call holds.
        Box::pin(self.look_up(digest)).await
    }

    async fn look_up(&self, digest: ApiKeyDigest) -> Result<Option<Arc<KeyOwner>>, Error> {
        // Callers who ask for the same key at the same time share one look into the database.
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

    /// Whether a key was good a moment ago.
    fn is_proven(&self, digest: &ApiKeyDigest) -> bool {
        self.proven.get(digest).is_some()
    }

    /// Says whose key it is, or why it is refused.
    async fn judge(&self, digest: ApiKeyDigest, now: OffsetDateTime) -> Result<Result<Arc<KeyOwner>, Refusal>, Error> {
        let verdict = match self.owner(digest).await? {
            None => Err(Refusal::Unknown),
            Some(owner) if owner.revoked_at.is_some() => Err(Refusal::Revoked(owner)),
            Some(owner) if owner.expires_at.is_some_and(|expiry| expiry <= now) => Err(Refusal::Expired(owner)),
            Some(owner) => Ok(owner),
        };
        Ok(verdict)
    }
}

impl Service {
    /// Finds out who shows `api_key`.
    ///
    /// # Errors
    /// [`Error::MissingApiKey`], [`Error::InvalidApiKey`], [`Error::TooManyFailedKeys`], and [`Error::Unavailable`] when the
    /// database cannot tell.
    pub async fn authenticate(&self, api_key: Option<&str>, origin: Origin) -> Result<Caller, Error> {
        let given = api_key.filter(|key| !key.is_empty()).ok_or(Error::MissingApiKey)?;
        let Some(digest) = ApiKeySecret::parse(given).map(|secret| secret.digest()) else {
            self.failed_keys.admit(origin.address)?;
            return Err(self.refuse(Refusal::Malformed, &origin));
        };
        let is_proven = self.keys.is_proven(&digest);
        // Beyond its address's limit a key is still looked up if it exists: an attacker may share the address with others.
        if !is_proven && let Err(refusal) = self.failed_keys.admit_look_up(origin.address) {
            match Box::pin(self.keys.existing.contains(&digest)).await {
                Some(true) => {}
                Some(false) => return Err(refusal),
                None => {
                    return Err(Error::Unavailable(Cause::new(
                        "which API keys exist cannot be found out",
                    )));
                }
            }
        }
        let now = OffsetDateTime::now_utc();
        let unjudged = (!is_proven).then(|| Unjudged {
            failed_keys: &self.failed_keys,
            address: origin.address,
        });
        let verdict = self.keys.judge(digest, now).await;
        // It waited: whether the key is wrong is known, or that nobody can tell.
        std::mem::forget(unjudged);
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
                    account: self.limits.account(owner.key),
                    owner,
                })
            }
            Err(refusal) => {
                self.keys.proven.invalidate(&digest);
                Err(self.refuse(refusal, &origin))
            }
        }
    }

    /// What the caller learns of a key that is refused: the same whatever the reason.
    fn refuse(&self, refusal: Refusal, origin: &Origin) -> Error {
        let strike = self.failed_keys.strike(origin.address);
        if let Strike::Beyond { retry_after } = strike {
            return Error::TooManyFailedKeys { retry_after };
        }
        audit::api_key_refused(refusal, origin, &self.log_sampler);
        if strike == Strike::Last {
            audit::address_refused(origin.address, &self.log_sampler);
        }
        Error::InvalidApiKey
    }
}

/// A key that is being looked up. Who does not wait for what is found has shown a wrong one: else nothing would bound the
/// look-ups of those who never wait.
struct Unjudged<'a> {
    failed_keys: &'a FailedKeys,
    address: Option<IpAddr>,
}

impl Drop for Unjudged<'_> {
    fn drop(&mut self) {
        self.failed_keys.strike(self.address);
    }
}
