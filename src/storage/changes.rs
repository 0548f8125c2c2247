//! Reads the change log: pages of changes, and the names of the customers and devices in them.

use std::{collections::HashMap, sync::Arc};

use sea_orm::{
    DbErr,
    sqlx::{self, FromRow, Row as _, postgres::PgRow, sqlite::SqliteRow},
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Database, DatabaseError, Reads,
    sql::{Column, Scalar, Sql, Statement},
    statements::{FIND_NAMES, FIND_REVOKED_KEYS, LIST_CHANGES},
};
use crate::domain::{
    Error,
    change::{Pair, Revision},
    id::{ApiKeyId, CustomerId, DeviceId, HistoryId, OrganizationId},
};

/// A change as the log stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRecord {
    /// Its revision.
    pub revision: Revision,
    /// When it was made.
    pub at: OffsetDateTime,
    /// The name of its kind. A newer version of the program may have written kinds that this one does not know.
    pub kind: String,
    /// The API key of the caller who made it.
    pub api_key: Option<ApiKeyId>,
    /// The name of the operator who made it.
    pub operator: Option<String>,
    /// The id of the request that made it.
    pub request_id: Option<String>,
    /// Customers that it created.
    pub customers_created: Vec<CustomerId>,
    /// Customers that it changed.
    pub customers_updated: Vec<CustomerId>,
    /// Customers that it deleted.
    pub customers_deleted: Vec<CustomerId>,
    /// Devices that it created.
    pub devices_created: Vec<DeviceId>,
    /// Devices that it changed.
    pub devices_updated: Vec<DeviceId>,
    /// Devices that it deleted.
    pub devices_deleted: Vec<DeviceId>,
    /// Assignments that it created.
    pub assigned: Vec<Pair>,
    /// Assignments that it removed.
    pub unassigned: Vec<Pair>,
}

impl ChangeRecord {
    /// The ids of all customers and devices in it. Some may be repeated.
    pub fn ids(&self) -> impl Iterator<Item = Uuid> {
        let customers = [
            &self.customers_created,
            &self.customers_updated,
            &self.customers_deleted,
        ];
        let devices = [&self.devices_created, &self.devices_updated, &self.devices_deleted];
        let pairs = self.assigned.iter().chain(&self.unassigned);
        let customers = customers.into_iter().flatten().map(|id| id.uuid());
        let devices = devices.into_iter().flatten().map(|id| id.uuid());
        let of_pairs = pairs.flat_map(|(customer, device)| [customer.uuid(), device.uuid()]);
        customers.chain(devices).chain(of_pairs)
    }

    /// The most bytes that it takes in a message: an id with its prefix and its place, and the rest.
    pub fn bytes(&self) -> usize {
        400 + 48 * self.ids().count()
    }
}

/// Consecutive changes, read in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePage {
    /// The history that the revisions belong to.
    pub history: HistoryId,
    /// The newest revision of the organization.
    pub head: Revision,
    /// The changes in the order of their revisions, each the next after the one before.
    pub changes: Vec<ChangeRecord>,
}

/// The bounds of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    /// The most changes.
    pub changes: usize,
    /// The most bytes of a message with these changes. A single change may be larger.
    pub bytes: usize,
}

/// The emails of customers and the identifiers of devices, by id.
pub type Names = HashMap<Uuid, String>;

impl Reads {
    /// The changes of an organization after revision `after`. None if that is the newest one, or does not exist yet. Always from the
    /// primary: a follower must not wait for a standby.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database cannot be read, and [`Error::Internal`] if a revision is missing in the log.
    pub async fn changes(
        &self,
        organization: OrganizationId,
        after: Revision,
        limits: PageLimits,
    ) -> Result<ChangePage, Error> {
        let number = |number: u64| Scalar::Number(i64::try_from(number).unwrap_or(i64::MAX));
        let scalars = [
            Scalar::Id(organization.uuid()),
            number(after.number()),
            number(limits.changes as u64),
            number(limits.bytes as u64),
        ];
        self.read_in_turn(organization, &LIST_CHANGES.kind, move |connection| async move {
            let rows = LIST_CHANGES.bind(scalars, []).rows_of(&connection).await?;
            page(rows, after)
        })
        .await
    }

    /// The names of these customers and devices, except of those that no longer exist.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database cannot be read.
    pub async fn names(&self, organization: OrganizationId, ids: Vec<Uuid>) -> Result<Names, Error> {
        if ids.is_empty() {
            return Ok(Names::new());
        }
        let statement = FIND_NAMES.bind([Scalar::Id(organization.uuid())], [Column::Ids(ids)]);
        let statement = Arc::new(statement);
        self.read_in_turn(organization, &FIND_NAMES.kind, move |connection| {
            let statement = Arc::clone(&statement);
            async move {
                let rows: Vec<(Uuid, String)> = statement.rows_of(&connection).await?;
                Ok::<_, DbErr>(rows.into_iter().collect())
            }
        })
        .await
    }
}

impl Database {
    /// Which of these keys are revoked or no longer exist.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn revoked_keys(&self, keys: Vec<(OrganizationId, ApiKeyId)>) -> Result<Vec<ApiKeyId>, DatabaseError> {
        let (organizations, keys) = keys.into_iter().map(|(owner, key)| (owner.uuid(), key.uuid())).unzip();
        let statement = FIND_REVOKED_KEYS.bind([], [Column::Ids(organizations), Column::Ids(keys)]);
        let rows: Vec<(Uuid,)> = self.rows_of(&FIND_REVOKED_KEYS, statement).await?;
        Ok(rows.into_iter().map(|(key,)| key.into()).collect())
    }

    /// Runs a statement that reads, and returns its rows.
    pub(super) async fn rows_of<T>(
        &self,
        sql: &'static Sql,
        statement: Statement<'static>,
    ) -> Result<Vec<T>, DatabaseError>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin + 'static,
    {
        let statement = Arc::new(statement.on(self.dialect()));
        self.read(&sql.kind, move |connection| {
            let statement = Arc::clone(&statement);
            async move { statement.rows_of(&connection).await }
        })
        .await
    }
}

/// A row of the result: the history, the newest revision, and a change if there is one.
struct Row {
    history: Uuid,
    head: i64,
    change: Option<ChangeRecord>,
}

/// Checks that no revision is missing.
fn page(rows: Vec<Row>, after: Revision) -> Result<ChangePage, DbErr> {
    let hole = |revision: Revision| DbErr::Custom(format!("revision {revision} is missing in the change log"));
    let first = rows.first();
    let first = first.ok_or_else(|| DbErr::RecordNotFound("the head of the change log".to_owned()))?;
    let (history, head) = (first.history.into(), Revision::from_stored(first.head));
    let changes: Vec<_> = rows.into_iter().filter_map(|row| row.change).collect();
    if changes.is_empty() && after < head {
        return Err(hole(after.after(1)));
    }
    for (index, change) in changes.iter().enumerate() {
        let expected = after.after(index + 1);
        if change.revision != expected {
            return Err(hole(expected));
        }
    }
    Ok(ChangePage { history, head, changes })
}

/// Implements `FromRow` for a database, in which `$list` turns a column into ids.
macro_rules! from_row {
    ($row:ty, $list:ty, $ids:expr) => {
        impl FromRow<'_, $row> for Row {
            fn from_row(row: &$row) -> Result<Self, sqlx::Error> {
                let ids = |name: &str| -> Result<Vec<Uuid>, sqlx::Error> {
                    let list: Option<$list> = row.try_get(name)?;
                    let read: fn($list) -> Result<Vec<Uuid>, sqlx::Error> = $ids;
                    list.map_or(Ok(Vec::new()), read)
                };
                let revision: Option<i64> = row.try_get("revision")?;
                let change = |revision| {
                    Ok::<_, sqlx::Error>(ChangeRecord {
                        revision: Revision::from_stored(revision),
                        at: row.try_get("at")?,
                        kind: row.try_get("kind")?,
                        api_key: row.try_get::<Option<Uuid>, _>("api_key_id")?.map(Into::into),
                        operator: row.try_get("operator")?,
                        request_id: row.try_get("request_id")?,
                        customers_created: typed(ids("customers_created")?),
                        customers_updated: typed(ids("customers_updated")?),
                        customers_deleted: typed(ids("customers_deleted")?),
                        devices_created: typed(ids("devices_created")?),
                        devices_updated: typed(ids("devices_updated")?),
                        devices_deleted: typed(ids("devices_deleted")?),
                        assigned: pairs(ids("assigned_customers")?, ids("assigned_devices")?)?,
                        unassigned: pairs(ids("unassigned_customers")?, ids("unassigned_devices")?)?,
                    })
                };
                Ok(Self {
                    history: row.try_get("history")?,
                    head: row.try_get("head")?,
                    change: revision.map(change).transpose()?,
                })
            }
        }
    };
}

from_row!(PgRow, Vec<Uuid>, Ok);
from_row!(SqliteRow, Vec<u8>, ids_of_bytes);

/// The ids of an SQLite column: 16 bytes each.
fn ids_of_bytes(bytes: Vec<u8>) -> Result<Vec<Uuid>, sqlx::Error> {
    let (ids, rest) = bytes.as_chunks::<16>();
    if rest.is_empty() {
        Ok(ids.iter().copied().map(Uuid::from_bytes).collect())
    } else {
        Err(sqlx::Error::Decode("a list of ids is cut off".into()))
    }
}

fn typed<Id: From<Uuid>>(ids: Vec<Uuid>) -> Vec<Id> {
    ids.into_iter().map(Into::into).collect()
}

/// Pairs of the ids at the same positions. A list of one id stands for every position of the other.
fn pairs(customers: Vec<Uuid>, devices: Vec<Uuid>) -> Result<Vec<Pair>, sqlx::Error> {
    let pair = |(customer, device): (Uuid, Uuid)| (customer.into(), device.into());
    match (&customers[..], &devices[..]) {
        (&[customer], _) => Ok(devices.into_iter().map(|device| pair((customer, device))).collect()),
        (_, &[device]) => Ok(customers.into_iter().map(|customer| pair((customer, device))).collect()),
        _ if customers.len() == devices.len() => Ok(customers.into_iter().zip(devices).map(pair).collect()),
        _ => Err(sqlx::Error::Decode(
            "the lists of customers and devices differ in length".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(head: i64, revision: Option<u64>) -> Row {
        let change = revision.map(|revision| ChangeRecord {
            revision: revision.into(),
            at: OffsetDateTime::UNIX_EPOCH,
            kind: "assign".to_owned(),
            api_key: None,
            operator: None,
            request_id: None,
            customers_created: Vec::new(),
            customers_updated: Vec::new(),
            customers_deleted: Vec::new(),
            devices_created: Vec::new(),
            devices_updated: Vec::new(),
            devices_deleted: Vec::new(),
            assigned: Vec::new(),
            unassigned: Vec::new(),
        });
        Row {
            history: Uuid::nil(),
            head,
            change,
        }
    }

    #[test]
    fn a_missing_revision_is_an_error() {
        let after = Revision::from(3);
        for (head, revisions, missing) in [
            (3, vec![None], None),
            (5, vec![Some(4), Some(5)], None),
            (6, vec![Some(4)], None),
            (4, vec![None], Some(4)),
            (5, vec![Some(5)], Some(4)),
            (6, vec![Some(4), Some(6)], Some(5)),
            (4, vec![Some(4), Some(4)], Some(5)),
        ] {
            let rows = revisions.iter().map(|revision| row(head, *revision)).collect();
            let page = page(rows, after).map_err(|error| error.to_string());
            match missing {
                None => assert!(page.is_ok(), "{revisions:?}: {page:?}"),
                Some(missing) => {
                    let expected = format!("revision {missing} is missing in the change log");
                    assert!(page.expect_err("a hole").contains(&expected), "{revisions:?}");
                }
            }
        }
    }

    #[test]
    fn a_list_of_one_id_stands_for_every_position() {
        let id = Uuid::from_u128;
        let two = |first: (u128, u128), second: (u128, u128)| {
            [first, second]
                .map(|(customer, device)| (id(customer).into(), id(device).into()))
                .to_vec()
        };
        assert_eq!(pairs(vec![id(1)], vec![id(2), id(3)]).ok(), Some(two((1, 2), (1, 3))));
        assert_eq!(pairs(vec![id(1), id(2)], vec![id(3)]).ok(), Some(two((1, 3), (2, 3))));
        assert_eq!(
            pairs(vec![id(1), id(2)], vec![id(3), id(4)]).ok(),
            Some(two((1, 3), (2, 4)))
        );
        assert_eq!(pairs(Vec::new(), Vec::new()).ok(), Some(Vec::new()));
        assert!(pairs(vec![id(1), id(2)], vec![id(3), id(4), id(5)]).is_err());
        assert!(pairs(vec![id(1), id(2)], Vec::new()).is_err());
        assert!(ids_of_bytes(vec![0; 17]).is_err());
    }
}
