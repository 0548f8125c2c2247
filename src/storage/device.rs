//! Devices: created by an assignment, or brought in by an operator from a list.

use std::collections::BTreeMap;

use sea_orm::DatabaseConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Database, DatabaseError,
    attempts::{Attempts, pause},
    observed::Kind,
    session::Session,
    sql::{Column, Scalar, Sql, Statement},
};
use crate::domain::{
    device::{DeviceIdentifier, DeviceType},
    id::{DeviceId, OrganizationId},
    plan::NewDevice,
};

static INSERTS: Kind = Kind::new("insert_devices", "INSERT", "INSERT device");
static UPDATES_OF_TYPES: Kind = Kind::new("update_device_types", "UPDATE", "UPDATE device");

macro_rules! insert {
    ($on_conflict:literal) => {
        Sql {
            kind: &INSERTS,
            postgres: concat!(
                "INSERT INTO device (organization_id, id, identifier, device_type, created_at) \
                 SELECT $1, row.id, row.identifier, row.device_type, $2 \
                 FROM unnest($3::uuid[], $4::text[], $5::text[]) AS row (id, identifier, device_type)",
                $on_conflict
            ),
            // Without a WHERE, SQLite would read the ON of an upsert as that of a join.
            sqlite: concat!(
                "INSERT INTO device (organization_id, id, identifier, device_type, created_at) \
                 SELECT ?1, unhex(value ->> 0), value ->> 1, value ->> 2, ?2 FROM json_each(?3) WHERE true",
                $on_conflict
            ),
        }
    };
}

const INSERT: Sql = insert!("");
const INSERT_UNKNOWN: Sql = insert!(" ON CONFLICT (organization_id, identifier) DO NOTHING");

const UPDATE_TYPES: Sql = Sql {
    kind: &UPDATES_OF_TYPES,
    postgres: "UPDATE device SET device_type = row.device_type \
               FROM unnest($2::text[], $3::text[]) AS row (identifier, device_type) \
               WHERE device.organization_id = $1 AND device.identifier = row.identifier \
               AND device.device_type <> row.device_type",
    // An upsert of rows that exist, because an UPDATE leaves SQLite free to search the list for each device that the
    // organization has; the CROSS JOIN makes it look up each row of the list.
    sqlite: "INSERT INTO device (organization_id, id, identifier, device_type, created_at) \
             SELECT known.organization_id, known.id, known.identifier, row.value ->> 1, known.created_at \
             FROM json_each(?2) AS row CROSS JOIN device AS known \
             WHERE known.organization_id = ?1 AND known.identifier = row.value ->> 0 \
             AND known.device_type <> row.value ->> 1 \
             ON CONFLICT DO UPDATE SET device_type = excluded.device_type",
};

/// What became of a batch of devices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Devices that are new.
    pub created: u64,
    /// Devices that were there with another type. The others were there just so.
    pub updated: u64,
}

/// Brings devices of one organization into the database, batch by batch, each a transaction.
#[derive(Debug)]
pub struct DeviceImport {
    connection: DatabaseConnection,
    organization: OrganizationId,
}

impl DeviceImport {
    /// Prepares an import into `organization`.
    ///
    /// # Errors
    /// When the database cannot be connected to.
    pub async fn begin(database: &Database, organization: OrganizationId) -> Result<Self, DatabaseError> {
        let connection = database.own_connection().await?;
        Ok(Self {
            connection,
            organization,
        })
    }

    /// Creates the devices that are new and gives those that exist the type of the list. Of an identifier that stands
    /// there twice, the last counts.
    ///
    /// # Errors
    /// When the database cannot be written: the batch has not happened, and can be written again.
    pub async fn write(&self, batch: &[(DeviceIdentifier, DeviceType)]) -> Result<Imported, DatabaseError> {
        let devices: BTreeMap<_, _> = batch.iter().map(|(identifier, kind)| (identifier, kind)).collect();
        let devices: Vec<NewDevice<'_>> = devices
            .into_iter()
            .map(|(identifier, device_type)| NewDevice {
                id: DeviceId::from_uuid(Uuid::now_v7()),
                identifier,
                device_type,
            })
            .collect();
        let now = OffsetDateTime::now_utc();
        let statements = [
            devices_of(INSERT_UNKNOWN, self.organization, &devices, now),
            update_types(self.organization, &devices),
        ];
        let mut attempts = Attempts::default();
        let written = loop {
            let mut session = Session::take(&self.connection).await?;
            match session.write(&statements).await {
                Err(failure) if attempts.may_succeed_after(&failure) => pause().await,
                result => break result?,
            }
        };
        let [created, updated] = written.try_into().unwrap_or_default();
        Ok(Imported { created, updated })
    }
}

/// The statement that inserts `devices`, of which none must be there yet.
pub(super) fn insert<'a>(
    organization: OrganizationId,
    devices: &[NewDevice<'a>],
    now: OffsetDateTime,
) -> Statement<'a> {
    devices_of(INSERT, organization, devices, now)
}

fn devices_of<'a>(
    sql: Sql,
    organization: OrganizationId,
    devices: &[NewDevice<'a>],
    now: OffsetDateTime,
) -> Statement<'a> {
    sql.bind(
        [Scalar::Id(organization.uuid()), Scalar::Time(now)],
        [
            Column::Ids(devices.iter().map(|device| device.id.uuid()).collect()),
            Column::Texts(devices.iter().map(|device| device.identifier.as_str()).collect()),
            Column::Texts(devices.iter().map(|device| device.device_type.as_str()).collect()),
        ],
    )
}

fn update_types<'a>(organization: OrganizationId, devices: &[NewDevice<'a>]) -> Statement<'a> {
    UPDATE_TYPES.bind(
        [Scalar::Id(organization.uuid())],
        [
            Column::Texts(devices.iter().map(|device| device.identifier.as_str()).collect()),
            Column::Texts(devices.iter().map(|device| device.device_type.as_str()).collect()),
        ],
    )
}
