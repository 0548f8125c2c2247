//! Organizations.

use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, Set, SqlErr};
use time::OffsetDateTime;

use super::{Database, DatabaseError, entity::organization};
use crate::domain::id::{OrganizationId, new_id};

/// A stored organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationRecord {
    /// Its id.
    pub id: OrganizationId,
    /// Its name, which is unique.
    pub name: String,
    /// When it was created.
    pub created_at: OffsetDateTime,
}

impl Database {
    /// Creates an organization; `None` if the name is taken.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn create_organization(&self, name: &str) -> Result<Option<OrganizationRecord>, DatabaseError> {
        let row = organization::ActiveModel {
            id: Set(new_id()),
            name: Set(name.to_owned()),
            created_at: Set(OffsetDateTime::now_utc()),
        };
        let created = self.operate(async |db| match row.insert(db).await {
            Err(error) if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) => Ok(None),
            row => Ok(Some(row?)),
        });
        Ok(created.await?.map(Into::into))
    }

    /// The organization with this name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn organization(&self, name: &str) -> Result<Option<OrganizationRecord>, DatabaseError> {
        let query = organization::Entity::find().filter(organization::Column::Name.eq(name));
        let row = self.operate(async |db| query.one(db).await).await?;
        Ok(row.map(Into::into))
    }

    /// All organizations, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn organizations(&self) -> Result<Vec<OrganizationRecord>, DatabaseError> {
        let query = organization::Entity::find().order_by_asc(organization::Column::Name);
        let rows = self.operate(async |db| query.all(db).await).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}

impl From<organization::Model> for OrganizationRecord {
    fn from(row: organization::Model) -> Self {
        Self {
            id: row.id.into(),
            name: row.name,
            created_at: row.created_at,
        }
    }
}
