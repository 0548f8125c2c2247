//! Writes what a group changed, with its entries in the change log.

use std::iter;

use sea_orm::DbErr;
use time::OffsetDateTime;
use type_safe_id::{StaticType, TypeSafeId};
use uuid::Uuid;

use super::{
    DatabaseError,
    answers::{erase_answers, write_answers},
    backend::Backend,
    citus::Dialect,
    sql::{Column, Scalar, Statement},
    statements::{
        DELETE_ASSIGNMENTS, DELETE_CUSTOMERS, DELETE_DEVICES, FREE_EMAILS, INSERT_ASSIGNMENTS, INSERT_CHANGES,
        INSERT_CUSTOMERS, INSERT_DEVICES, LOG_AND_ASSIGN, UPDATE_CUSTOMERS, UPDATE_DEVICE_TYPES, UPDATE_PROPERTIES,
    },
    write_connection::{execute, execute_all},
};
use crate::domain::{
    change::{ChangeSet, LogEntry, Pair, Revision},
    customer::CustomerData,
    id::{CustomerId, OrganizationId},
    json_object::JsonObject,
};

/// Writes `changes`, which were planned at revision `head`.
///
/// Answers for idempotency keys go last.
///
/// The entries of the log go first: two writers of one organization meet there and nowhere else. A writer that wrote
/// assignments first would deadlock with one that wrote the log first.
///
/// # Errors
/// [`DatabaseError::Conflict`] if somebody else has changed the organization since.
pub(super) async fn write_changes<B: Backend>(
    connection: &mut B::Connection,
    dialect: Dialect,
    organization: OrganizationId,
    changes: &ChangeSet,
    head: Revision,
) -> Result<(), DatabaseError> {
    if changes.is_empty() {
        return Ok(());
    }
    let statements = statements(organization, changes, head).map(|statement| statement.on(dialect));
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
    erase_answers::<B>(connection, organization, &changes.erased).await?;
    write_answers::<B>(connection, dialect, organization, &changes.answers, head).await
}

/// Writes what organizations changed, each planned at a revision, and commits it, if all of it [only
/// assigns](ChangeSet::only_assigns). SQLite's alone.
///
/// # Errors
/// As [`write_changes`]. Nothing happened then. After a conflict there is no transaction.
pub(super) async fn log_and_assign<B: Backend>(
    connection: &mut B::Connection,
    changes: &[(OrganizationId, Revision, &ChangeSet)],
) -> Result<(), DatabaseError> {
    // The organization of each row.
    let organizations = |rows: fn(&ChangeSet) -> usize| {
        let of_rows = |(organization, _, changes): &(OrganizationId, _, &ChangeSet)| {
            iter::repeat_n(organization.uuid(), rows(changes))
        };
        Column::Ids(changes.iter().flat_map(of_rows).collect())
    };
    let numbers = changes
        .iter()
        .flat_map(|(_, head, changes)| numbers(&changes.log, *head));
    let log: Vec<_> = changes.iter().flat_map(|(.., changes)| &changes.log).collect();
    let [kinds, actors, operators, request_ids] = origins(&log);
    let [customers, devices] = pairs(changes.iter().flat_map(|(.., changes)| &changes.assigned));
    let statement = LOG_AND_ASSIGN
        .bind(
            [Scalar::Time(OffsetDateTime::now_utc())],
            [
                organizations(|changes| changes.log.len()),
                Column::Revisions(numbers.collect()),
                kinds,
                actors,
                operators,
                request_ids,
                lists(&log, |entry| customers_of(&entry.assigned)),
                lists(&log, |entry| devices_of(&entry.assigned)),
            ],
        )
        .and([organizations(|changes| changes.assigned.len()), customers, devices]);
    execute::<B>(connection, &statement).await?;
    Ok(())
}

/// The statements in the order in which they can run: rows are deleted before others get their names, and after their assignments.
fn statements<'a>(organization: OrganizationId, changes: &'a ChangeSet, head: Revision) -> [Statement<'a>; 11] {
    let ChangeSet {
        customers,
        devices,
        customers_updated,
        emails_freed,
        customers_deleted,
        types,
        properties,
        devices_deleted,
        assigned,
        unassigned,
        erased: _,
        answers: _,
        log,
    } = changes;
    let organization = Scalar::Id(organization.uuid());
    let now = Scalar::Time(OffsetDateTime::now_utc());
    [
        log_entries([organization, now], log, head),
        DELETE_ASSIGNMENTS.bind([organization], pairs(unassigned)),
        DELETE_CUSTOMERS.bind([organization], [ids(customers_deleted)]),
        DELETE_DEVICES.bind([organization], [ids(devices_deleted)]),
        FREE_EMAILS.bind([organization], [ids(emails_freed)]),
        UPDATE_CUSTOMERS.bind(
            [organization],
            customer_columns(customers_updated.iter().map(|(id, data)| (*id, data))),
        ),
        INSERT_CUSTOMERS.bind(
            [organization, now],
            customer_columns(customers.iter().map(|customer| (customer.id, &customer.data))),
        ),
        INSERT_DEVICES.bind(
            [organization, now],
            [
                Column::Ids(devices.iter().map(|device| device.id.uuid()).collect()),
                Column::Texts(devices.iter().map(|device| device.identifier.as_str()).collect()),
                Column::Texts(devices.iter().map(|device| device.device_type.as_str()).collect()),
                Column::OptionalTexts(
                    devices
                        .iter()
                        .map(|device| device.properties.as_ref().map(JsonObject::as_str))
                        .collect(),
                ),
            ],
        ),
        UPDATE_DEVICE_TYPES.bind(
            [organization],
            [
                Column::Texts(types.iter().map(|(identifier, _)| identifier.as_str()).collect()),
                Column::Texts(types.iter().map(|(_, device_type)| device_type.as_str()).collect()),
            ],
        ),
        UPDATE_PROPERTIES.bind(
            [organization],
            [
                Column::Texts(properties.iter().map(|(identifier, _)| identifier.as_str()).collect()),
                Column::Texts(properties.iter().map(|(_, properties)| properties.as_str()).collect()),
            ],
        ),
        INSERT_ASSIGNMENTS.bind([organization, now], pairs(assigned)),
    ]
}

fn ids<'a, T: StaticType>(ids: &[TypeSafeId<T>]) -> Column<'a> {
    Column::Ids(uuids(ids))
}

fn uuids<T: StaticType>(ids: &[TypeSafeId<T>]) -> Vec<Uuid> {
    ids.iter().map(TypeSafeId::uuid).collect()
}

fn customer_columns<'a>(customers: impl Iterator<Item = (CustomerId, &'a CustomerData)> + Clone) -> [Column<'a>; 6] {
    let texts =
        |text: fn(&'a CustomerData) -> &'a str| Column::Texts(customers.clone().map(|(_, data)| text(data)).collect());
    [
        Column::Ids(customers.clone().map(|(id, _)| id.uuid()).collect()),
        texts(|data| data.email.as_str()),
        texts(|data| &data.name),
        texts(|data| &data.phone),
        texts(|data| &data.address),
        Column::OptionalTexts(customers.clone().map(|(_, data)| data.metadata.as_deref()).collect()),
    ]
}

fn pairs<'a, 'p>(pairs: impl IntoIterator<Item = &'p Pair>) -> [Column<'a>; 2] {
    let (customers, devices) = pairs
        .into_iter()
        .map(|(customer, device)| (customer.uuid(), device.uuid()))
        .unzip();
    [Column::Ids(customers), Column::Ids(devices)]
}

fn log_entries<'a>(scalars: [Scalar; 2], log: &'a [LogEntry], head: Revision) -> Statement<'a> {
    let numbers = numbers(log, head).collect();
    let log: Vec<_> = log.iter().collect();
    let log = log.as_slice();
    let [kinds, actors, operators, request_ids] = origins(log);
    INSERT_CHANGES.bind(
        scalars,
        [
            Column::Revisions(numbers),
            kinds,
            actors,
            operators,
            request_ids,
            lists(log, |entry| uuids(&entry.customers_created)),
            lists(log, |entry| uuids(&entry.customers_updated)),
            lists(log, |entry| uuids(&entry.customers_deleted)),
            lists(log, |entry| uuids(&entry.devices_created)),
            lists(log, |entry| uuids(&entry.devices_updated)),
            lists(log, |entry| uuids(&entry.devices_deleted)),
            lists(log, |entry| customers_of(&entry.assigned)),
            lists(log, |entry| devices_of(&entry.assigned)),
            lists(log, |entry| customers_of(&entry.unassigned)),
            lists(log, |entry| devices_of(&entry.unassigned)),
        ],
    )
}

/// The revisions of entries that were planned at revision `head`.
fn numbers(log: &[LogEntry], head: Revision) -> impl Iterator<Item = i64> {
    (1..=log.len()).map(move |changes| head.after(changes).to_stored())
}

/// What kind of change each entry is, the API key or the operator who made it, and the id of the request.
fn origins<'a>(log: &[&'a LogEntry]) -> [Column<'a>; 4] {
    [
        Column::Texts(log.iter().map(|entry| entry.kind.name()).collect()),
        Column::OptionalIds(log.iter().map(|entry| entry.origin.actor.api_key()).collect()),
        Column::OptionalTexts(log.iter().map(|entry| entry.origin.actor.operator()).collect()),
        Column::OptionalTexts(log.iter().map(|entry| entry.origin.request_id.as_deref()).collect()),
    ]
}

fn lists<'a>(log: &[&LogEntry], list: fn(&LogEntry) -> Vec<Uuid>) -> Column<'a> {
    Column::IdLists(log.iter().map(|entry| list(entry)).collect())
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
