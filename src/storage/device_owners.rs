//! Looks up devices with their owners.

use std::sync::Arc;

use sea_orm::{DatabaseConnection, DbErr};
use time::OffsetDateTime;
use tracing::Instrument;
use uuid::Uuid;

use super::{
    ReadAt, Reads,
    reads::Source,
    shared_look_ups::{Devices, FoundDevices, Taken},
    sql::{Column, Scalar, Statement},
    statements::FIND_OWNERS,
};
use crate::domain::{
    Error,
    change::Revision,
    device_owners::{BatchGetDeviceOwners, MAX_DEVICES_WITH_ALL_OWNERS, MAX_OWNERS, OwnedDevice, Owner},
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
    ) -> Result<FoundDevices, Error> {
        let (min, max_owners) = (request.min_revision(), request.max_owners());
        let devices = Devices::from(request.into_devices());
        if devices.len() <= MAX_DEVICES_WITH_ALL_OWNERS {
            let look_up = |source: Source| source.look_up(organization, Arc::clone(&devices));
            return self.read_with(min, look_up).await;
        }
        let find = move |db| find(db, organization, [Arc::clone(&devices)].into(), max_owners);
        self.read(organization, &FIND_OWNERS.kind, min, find).await
    }
}

impl Source {
    /// Looks up few devices, together with other callers of the organization.
    async fn look_up(self, organization: OrganizationId, devices: Devices) -> Result<FoundDevices, Error> {
        let looked_up = async {
            let mut waiting = self.look_ups.add(organization, devices);
            if waiting.is_first {
                tokio::spawn(self.clone().carry_out(organization));
            }
            waiting.answered().await
        };
        self.database.while_in_reach(looked_up).await?
    }

    /// Carries out look-ups of several callers. It is a task of its own, because each of the callers may leave.
    async fn carry_out(self, organization: OrganizationId) {
        let turn = self.turn(organization).await;
        let Taken { look_ups, has_more } = self.look_ups.take(organization);
        if has_more {
            self.carry_out_more(organization);
        }
        if look_ups.devices.is_empty() {
            return;
        }
        let devices = Arc::clone(&look_ups.devices);
        let query = move |db| find(db, organization, Arc::clone(&devices), MAX_OWNERS);
        let reading = self.database.read_in_task(&FIND_OWNERS.kind, query);
        let found = reading.instrument(look_ups.span()).await;
        look_ups.answer(found.map_err(Error::from));
        drop(turn);
    }

    fn carry_out_more(&self, organization: OrganizationId) {
        tokio::spawn(self.clone().carry_out(organization));
    }
}

async fn find(
    db: DatabaseConnection,
    organization: OrganizationId,
    look_ups: Arc<[Devices]>,
    max_owners: usize,
) -> Result<FoundDevices, DbErr> {
    // One more shows whether there are more.
    let limit = i64::try_from(max_owners + 1).unwrap_or(i64::MAX);
    let devices = look_ups.iter().flat_map(|devices| devices.iter());
    let identifiers: Vec<_> = devices.map(|identifier| identifier.as_str()).collect();
    let count = identifiers.len();
    let scalars = [Scalar::Id(organization.uuid()), Scalar::Number(limit)];
    let statement: Statement<'_> = FIND_OWNERS.bind(scalars, [Column::Texts(identifiers)]);
    let rows: Vec<Row> = statement.rows_of(&db).await?;
    Ok(found(rows, count, max_owners))
}

fn found(rows: Vec<Row>, count: usize, max_owners: usize) -> FoundDevices {
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
