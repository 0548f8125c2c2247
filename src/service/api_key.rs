//! Management of API keys.

use std::time::Duration;

use time::OffsetDateTime;

use super::{audit, organization::find_organization};
use crate::{
    domain::{
        Cause, Error,
        api_key::{ApiKeySecret, Scope},
        id::ApiKeyId,
        organization::ApiKeyLabel,
    },
    storage::{ApiKeyRecord, Database, RevokedKey},
};

/// A new key. Its text is known only now.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// The key itself, for its owner.
    pub secret: ApiKeySecret,
    /// What is stored of it.
    pub record: ApiKeyRecord,
}

/// Creates a key for the organization of this name.
///
/// # Errors
/// [`Error::NotFound`] when there is no such organization.
pub async fn create_api_key(
    database: &Database,
    organization: &str,
    label: &ApiKeyLabel,
    scope: Scope,
    expires_in: Option<Duration>,
) -> Result<NewApiKey, Error> {
    let organization = find_organization(database, organization).await?;
    let expires_at = expires_in.map(expiry).transpose()?;
    let secret = ApiKeySecret::from_random(rand::random());
    let record = database
        .create_api_key(
            organization.id,
            secret.digest(),
            secret.hint(),
            label.as_str(),
            scope,
            expires_at,
        )
        .await?;
    audit::api_key_created(&record);
    Ok(NewApiKey { secret, record })
}

fn expiry(lifetime: Duration) -> Result<OffsetDateTime, Error> {
    time::Duration::try_from(lifetime)
        .ok()
        .and_then(|lifetime| OffsetDateTime::now_utc().checked_add(lifetime))
        .ok_or_else(|| Error::Internal(Cause::new("the key would expire beyond the calendar")))
}

/// The keys of the organization of this name, oldest first.
///
/// # Errors
/// [`Error::NotFound`] when there is no such organization.
pub async fn api_keys(database: &Database, organization: &str) -> Result<Vec<ApiKeyRecord>, Error> {
    let organization = find_organization(database, organization).await?;
    Ok(database.api_keys(organization.id).await?)
}

/// Revokes a key. Revoking it again changes nothing, and is not in the audit log.
///
/// # Errors
/// [`Error::NotFound`] when there is no such key.
pub async fn revoke_api_key(database: &Database, id: ApiKeyId) -> Result<RevokedKey, Error> {
    let revoked = database
        .revoke_api_key(id)
        .await?
        .ok_or_else(|| Error::NotFound(format!("There is no API key with the id {id}")))?;
    if revoked.is_new {
        audit::api_key_revoked(&revoked.record);
    }
    Ok(revoked)
}
