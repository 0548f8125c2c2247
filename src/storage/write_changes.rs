//! Writes what a group changed, with its entries in the change log.

use sea_orm::DbErr;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    DatabaseError,
    backend::Backend,
    sql::{Column, Scalar, Statement},
    statements::{
        DELETE_ASSIGNMENTS, INSERT_ASSIGNMENTS, INSERT_CHANGES, INSERT_CUSTOMERS, INSERT_DEVICES, UPDATE_DEVICE_TYPES,
    },
    write_connection::execute_all,
};
use crate::domain::{
    change::{ChangeSet, LogEntry, Pair, Revision},
    id::OrganizationId,
};

/// Writes `changes`, which were planned at revision `head`.
///
/// The entries of the log go first: two writers of one organization meet there and nowhere else. A writer that wrote
/// assignments first would deadlock with one that wrote the log first.
///
/// # Errors
/// [`DatabaseError::Conflict`] if somebody else has changed the organization since.
pub(super) async fn write_changes<B: Backend>(
    connection: &mut B::Connection,
    organization: OrganizationId,
    changes: &ChangeSet,
    head: Revision,
) -> Result<(), DatabaseError> {
    if changes.is_empty() {
        return Ok(());
    }
    let statements = statements(organization, changes, head);
    let written = execute_all::<B, _>(connection, &statements).await?;
    for (statement, written) in statements.iter().zip(written) {
        let planned = statement.row_count();
        if u64::try_from(planned) != Ok(written) {
            let problem = format!(
                "{} wrote {written} rows, but {planned} were planned",
                statement.kind().name()
            );
            return Err(DatabaseError::Conflict(DbErr::Custom(problem)));
        }
    }
    Ok(())
}

fn statements<'a>(organization: OrganizationId, changes: &'a ChangeSet, head: Revision) -> [Statement<'a>; 6] {
    let ChangeSet {
        customers,
        devices,
        types,
        assigned,
        unassigned,
        log,
    } = changes;
    let organization = Scalar::Id(organization.uuid());
    let now = Scalar::Time(OffsetDateTime::now_utc());
    [
        log_entries([organization, now], log, head),
        INSERT_CUSTOMERS.bind(
            [organization, now],
            [
                Column::Ids(customers.iter().map(|customer| customer.id.uuid()).collect()),
                Column::Texts(customers.iter().map(|customer| customer.email.as_str()).collect()),
                Column::Texts(customers.iter().map(|customer| customer.email.local_part()).collect()),
            ],
        ),
        INSERT_DEVICES.bind(
            [organization, now],
            [
                Column::Ids(devices.iter().map(|device| device.id.uuid()).collect()),
                Column::Texts(devices.iter().map(|device| device.identifier.as_str()).collect()),
                Column::Texts(devices.iter().map(|device| device.device_type.as_str()).collect()),
            ],
        ),
        UPDATE_DEVICE_TYPES.bind(
            [organization],
            [
                Column::Texts(types.iter().map(|(identifier, _)| identifier.as_str()).collect()),
                Column::Texts(types.iter().map(|(_, device_type)| device_type.as_str()).collect()),
            ],
        ),
        INSERT_ASSIGNMENTS.bind([organization, now], pairs(assigned)),
        DELETE_ASSIGNMENTS.bind([organization], pairs(unassigned)),
    ]
}

fn pairs<'a>(pairs: &[Pair]) -> [Column<'a>; 2] {
    [
        Column::Ids(pairs.iter().map(|(customer, _)| customer.uuid()).collect()),
        Column::Ids(pairs.iter().map(|(_, device)| device.uuid()).collect()),
    ]
}

fn log_entries<'a>(scalars: [Scalar; 2], log: &'a [LogEntry], head: Revision) -> Statement<'a> {
    let lists = |list: fn(&LogEntry) -> Vec<Uuid>| Column::IdLists(log.iter().map(list).collect());
    INSERT_CHANGES.bind(
        scalars,
        [
            Column::Revisions((1..=log.len()).map(|changes| head.after(changes).to_stored()).collect()),
            Column::Texts(log.iter().map(|entry| entry.kind.name()).collect()),
            Column::OptionalIds(log.iter().map(|entry| entry.origin.actor.api_key()).collect()),
            Column::OptionalTexts(log.iter().map(|entry| entry.origin.actor.operator()).collect()),
            Column::OptionalTexts(log.iter().map(|entry| entry.origin.request_id.as_deref()).collect()),
            lists(|entry| entry.customers_created.iter().map(|customer| customer.uuid()).collect()),
            lists(|entry| entry.devices_created.iter().map(|device| device.uuid()).collect()),
            lists(|entry| entry.devices_updated.iter().map(|device| device.uuid()).collect()),
            lists(|entry| customers_of(&entry.assigned)),
            lists(|entry| devices_of(&entry.assigned)),
            lists(|entry| customers_of(&entry.unassigned)),
            lists(|entry| devices_of(&entry.unassigned)),
        ],
    )
}

/// The customers of pairs; one alone if all have the same.
fn customers_of(pairs: &[Pair]) -> Vec<Uuid> {
    let mut customers: Vec<_> = pairs.iter().map(|(customer, _)| customer.uuid()).collect();
    if customers.windows(2).all(|two| two.first() == two.last()) {
        customers.truncate(1);
    }
    customers
}

fn devices_of(pairs: &[Pair]) -> Vec<Uuid> {
    pairs.iter().map(|(_, device)| device.uuid()).collect()
}
