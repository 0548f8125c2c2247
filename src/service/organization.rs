//! Management of organizations.

use super::audit;
use crate::{
    domain::{Error, organization::OrganizationName},
    storage::{Database, OrganizationRecord},
};

/// Creates an organization.
///
/// # Errors
/// [`Error::AlreadyExists`] when the name is taken.
pub async fn create_organization(database: &Database, name: &OrganizationName) -> Result<OrganizationRecord, Error> {
    let organization = database
        .create_organization(name.as_str())
        .await?
        .ok_or_else(|| Error::AlreadyExists(format!("There is an organization named {name} already")))?;
    audit::organization_created(&organization);
    Ok(organization)
}

/// All organizations, by name.
///
/// # Errors
/// When the database cannot be read.
pub async fn organizations(database: &Database) -> Result<Vec<OrganizationRecord>, Error> {
    Ok(database.organizations().await?)
}

/// The organization of this name.
pub(super) async fn find_organization(database: &Database, name: &str) -> Result<OrganizationRecord, Error> {
    database
        .organization(name.trim())
        .await?
        .ok_or_else(|| Error::NotFound(format!("There is no organization named {name:?}")))
}
