//! Verifying the change log.

use super::organization::{find_organization, organizations};
use crate::{
    domain::Error,
    storage::{Database, Difference, OrganizationRecord},
};

/// Compares the change log of the organization with this name, or of all, with the tables. Calls `on_organization` for each
/// organization with the number of its differences, and before that `on_difference` for each of them. Returns whether there is
/// none.
///
/// # Errors
/// When the organization does not exist, and when the database cannot be read.
pub async fn verify(
    database: &Database,
    organization: Option<&str>,
    mut on_difference: impl FnMut(&OrganizationRecord, &Difference),
    mut on_organization: impl FnMut(&OrganizationRecord, u64),
) -> Result<bool, Error> {
    let organizations = match organization {
        Some(name) => vec![find_organization(database, name).await?],
        None => organizations(database).await?,
    };
    let mut is_clean = true;
    for organization in organizations {
        let differences = database.verify(organization.id, |difference| on_difference(&organization, &difference));
        let differences = differences.await?;
        is_clean &= differences == 0;
        on_organization(&organization, differences);
    }
    Ok(is_clean)
}
