//! Verifying the change log.

use super::organization::{find_organization, organizations};
use crate::{
    domain::{Error, id::OrganizationId},
    storage::{Database, Difference, OrganizationRecord},
};

/// An organization whose change log is compared with the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedOrganization {
    /// Its id.
    pub id: OrganizationId,
    /// Its name, or the id as text if the organization does not exist.
    pub name: String,
}

/// Compares the change log of the organization with this name, or of all, with the tables. Calls `on_organization` for each
/// organization with the number of its differences, and before that `on_difference` for each of them. Without a name, rows of
/// organizations that do not exist are differences, too. Returns whether there is none.
///
/// # Errors
/// When the organization does not exist, and when the database cannot be read.
pub async fn verify(
    database: &Database,
    organization: Option<&str>,
    mut on_difference: impl FnMut(&VerifiedOrganization, &Difference),
    mut on_organization: impl FnMut(&VerifiedOrganization, u64),
) -> Result<bool, Error> {
    let organizations = match organization {
        Some(name) => vec![find_organization(database, name).await?],
        None => organizations(database).await?,
    };
    let mut is_clean = true;
    for OrganizationRecord { id, name, .. } in organizations {
        let organization = VerifiedOrganization { id, name };
        let differences = database.verify(id, |difference| on_difference(&organization, &difference));
        let differences = differences.await?;
        is_clean &= differences == 0;
        on_organization(&organization, differences);
    }
    if organization.is_some() {
        return Ok(is_clean);
    }
    let unknown = database.unknown_organizations().await?;
    for tables in unknown.chunk_by(|(_, one), (_, next)| one == next) {
        for (table, id) in tables {
            let difference = Difference {
                problem: format!("the table {table} has rows of an organization that does not exist"),
                revision: None,
                customer: None,
                device: None,
            };
            let name = id.to_string();
            on_difference(&VerifiedOrganization { id: *id, name }, &difference);
        }
        if let Some((_, id)) = tables.first() {
            let name = id.to_string();
            on_organization(&VerifiedOrganization { id: *id, name }, tables.len() as u64);
        }
    }
    Ok(is_clean && unknown.is_empty())
}
