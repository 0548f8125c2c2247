//! API keys: whose they are, and whether they still hold.

use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set, sea_query::Expr};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Database, DatabaseError,
    attempts::{Attempts, pause},
    entity::{api_key, organization},
    observed::Kind,
    session::Session,
    sql::{Column, Sql},
};
use crate::domain::{
    api_key::{ApiKeyDigest, ApiKeyHint},
    id::{ApiKeyId, OrganizationId},
};

static FINDS: Kind = Kind::new("find_api_key", "SELECT", "SELECT api_key");
static LISTS: Kind = Kind::new("list_api_keys", "SELECT", "SELECT api_key");
static USES: Kind = Kind::new("use_api_keys", "UPDATE", "UPDATE api_key");

/// An API key, as stored: without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// The organization it belongs to.
    pub organization: OrganizationId,
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
    /// When it was last used, as far as instances have told.
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

/// Whose key it is, and whether it is still valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOwner {
    /// The key.
    pub key: ApiKeyId,
    /// What its owner calls it.
    pub label: String,
    /// Since when it exists.
    pub created_at: OffsetDateTime,
    /// The organization it belongs to.
    pub organization: OrganizationId,
    /// The name of that organization.
    pub organization_name: String,
    /// From when on it is refused.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was revoked.
    pub revoked_at: Option<OffsetDateTime>,
}

/// That a key was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUse {
    /// The organization it belongs to.
    pub organization: OrganizationId,
    /// The key.
    pub key: ApiKeyId,
    /// When, to the second.
    pub at: OffsetDateTime,
}

/// Only ever forward: other instances tell of the same keys. Not a statement of a call, so it may concern several
/// organizations.
const USE_KEYS: Sql = Sql {
    kind: &USES,
    postgres: "UPDATE api_key SET last_used_at = used.at \
               FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS used (organization_id, id, at) \
               WHERE api_key.organization_id = used.organization_id AND api_key.id = used.id \
               AND (api_key.last_used_at IS NULL OR api_key.last_used_at < used.at)",
    sqlite: "UPDATE api_key SET last_used_at = used.value ->> 2 FROM json_each(?1) AS used \
             WHERE api_key.organization_id = unhex(used.value ->> 0) AND api_key.id = unhex(used.value ->> 1) \
             AND (api_key.last_used_at IS NULL OR api_key.last_used_at < used.value ->> 2)",
};

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
        expires_at: Option<OffsetDateTime>,
    ) -> Result<ApiKeyRecord, DatabaseError> {
        let row = api_key::ActiveModel {
            organization_id: Set(organization.uuid()),
            id: Set(Uuid::now_v7()),
            digest: Set(digest.to_vec()),
            label: Set(label.to_owned()),
            created_at: Set(OffsetDateTime::now_utc()),
            expires_at: Set(expires_at),
            revoked_at: Set(None),
            last_used_at: Set(None),
            key_start: Set(Some(hint.start)),
            key_end: Set(Some(hint.end)),
        };
        Ok(row.insert(&self.reads()).await?.into())
    }

    /// Whose key this is, if it is one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn key_owner(&self, digest: &ApiKeyDigest) -> Result<Option<KeyOwner>, DatabaseError> {
        let query = api_key::Entity::find()
            .find_also_related(organization::Entity)
            .filter(api_key::Column::Digest.eq(digest.to_vec()));
        let row = self
            .read(&FINDS, move |db| {
                let query = query.clone();
                async move { query.one(&db).await }
            })
            .await?;
        Ok(row.map(|(key, organization)| KeyOwner {
            key: key.id.into(),
            label: key.label,
            created_at: key.created_at,
            organization: key.organization_id.into(),
            // A foreign key sees to it that there is one.
            organization_name: organization.map(|organization| organization.name).unwrap_or_default(),
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
        }))
    }

    /// The digests of keys that are not revoked: of so many at most, and those of the newest keys (the order of their ids is
    /// that of their creation). Not a statement of a call, so it concerns all organizations.
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
        self.read(&LISTS, move |db| {
            let query = query.clone();
            async move { query.into_tuple().all(&db).await }
        })
        .await
    }

    /// Stores when these keys were last used, unless a later use is stored already. On a connection of its own, so that no
    /// call waits for it.
    ///
    /// # Errors
    /// When the database cannot be written; the same can be stored later.
    pub async fn use_keys(&self, uses: &[KeyUse]) -> Result<(), DatabaseError> {
        let pool = self.own_connection().await?;
        // In one order everywhere: two instances that lock the same rows in different orders deadlock.
        let mut uses = uses.to_vec();
        uses.sort_unstable_by_key(|used| (used.organization, used.key));
        let statement = USE_KEYS.bind(
            [],
            [
                Column::Ids(uses.iter().map(|used| used.organization.uuid()).collect()),
                Column::Ids(uses.iter().map(|used| used.key.uuid()).collect()),
                Column::Times(uses.iter().map(|used| used.at).collect()),
            ],
        );
        let statements = [statement];
        let mut attempts = Attempts::default();
        let written = loop {
            let mut session = Session::take(&pool).await?;
            match session.write(&statements).await {
                Err(failure) if attempts.may_succeed_after(&failure) => pause().await,
                result => break result,
            }
        };
        if let Err(error) = pool.close().await {
            tracing::debug!(%error, "closing a connection failed");
        }
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
        let rows = query.all(&self.reads()).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Revokes a key, once and for all; `None` when there is no such key. A key that was revoked before keeps its time.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn revoke_api_key(&self, id: ApiKeyId) -> Result<Option<RevokedKey>, DatabaseError> {
        let updated = api_key::Entity::update_many()
            .col_expr(api_key::Column::RevokedAt, Expr::value(OffsetDateTime::now_utc()))
            .filter(api_key::Column::Id.eq(id.uuid()))
            .filter(api_key::Column::RevokedAt.is_null())
            .exec(&self.reads())
            .await?;
        let query = api_key::Entity::find().filter(api_key::Column::Id.eq(id.uuid()));
        let row = query.one(&self.reads()).await?;
        Ok(row.map(|row| RevokedKey {
            record: row.into(),
            is_new: updated.rows_affected > 0,
        }))
    }
}

impl From<api_key::Model> for ApiKeyRecord {
    fn from(row: api_key::Model) -> Self {
        Self {
            organization: row.organization_id.into(),
            id: row.id.into(),
            label: row.label,
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
