//! API keys: whose they are, and whether they still hold.

use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, Set, sea_query::Expr};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Database, Failure, entity::api_key, observed::Kind};
use crate::domain::{
    api_key::ApiKeyDigest,
    id::{ApiKeyId, OrganizationId},
};

static FINDS: Kind = Kind::new("find_api_key", "SELECT", "SELECT api_key");

/// An API key, as stored: without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// Its id.
    pub id: ApiKeyId,
    /// What its owner calls it.
    pub label: String,
    /// Since when it exists.
    pub created_at: OffsetDateTime,
    /// From when on it is refused.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was revoked.
    pub revoked_at: Option<OffsetDateTime>,
}

/// Who calls with a key that is not revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyOwner {
    /// The key.
    pub key: ApiKeyId,
    /// The organization it belongs to.
    pub organization: OrganizationId,
    /// From when on it is refused.
    pub expires_at: Option<OffsetDateTime>,
}

impl Database {
    /// Stores a new key of `organization`.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn create_api_key(
        &self,
        organization: OrganizationId,
        digest: ApiKeyDigest,
        label: &str,
        expires_at: Option<OffsetDateTime>,
    ) -> Result<ApiKeyRecord, Failure> {
        let row = api_key::ActiveModel {
            organization_id: Set(organization.uuid()),
            id: Set(Uuid::now_v7()),
            digest: Set(digest.to_vec()),
            label: Set(label.to_owned()),
            created_at: Set(OffsetDateTime::now_utc()),
            expires_at: Set(expires_at),
            revoked_at: Set(None),
        };
        Ok(row.insert(&self.reads()).await?.into())
    }

    /// Whose key this is, unless it was revoked.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn key_owner(&self, digest: &ApiKeyDigest) -> Result<Option<KeyOwner>, Failure> {
        let query = api_key::Entity::find()
            .filter(api_key::Column::Digest.eq(digest.to_vec()))
            .filter(api_key::Column::RevokedAt.is_null());
        let row = self
            .read(&FINDS, move |db| {
                let query = query.clone();
                async move { query.one(&db).await }
            })
            .await?;
        Ok(row.map(|row| KeyOwner {
            key: row.id.into(),
            organization: row.organization_id.into(),
            expires_at: row.expires_at,
        }))
    }

    /// All keys of `organization`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn api_keys(&self, organization: OrganizationId) -> Result<Vec<ApiKeyRecord>, Failure> {
        let query = api_key::Entity::find()
            .filter(api_key::Column::OrganizationId.eq(organization.uuid()))
            .order_by_asc(api_key::Column::Id);
        let rows = query.all(&self.reads()).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Revokes a key, once and for all; `None` when there is no such key. A key that was revoked before keeps its time.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn revoke_api_key(&self, id: ApiKeyId) -> Result<Option<ApiKeyRecord>, Failure> {
        api_key::Entity::update_many()
            .col_expr(api_key::Column::RevokedAt, Expr::value(OffsetDateTime::now_utc()))
            .filter(api_key::Column::Id.eq(id.uuid()))
            .filter(api_key::Column::RevokedAt.is_null())
            .exec(&self.reads())
            .await?;
        let query = api_key::Entity::find().filter(api_key::Column::Id.eq(id.uuid()));
        Ok(query.one(&self.reads()).await?.map(Into::into))
    }
}

impl From<api_key::Model> for ApiKeyRecord {
    fn from(row: api_key::Model) -> Self {
        Self {
            id: row.id.into(),
            label: row.label,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        }
    }
}
