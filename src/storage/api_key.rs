//! API keys: who owns them, and whether they are valid.

use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set, sea_query::Expr};
use time::OffsetDateTime;

use super::{
    Database, DatabaseError,
    any_write_connection::AnyWriteConnection,
    entity::{api_key, organization},
    sql::Column,
    statement_kind::StatementKind,
    statements::USE_API_KEYS,
};
use crate::domain::{
    api_key::{ApiKeyDigest, ApiKeyHint, Scope},
    id::{ApiKeyId, OrganizationId, new_id},
};

static FIND: StatementKind = StatementKind::new("find_api_key", "SELECT", "SELECT api_key");
static LIST: StatementKind = StatementKind::new("list_api_keys", "SELECT", "SELECT api_key");

/// An API key as stored: without the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// Its organization.
    pub organization: OrganizationId,
    /// Its id.
    pub id: ApiKeyId,
    /// Its label.
    pub label: String,
    /// What it may do.
    pub scope: Scope,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// When it expires.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was revoked.
    pub revoked_at: Option<OffsetDateTime>,
    /// When it was last used, as far as instances have reported it.
    pub last_used_at: Option<OffsetDateTime>,
    /// Its first and last characters; `None` for a key from before they were stored.
    pub hint: Option<ApiKeyHint>,
}

/// A key that is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedKey {
    /// The key.
    pub record: ApiKeyRecord,
    /// Whether it was valid until now.
    pub is_new: bool,
}

/// The owner of a key, and whether the key is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOwner {
    /// The key.
    pub key: ApiKeyId,
    /// Its label.
    pub label: String,
    /// What it may do.
    pub scope: Scope,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// Its organization.
    pub organization: OrganizationId,
    /// The name of that organization.
    pub organization_name: String,
    /// When it expires.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was revoked.
    pub revoked_at: Option<OffsetDateTime>,
}

/// A use of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUse {
    /// Its organization.
    pub organization: OrganizationId,
    /// The key.
    pub key: ApiKeyId,
    /// When, to the second.
    pub at: OffsetDateTime,
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
        hint: ApiKeyHint,
        label: &str,
        scope: Scope,
        expires_at: Option<OffsetDateTime>,
    ) -> Result<ApiKeyRecord, DatabaseError> {
        let row = api_key::ActiveModel {
            organization_id: Set(organization.uuid()),
            id: Set(new_id()),
            digest: Set(digest.to_vec()),
            label: Set(label.to_owned()),
            created_at: Set(OffsetDateTime::now_utc()),
            expires_at: Set(expires_at),
            revoked_at: Set(None),
            last_used_at: Set(None),
            key_start: Set(Some(hint.start)),
            key_end: Set(Some(hint.end)),
            scope: Set(scope.name().to_owned()),
        };
        let row = self.operate(async |db| row.insert(db).await).await?;
        Ok(row.into())
    }

    /// The owner of the key with this digest.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn key_owner(&self, digest: &ApiKeyDigest) -> Result<Option<KeyOwner>, DatabaseError> {
        let query = api_key::Entity::find()
            .find_both_related(organization::Entity)
            .filter(api_key::Column::Digest.eq(digest.to_vec()));
        let row = self
            .read(&FIND, move |db| {
                let query = query.clone();
                async move { query.one(&db).await }
            })
            .await?;
        Ok(row.map(|(key, organization)| KeyOwner {
            key: key.id.into(),
            label: key.label,
            scope: scope_of(&key.scope),
            created_at: key.created_at,
            organization: key.organization_id.into(),
            organization_name: organization.name,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
        }))
    }

    /// The digests of keys that are not revoked, at most `at_most` of them, newest first: the order of the ids is the order of
    /// their creation. Not part of a call, so that it covers all organizations.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn newest_digests(&self, at_most: u32) -> Result<Vec<Vec<u8>>, DatabaseError> {
        let query = api_key::Entity::find()
            .select_only()
            .column(api_key::Column::Digest)
            .filter(api_key::Column::RevokedAt.is_null())
            .order_by_desc(api_key::Column::Id)
            .limit(u64::from(at_most));
        self.read(&LIST, move |db| {
            let query = query.clone();
            async move { query.into_tuple().all(&db).await }
        })
        .await
    }

    /// Stores when these keys were last used, unless a later use is stored already. Uses its own connection, so that no call
    /// waits for it.
    ///
    /// # Errors
    /// When the database cannot be written; the same can be stored later.
    pub async fn use_keys(&self, uses: &[KeyUse]) -> Result<(), DatabaseError> {
        // Sorted: two instances that lock the same rows in different orders deadlock.
        let mut uses = uses.to_vec();
        uses.sort_unstable_by_key(|used| (used.organization, used.key));
        let statement = USE_API_KEYS.bind(
            [],
            [
                Column::Ids(uses.iter().map(|used| used.organization.uuid()).collect()),
                Column::Ids(uses.iter().map(|used| used.key.uuid()).collect()),
                Column::Times(uses.iter().map(|used| used.at).collect()),
            ],
        );
        let mut connection = AnyWriteConnection::new(self);
        let written = connection.execute(statement).await;
        connection.close().await;
        written.map(drop)
    }

    /// All keys of `organization`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn api_keys(&self, organization: OrganizationId) -> Result<Vec<ApiKeyRecord>, DatabaseError> {
        let query = api_key::Entity::find()
            .filter(api_key::Column::OrganizationId.eq(organization.uuid()))
            .order_by_asc(api_key::Column::Id);
        let rows = self.operate(async |db| query.all(db).await).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Revokes a key; `None` if there is no such key. A key that was revoked before keeps its time.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn revoke_api_key(&self, id: ApiKeyId) -> Result<Option<RevokedKey>, DatabaseError> {
        let update = api_key::Entity::update_many()
            .col_expr(api_key::Column::RevokedAt, Expr::value(OffsetDateTime::now_utc()))
            .filter(api_key::Column::Id.eq(id.uuid()))
            .filter(api_key::Column::RevokedAt.is_null());
        let updated = self.operate(async |db| update.exec(db).await).await?;
        let query = api_key::Entity::find().filter(api_key::Column::Id.eq(id.uuid()));
        let row = self.operate(async |db| query.one(db).await).await?;
        Ok(row.map(|row| RevokedKey {
            record: row.into(),
            is_new: updated.rows_affected > 0,
        }))
    }
}

/// The stored scope. A name from a later version gives the least scope.
fn scope_of(name: &str) -> Scope {
    Scope::parse(name).unwrap_or(Scope::Read)
}

impl From<api_key::Model> for ApiKeyRecord {
    fn from(row: api_key::Model) -> Self {
        Self {
            organization: row.organization_id.into(),
            id: row.id.into(),
            label: row.label,
            scope: scope_of(&row.scope),
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
            hint: row
                .key_start
                .zip(row.key_end)
                .map(|(start, end)| ApiKeyHint { start, end }),
        }
    }
}
