//! Devices: created by an assignment, or brought in by an operator from a list.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Database, Failure,
    sql::{Column, Sql},
    transaction::{Work, transact},
};
use crate::domain::{
    device::{DeviceIdentifier, DeviceType},
    id::{DeviceId, OrganizationId},
    plan::NewDevice,
};

const INSERT: Sql = Sql {
    postgres: "INSERT INTO device (organization_id, id, identifier, device_type, created_at) \
               SELECT $1, row.id, row.identifier, row.device_type, $2 \
               FROM unnest($3::uuid[], $4::text[], $5::text[]) AS row (id, identifier, device_type) \
               ON CONFLICT (organization_id, identifier) DO NOTHING",
    // Without a WHERE, SQLite would read the ON of the upsert as that of a join.
    sqlite: "INSERT INTO device (organization_id, id, identifier, device_type, created_at) \
             SELECT ?1, unhex(value ->> 0), value ->> 1, value ->> 2, ?2 FROM json_each(?3) WHERE true \
             ON CONFLICT (organization_id, identifier) DO NOTHING",
};

const UPDATE_TYPES: Sql = Sql {
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
    pub async fn begin(database: &Database, organization: OrganizationId) -> Result<Self, Failure> {
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
    pub async fn write(&self, batch: &[(DeviceIdentifier, DeviceType)]) -> Result<Imported, Failure> {
        let devices: BTreeMap<_, _> = batch.iter().map(|(identifier, kind)| (identifier, kind)).collect();
        let devices: Vec<NewDevice<'_>> = devices
            .into_iter()
            .map(|(identifier, device_type)| NewDevice {
                id: DeviceId::from_uuid(Uuid::now_v7()),
                identifier,
                device_type,
            })
            .collect();
        let organization = self.organization;
        transact(&self.connection, &ImportBatch { organization, devices }).await
    }
}

struct ImportBatch<'a> {
    organization: OrganizationId,
    devices: Vec<NewDevice<'a>>,
}

impl Work for ImportBatch<'_> {
    type Output = Imported;

    async fn run(&self, transaction: &DatabaseTransaction) -> Result<Imported, Failure> {
        let created = insert(transaction, self.organization, &self.devices).await?;
        let updated = update_types(transaction, self.organization, &self.devices).await?;
        Ok(Imported { created, updated })
    }
}

/// Inserts the devices that do not exist, and says how many those were.
pub(super) async fn insert(
    db: &impl ConnectionTrait,
    organization: OrganizationId,
    devices: &[NewDevice<'_>],
) -> Result<u64, DbErr> {
    let scalars = [organization.uuid().into(), OffsetDateTime::now_utc().into()];
    let rows = [
        Column::Ids(devices.iter().map(|device| device.id.uuid()).collect()),
        Column::Texts(devices.iter().map(|device| device.identifier.as_str()).collect()),
        Column::Texts(devices.iter().map(|device| device.device_type.as_str()).collect()),
    ];
    INSERT.execute(db, scalars, rows).await
}

async fn update_types(
    db: &impl ConnectionTrait,
    organization: OrganizationId,
    devices: &[NewDevice<'_>],
) -> Result<u64, DbErr> {
    let rows = [
        Column::Texts(devices.iter().map(|device| device.identifier.as_str()).collect()),
        Column::Texts(devices.iter().map(|device| device.device_type.as_str()).collect()),
    ];
    UPDATE_TYPES.execute(db, [organization.uuid().into()], rows).await
}
