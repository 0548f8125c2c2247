//! Whose API key a caller has shown.

use super::{Caller, Service};
use crate::{domain::Error, storage::ApiKeyRecord};

/// Whose API key it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name of the key's organization.
    pub organization_name: String,
    /// The key, as stored.
    pub key: ApiKeyRecord,
}

impl Service {
    /// Tells whose key `caller` has shown.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database cannot tell, [`Error::InvalidApiKey`] when the key has gone in between.
    pub async fn check_credentials(&self, caller: &Caller) -> Result<Credentials, Error> {
        let found = self.database.credentials(caller.organization, caller.key).await?;
        let (key, organization_name) = found.ok_or(Error::InvalidApiKey)?;
        Ok(Credentials { organization_name, key })
    }
}
