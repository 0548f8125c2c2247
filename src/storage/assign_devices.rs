//! The rows behind `AssignDevices`: found and written for a whole group of calls, in a number of statements that does not
//! grow with the calls.

use std::collections::BTreeMap;

use sea_orm::sqlx;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    DatabaseError,
    backend::Backend,
    device,
    error::BatchError,
    sql::{Column, Scalar, Statement},
    statements::{FIND_AND_ASSIGN, INSERT_ASSIGNMENTS, INSERT_CUSTOMERS},
    write_connection::{begin, commit, execute_all, roll_back, rows, write},
};
use crate::domain::{
    assign_devices::{AssignDevices, Outcome, UnknownDevices},
    id::OrganizationId,
    plan::{Existing, NoValidDevices, Plan, plan},
};

/// The commands of a group, run as if one after the other.
pub(super) struct GroupCommands<'a> {
    pub(super) organization: OrganizationId,
    pub(super) commands: Vec<&'a AssignDevices>,
}

/// The outcome of each command of a group, in order.
pub(super) type Outcomes = Vec<Result<Outcome, NoValidDevices>>;

/// Runs all `groups` in one transaction.
///
/// Two writers that take the same groups in different orders can deadlock, so the groups must be in the order of their
/// organizations.
///
/// # Errors
/// When nothing happened, with one exception: if the connection broke during the commit, the outcome is unknown.
pub(super) async fn assign_devices<B: Backend>(
    connection: &mut B::Connection,
    groups: &[GroupCommands<'_>],
) -> Result<Vec<Outcomes>, BatchError> {
    if let [group] = groups {
        let outcomes = alone::<B>(connection, group).await;
        return Ok(vec![outcomes.map_err(|error| BatchError { index: Some(0), error })?]);
    }
    let mut transaction = begin::<B>(connection).await?;
    let mut outcomes = Vec::with_capacity(groups.len());
    for (index, group) in groups.iter().enumerate() {
        match in_transaction(&mut transaction, group).await {
            Ok(of_group) => outcomes.push(of_group),
            Err(error) => {
                roll_back(transaction).await;
                let index = Some(index);
                return Err(BatchError { index, error });
            }
        }
    }
    commit(transaction).await?;
    Ok(outcomes)
}

/// Runs a group as a transaction of its own: a single statement, if nothing has to be created.
async fn alone<B: Backend>(
    connection: &mut B::Connection,
    group: &GroupCommands<'_>,
) -> Result<Outcomes, DatabaseError> {
    let found = group.find_and_assign::<B>(connection).await?;
    let plan = group.plan(&found);
    if !found.is_written {
        write::<B, _>(connection, &inserts(group.organization, &plan)).await?;
    }
    Ok(plan.outcomes)
}

async fn in_transaction<B: Backend>(
    transaction: &mut sqlx::Transaction<'_, B>,
    group: &GroupCommands<'_>,
) -> Result<Outcomes, DatabaseError> {
    let found = group.find_and_assign::<B>(transaction).await?;
    let plan = group.plan(&found);
    if !found.is_written {
        execute_all::<B, _>(transaction, &inserts(group.organization, &plan)).await?;
    }
    Ok(plan.outcomes)
}

/// A row of the result of [`FIND_AND_ASSIGN`]: the ids of a customer and of a device, whether the customer owned the device
/// before, and whether the statement wrote all that has to be written.
type Row = (Option<Uuid>, Option<Uuid>, Option<bool>, bool);

/// What exists of all that a group names.
struct Found {
    existing: Existing,
    /// Whether all that the group assigns is written, and nothing has to be created.
    is_written: bool,
}

impl<'a> GroupCommands<'a> {
    /// Finds all that the commands name, and assigns it if nothing has to be created.
    async fn find_and_assign<B: Backend>(&self, connection: &mut B::Connection) -> Result<Found, DatabaseError> {
        let (emails, pairs) = self.customers_and_pairs();
        let rows: Vec<Row> = rows::<B, _>(connection, &self.find_statement(emails, &pairs)).await?;
        let mut found = Found {
            existing: Existing::default(),
            is_written: rows.iter().all(|(.., is_written)| *is_written),
        };
        let existing = &mut found.existing;
        for ((customer_id, device_id, is_assigned, _), pair) in rows.into_iter().zip(pairs) {
            if let Some(id) = customer_id {
                existing.customers.insert(pair.email.to_owned(), id.into());
            }
            if let Some(id) = device_id {
                existing.devices.insert(pair.device.to_owned(), id.into());
            }
            if let (Some(customer), Some(device), Some(true)) = (customer_id, device_id, is_assigned) {
                existing.assignments.insert((customer.into(), device.into()));
            }
        }
        Ok(found)
    }

    /// The email addresses of the customers, and each customer with each of its devices, once.
    fn customers_and_pairs(&self) -> (Vec<&'a str>, Vec<Pair<'a>>) {
        let mut devices_by_customer = BTreeMap::<&str, Vec<&str>>::new();
        for command in &self.commands {
            let devices = devices_by_customer.entry(command.customer().as_str()).or_default();
            devices.extend(command.devices().iter().map(|device| device.as_str()));
        }
        let emails = devices_by_customer.keys().copied().collect();
        let mut pairs: Vec<_> = devices_by_customer
            .into_iter()
            .zip(0..)
            .flat_map(|((email, devices), customer)| {
                devices.into_iter().map(move |device| Pair {
                    device,
                    customer,
                    email,
                })
            })
            .collect();
        // In the order of the index on devices: each row is found next to the one before.
        pairs.sort_unstable();
        pairs.dedup();
        (emails, pairs)
    }

    fn find_statement(&self, emails: Vec<&'a str>, pairs: &[Pair<'a>]) -> Statement<'a> {
        let may_create_devices = self
            .commands
            .iter()
            .any(|command| *command.unknown_devices() != UnknownDevices::Skip);
        let scalars = [
            Scalar::Id(self.organization.uuid()),
            Scalar::Time(OffsetDateTime::now_utc()),
            Scalar::Flag(may_create_devices),
        ];
        FIND_AND_ASSIGN.bind(scalars, [Column::Texts(emails)]).and([
            Column::Numbers(pairs.iter().map(|pair| pair.customer).collect()),
            Column::Texts(pairs.iter().map(|pair| pair.device).collect()),
        ])
    }

    fn plan(&self, found: &Found) -> Plan<'a> {
        plan(&found.existing, self.commands.iter().copied(), &mut Uuid::now_v7)
    }
}

/// A customer and one of the devices that calls assign to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pair<'a> {
    device: &'a str,
    /// The index of the customer among those of the group.
    customer: i32,
    email: &'a str,
}

/// The statements that write what `plan` says, and fail if another writer has written some of it since.
fn inserts<'a>(organization: OrganizationId, plan: &Plan<'a>) -> [Statement<'a>; 3] {
    let now = OffsetDateTime::now_utc();
    let scalars = [Scalar::Id(organization.uuid()), Scalar::Time(now)];
    let (customers, assignments) = (&plan.customers, &plan.assignments);
    [
        INSERT_CUSTOMERS.bind(
            scalars,
            [
                Column::Ids(customers.iter().map(|customer| customer.id.uuid()).collect()),
                Column::Texts(customers.iter().map(|customer| customer.email.as_str()).collect()),
                Column::Texts(customers.iter().map(|customer| customer.email.local_part()).collect()),
            ],
        ),
        device::insert(organization, &plan.devices, now),
        INSERT_ASSIGNMENTS.bind(
            scalars,
            [
                Column::Ids(assignments.iter().map(|(customer, _)| customer.uuid()).collect()),
                Column::Ids(assignments.iter().map(|(_, device)| device.uuid()).collect()),
            ],
        ),
    ]
}
