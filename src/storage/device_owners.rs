//! Looks up devices with their owners.

use std::sync::Arc;

use sea_orm::{DatabaseConnection, DbErr};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    ReadAt, Reads,
    sql::{Column, Scalar, Statement},
    statements::FIND_OWNERS,
};
use crate::domain::{
    Error,
    change::Revision,
    device_owners::{BatchGetDeviceOwners, OwnedDevice, Owner},
    id::OrganizationId,
};

/// A row of the result of [`FIND_OWNERS`].
type Row = (
    i64,
    i64,
    Option<Uuid>,
    Option<String>,
    Option<Uuid>,
    Option<String>,
    Option<OffsetDateTime>,
);

impl Reads {
    /// The devices of a request in its order; `None` for one that does not exist.
    ///
    /// # Errors
    /// As every read.
    pub async fn device_owners(
        &self,
        organization: OrganizationId,
        request: BatchGetDeviceOwners,
    ) -> Result<ReadAt<Vec<Option<OwnedDevice>>>, Error> {
        let request = Arc::new(request);
        self.read(&FIND_OWNERS.kind, request.min_revision(), move |db| {
            let request = Arc::clone(&request);
            async move { find(&db, organization, &request).await }
        })
        .await
    }
}

async fn find(
    db: &DatabaseConnection,
    organization: OrganizationId,
    request: &BatchGetDeviceOwners,
) -> Result<ReadAt<Vec<Option<OwnedDevice>>>, DbErr> {
    let max_owners = request.max_owners();
    // One more shows whether there are more.
    let limit = i64::try_from(max_owners + 1).unwrap_or(i64::MAX);
    let identifiers = request.devices().iter().map(|identifier| identifier.as_str()).collect();
    let scalars = [Scalar::Id(organization.uuid()), Scalar::Number(limit)];
    let statement: Statement<'_> = FIND_OWNERS.bind(scalars, [Column::Texts(identifiers)]);
    let rows: Vec<Row> = statement.rows_of(db).await?;
    Ok(devices(rows, request.devices().len(), max_owners))
}

fn devices(rows: Vec<Row>, count: usize, max_owners: usize) -> ReadAt<Vec<Option<OwnedDevice>>> {
    let mut devices: Vec<Option<OwnedDevice>> = Vec::new();
    devices.resize_with(count, || None);
    let mut read_at = Revision::default();
    for (revision, position, device_id, device_type, customer_id, email, assigned_at) in rows {
        read_at = Revision::from_stored(revision);
        let index = usize::try_from(position).unwrap_or_default().wrapping_sub(1);
        let (Some(entry), Some(id)) = (devices.get_mut(index), device_id) else {
            continue;
        };
        let device = entry.get_or_insert_with(|| OwnedDevice {
            id: id.into(),
            device_type: device_type.unwrap_or_default(),
            owners: Vec::new(),
            has_more_owners: false,
        });
        let (Some(id), Some(email), Some(assigned_at)) = (customer_id, email, assigned_at) else {
            continue;
        };
        if device.owners.len() == max_owners {
            device.has_more_owners = true;
            continue;
        }
        device.owners.push(Owner {
            id: id.into(),
            email,
            assigned_at,
        });
    }
    ReadAt {
        value: devices,
        revision: read_at,
    }
}
