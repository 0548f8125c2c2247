//! Devices: created by an assignment, or imported by an operator.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Database, DatabaseError,
    sql::{Column, Scalar, Sql, Statement},
    statements::{INSERT_DEVICES, INSERT_UNKNOWN_DEVICES, UPDATE_DEVICE_TYPES},
    write_connection::AnyWriteConnection,
};
use crate::domain::{
    device::{DeviceIdentifier, DeviceType},
    id::{DeviceId, OrganizationId},
    plan::NewDevice,
};

/// What a write of an import changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// New devices.
    pub created: u64,
    /// Devices that existed with another type. The others existed with the type of the list.
    pub updated: u64,
}

/// Imports devices of one organization, one transaction after another.
pub struct DeviceImport {
    connection: AnyWriteConnection,
    organization: OrganizationId,
}

impl DeviceImport {
    /// Prepares an import into `organization`.
    pub fn new(database: &Database, organization: OrganizationId) -> Self {
        Self {
            connection: AnyWriteConnection::new(database),
            organization,
        }
    }

    /// Creates the devices that are new, and gives those that exist the type of the list, in one transaction. If an
    /// identifier is repeated, the last one counts.
    ///
    /// # Errors
    /// When the database cannot be written: nothing of this call is written, and it can be repeated.
    pub async fn write(&mut self, devices: &[(DeviceIdentifier, DeviceType)]) -> Result<Imported, DatabaseError> {
        let devices: BTreeMap<_, _> = devices.iter().map(|(identifier, kind)| (identifier, kind)).collect();
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
            statement(&INSERT_UNKNOWN_DEVICES, self.organization, &devices, now),
            update_types(self.organization, &devices),
        ];
        let [created, updated] = self.connection.write(&statements).await?;
        Ok(Imported { created, updated })
    }
}

/// The statement that inserts `devices`, and fails if one of them exists.
pub(super) fn insert<'a>(
    organization: OrganizationId,
    devices: &[NewDevice<'a>],
    now: OffsetDateTime,
) -> Statement<'a> {
    statement(&INSERT_DEVICES, organization, devices, now)
}

fn statement<'a>(
    sql: &'static Sql,
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
    UPDATE_DEVICE_TYPES.bind(
        [Scalar::Id(organization.uuid())],
        [
            Column::Texts(devices.iter().map(|device| device.identifier.as_str()).collect()),
            Column::Texts(devices.iter().map(|device| device.device_type.as_str()).collect()),
        ],
    )
}
