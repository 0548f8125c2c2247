//! Reads what a group of commands touches.

use sea_orm::DbErr;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    DatabaseError,
    backend::Backend,
    find_others::find_others,
    group::Group,
    sql::{Column, Scalar, Statement},
    statements::{FIND, FIND_AND_ASSIGN, FIND_TYPES, LIST_DEVICES, READ_REVISION},
    write_connection::rows,
};
use crate::domain::{
    change::{Actor, Revision},
    command::{TouchedPair, Touches},
    id::{CustomerId, OrganizationId},
    state::{DeviceList, Existing},
};

/// What exists of all that a group touches.
#[derive(Default)]
pub(super) struct Found {
    pub(super) existing: Existing,
    /// The revision that it was read at.
    pub(super) revision: Revision,
    /// Whether the statement that read it has also carried the group out.
    pub(super) is_carried_out: bool,
    /// Whether one statement read it, so that it is of one snapshot without a transaction.
    pub(super) is_of_one_statement: bool,
}

/// A row of the result of [`FIND`] and [`FIND_AND_ASSIGN`]: the ids of a customer and of a device, whether the device was
/// assigned to the customer, whether the group was carried out, and the revision.
type Row = (Option<Uuid>, Option<Uuid>, Option<bool>, bool, i64);

impl Group<'_> {
    /// Reads what the group touches. Several statements are of one snapshot on PostgreSQL under the lock of the organization, and on
    /// SQLite within a transaction. Without one, whoever plans a group checks the revision afterwards.
    pub(super) async fn find<B: Backend>(&self, connection: &mut B::Connection) -> Result<Found, DatabaseError> {
        find::<B>(connection, self.organization, &self.touches()).await
    }

    /// Reads what the group touches, and carries it out if nothing has to be created. PostgreSQL's alone.
    pub(super) async fn find_and_assign<B: Backend>(
        &self,
        connection: &mut B::Connection,
    ) -> Result<Found, DatabaseError> {
        let touches = self.touches();
        let pairs = touches.sorted_pairs();
        let origins = || self.jobs.iter().map(|job| job.origin());
        let statement = FIND_AND_ASSIGN
            .bind(
                [
                    Scalar::Id(self.organization.uuid()),
                    Scalar::Time(OffsetDateTime::now_utc()),
                    Scalar::Flag(touches.creates_devices()),
                ],
                [Column::Texts(touches.emails().to_vec())],
            )
            .and([
                Column::OptionalIds(origins().map(|origin| origin.actor.api_key()).collect()),
                Column::OptionalTexts(origins().map(|origin| origin.actor.operator()).collect()),
                Column::OptionalTexts(origins().map(|origin| origin.request_id.as_deref()).collect()),
            ])
            .and([
                Column::OptionalNumbers(pairs.iter().map(|pair| pair.customer).collect()),
                Column::Texts(pairs.iter().map(|pair| pair.identifier).collect()),
                Column::Numbers(pairs.iter().map(|pair| pair.command).collect()),
            ]);
        read::<B>(connection, &statement, &touches, &pairs).await
    }
}

/// Reads what commands touch. The statements see one snapshot only if the transaction does.
pub(super) async fn find<B: Backend>(
    connection: &mut B::Connection,
    organization: OrganizationId,
    touches: &Touches<'_>,
) -> Result<Found, DatabaseError> {
    let pairs = touches.sorted_pairs();
    if pairs.is_empty() {
        let mut found = Found {
            revision: read_revision::<B>(connection, organization).await?,
            ..Found::default()
        };
        find_others::<B>(connection, organization, touches, &mut found.existing).await?;
        return Ok(found);
    }
    let statement = FIND
        .bind(
            [Scalar::Id(organization.uuid())],
            [Column::Texts(touches.emails().to_vec())],
        )
        .and([
            Column::OptionalNumbers(pairs.iter().map(|pair| pair.customer).collect()),
            Column::Texts(pairs.iter().map(|pair| pair.identifier).collect()),
        ]);
    let mut found = read::<B>(connection, &statement, touches, &pairs).await?;
    found.is_of_one_statement = touches.needs_one_statement();
    if touches.needs_types() {
        find_types::<B>(connection, organization, &mut found.existing).await?;
    }
    find_others::<B>(connection, organization, touches, &mut found.existing).await?;
    for (email, limit) in touches.counted() {
        if let Some(customer) = found.existing.customers.get(email).copied() {
            let list = list::<B>(connection, organization, customer, limit).await?;
            found.existing.listed.insert(customer, list);
        }
    }
    Ok(found)
}

/// The newest revision of an organization.
pub(super) async fn read_revision<B: Backend>(
    connection: &mut B::Connection,
    organization: OrganizationId,
) -> Result<Revision, DatabaseError> {
    let statement = READ_REVISION.bind([Scalar::Id(organization.uuid())], []);
    let revisions: Vec<(i64,)> = rows::<B, _>(connection, &statement).await?;
    let revision = revisions.first().map_or(0, |(revision,)| *revision);
    Ok(Revision::from_stored(revision))
}

async fn find_types<B: Backend>(
    connection: &mut B::Connection,
    organization: OrganizationId,
    existing: &mut Existing,
) -> Result<(), DatabaseError> {
    let devices: Vec<_> = existing.devices.iter().collect();
    let identifiers = devices.iter().map(|(identifier, _)| identifier.as_str()).collect();
    let statement = FIND_TYPES.bind([Scalar::Id(organization.uuid())], [Column::Texts(identifiers)]);
    let types: Vec<(Option<String>,)> = rows::<B, _>(connection, &statement).await?;
    for ((_, device), (device_type,)) in devices.into_iter().zip(types) {
        existing
            .types
            .extend(device_type.map(|device_type| (*device, device_type)));
    }
    Ok(())
}

async fn read<B: Backend>(
    connection: &mut B::Connection,
    statement: &Statement<'_>,
    touches: &Touches<'_>,
    pairs: &[TouchedPair<'_>],
) -> Result<Found, DatabaseError> {
    let rows: Vec<Row> = rows::<B, _>(connection, statement).await?;
    let mut found = Found::default();
    let existing = &mut found.existing;
    for ((customer_id, device_id, is_assigned, is_carried_out, revision), pair) in rows.into_iter().zip(pairs) {
        if let (Some(id), Some(email)) = (customer_id, touches.email_of(pair)) {
            existing.customers.insert(email.to_owned(), id.into());
        }
        if let Some(id) = device_id {
            existing.devices.insert(pair.identifier.to_owned(), id.into());
        }
        if let (Some(customer), Some(device), Some(true)) = (customer_id, device_id, is_assigned) {
            existing.assignments.insert((customer.into(), device.into()));
        }
        found.revision = Revision::from_stored(revision);
        found.is_carried_out = is_carried_out;
    }
    Ok(found)
}

/// The first devices of a customer, and how many it has.
async fn list<B: Backend>(
    connection: &mut B::Connection,
    organization: OrganizationId,
    customer: CustomerId,
    limit: usize,
) -> Result<DeviceList, DatabaseError> {
    let scalars = [
        Scalar::Id(organization.uuid()),
        Scalar::Id(customer.uuid()),
        Scalar::Number(i64::try_from(limit).unwrap_or(i64::MAX)),
    ];
    let rows: Vec<(Option<String>, Option<Uuid>, i64)> =
        rows::<B, _>(connection, &LIST_DEVICES.bind(scalars, [])).await?;
    let mut list = DeviceList::default();
    for (identifier, device, count) in rows {
        list.count = usize::try_from(count).map_err(|error| DatabaseError::Fault(DbErr::Custom(error.to_string())))?;
        list.first.extend(identifier.zip(device.map(Into::into)));
    }
    Ok(list)
}

impl Actor {
    /// The key of a caller.
    pub(super) fn api_key(&self) -> Option<Uuid> {
        match self {
            Self::ApiKey(key) => Some(key.uuid()),
            Self::Operator(_) | Self::Service => None,
        }
    }

    /// The name of an operator.
    pub(super) fn operator(&self) -> Option<&str> {
        match self {
            Self::Operator(name) => name.as_deref(),
            Self::ApiKey(_) | Self::Service => None,
        }
    }
}
