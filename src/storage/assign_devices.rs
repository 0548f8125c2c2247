//! The rows behind `AssignDevices`: loaded and written for a whole batch of one organization at once, in a number of
//! statements that does not grow with the batch.

use std::collections::{HashMap, HashSet};

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, FromQueryResult};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Failure, device,
    sql::{Column, Sql},
    transaction::Work,
};
use crate::domain::{
    assign_devices::{AssignDevices, Outcome, UnknownDevices},
    device::DeviceIdentifier,
    id::{CustomerId, DeviceId, OrganizationId},
    plan::{Existing, NoValidDevices, Plan, plan},
};

const LOAD_CUSTOMERS: Sql = Sql {
    postgres: "SELECT email, id FROM customer WHERE organization_id = $1 AND email = ANY($2)",
    // CROSS JOIN keeps SQLite from putting the table outside: it would read all of it.
    sqlite: "SELECT customer.email, customer.id FROM json_each(?2) AS row CROSS JOIN customer \
             ON customer.organization_id = ?1 AND customer.email = row.value ->> 0",
};

const LOAD_DEVICES: Sql = Sql {
    postgres: "SELECT identifier, id FROM device WHERE organization_id = $1 AND identifier = ANY($2)",
    sqlite: "SELECT device.identifier, device.id FROM json_each(?2) AS row CROSS JOIN device \
             ON device.organization_id = ?1 AND device.identifier = row.value ->> 0",
};

const LOAD_ASSIGNMENTS: Sql = Sql {
    postgres: "SELECT a.customer_id, a.device_id \
               FROM unnest($2::uuid[], $3::uuid[]) AS pair (customer_id, device_id) \
               JOIN device_assignment AS a ON a.organization_id = $1 \
               AND a.customer_id = pair.customer_id AND a.device_id = pair.device_id",
    sqlite: "SELECT a.customer_id, a.device_id FROM json_each(?2) AS row CROSS JOIN device_assignment AS a \
             ON a.organization_id = ?1 \
             AND a.customer_id = unhex(row.value ->> 0) AND a.device_id = unhex(row.value ->> 1)",
};

// SQLite cannot tell the ON of an upsert from the ON of a join without a WHERE before it.

const INSERT_CUSTOMERS: Sql = Sql {
    postgres: "INSERT INTO customer (organization_id, id, email, name, created_at) \
               SELECT $1, row.id, row.email, row.name, $2 \
               FROM unnest($3::uuid[], $4::text[], $5::text[]) AS row (id, email, name) \
               ON CONFLICT (organization_id, email) DO NOTHING",
    sqlite: "INSERT INTO customer (organization_id, id, email, name, created_at) \
             SELECT ?1, unhex(value ->> 0), value ->> 1, value ->> 2, ?2 FROM json_each(?3) WHERE true \
             ON CONFLICT (organization_id, email) DO NOTHING",
};

const INSERT_ASSIGNMENTS: Sql = Sql {
    postgres: "INSERT INTO device_assignment (organization_id, customer_id, device_id, created_at) \
               SELECT $1, row.customer_id, row.device_id, $2 \
               FROM unnest($3::uuid[], $4::uuid[]) AS row (customer_id, device_id) \
               ON CONFLICT (organization_id, customer_id, device_id) DO NOTHING",
    sqlite: "INSERT INTO device_assignment (organization_id, customer_id, device_id, created_at) \
             SELECT ?1, unhex(value ->> 0), unhex(value ->> 1), ?2 FROM json_each(?3) WHERE true \
             ON CONFLICT (organization_id, customer_id, device_id) DO NOTHING",
};

#[derive(FromQueryResult)]
struct CustomerRow {
    email: String,
    id: Uuid,
}

#[derive(FromQueryResult)]
struct DeviceRow {
    identifier: String,
    id: Uuid,
}

#[derive(FromQueryResult)]
struct AssignmentRow {
    customer_id: Uuid,
    device_id: Uuid,
}

/// Commands of one organization, to be carried out in one transaction.
pub(super) struct Batch<'a> {
    pub(super) organization: OrganizationId,
    pub(super) commands: Vec<&'a AssignDevices>,
}

impl Work for Batch<'_> {
    /// The answer to each command, in order.
    type Output = Vec<Result<Outcome, NoValidDevices>>;

    async fn run(&self, transaction: &DatabaseTransaction) -> Result<Self::Output, Failure> {
        let existing = load(transaction, self.organization, &self.commands).await?;
        self.still_unknown(transaction, &existing).await?;
        let plan = plan(&existing, self.commands.iter().copied(), &mut Uuid::now_v7);
        write(transaction, self.organization, &plan).await?;
        Ok(plan.outcomes)
    }
}

impl Batch<'_> {
    /// Looks once more for the devices that are going to be skipped.
    ///
    /// Each statement sees what others have committed until then. A device that somebody created after the devices were
    /// read, and before the assignments were, would be skipped beside an assignment of theirs: an answer that no order of
    /// the calls gives. What is to be inserted needs no second look, for the insert itself finds out.
    ///
    /// # Errors
    /// [`Failure::Overtaken`] when one of them is known now.
    async fn still_unknown(&self, db: &impl ConnectionTrait, existing: &Existing) -> Result<(), Failure> {
        let skipping = self
            .commands
            .iter()
            .filter(|command| *command.unknown_devices() == UnknownDevices::Skip);
        let skipped: HashSet<&str> = skipping
            .flat_map(|command| command.devices())
            .map(DeviceIdentifier::as_str)
            .filter(|identifier| !existing.devices.contains_key(*identifier))
            .collect();
        let rows = [Column::Texts(skipped.into_iter().collect())];
        let known: Vec<DeviceRow> = LOAD_DEVICES.load(db, [self.organization.uuid().into()], rows).await?;
        if known.is_empty() {
            Ok(())
        } else {
            Err(Failure::Overtaken)
        }
    }
}

/// Reads what `organization` has of everything that `commands` name.
async fn load(
    db: &impl ConnectionTrait,
    organization: OrganizationId,
    commands: &[&AssignDevices],
) -> Result<Existing, DbErr> {
    let scalars = || [organization.uuid().into()];

    let emails: HashSet<&str> = commands.iter().map(|command| command.customer().as_str()).collect();
    let rows = [Column::Texts(emails.into_iter().collect())];
    let customers: Vec<CustomerRow> = LOAD_CUSTOMERS.load(db, scalars(), rows).await?;
    let customers = customers.into_iter().map(|row| (row.email, row.id.into())).collect();

    let identifiers = commands.iter().flat_map(|command| command.devices());
    let identifiers: HashSet<&str> = identifiers.map(DeviceIdentifier::as_str).collect();
    let rows = [Column::Texts(identifiers.into_iter().collect())];
    let devices: Vec<DeviceRow> = LOAD_DEVICES.load(db, scalars(), rows).await?;
    let devices = devices.into_iter().map(|row| (row.identifier, row.id.into())).collect();

    let pairs = pairs(commands, &customers, &devices).into_iter();
    let (customer_ids, device_ids) = pairs.map(|(customer, device)| (customer.uuid(), device.uuid())).unzip();
    let rows = [Column::Ids(customer_ids), Column::Ids(device_ids)];
    let assignments: Vec<AssignmentRow> = LOAD_ASSIGNMENTS.load(db, scalars(), rows).await?;
    let assignments = assignments
        .into_iter()
        .map(|row| (row.customer_id.into(), row.device_id.into()))
        .collect();

    Ok(Existing {
        customers,
        devices,
        assignments,
    })
}

/// The customers and devices that `commands` bring together, as far as both exist.
fn pairs(
    commands: &[&AssignDevices],
    customers: &HashMap<String, CustomerId>,
    devices: &HashMap<String, DeviceId>,
) -> HashSet<(CustomerId, DeviceId)> {
    commands
        .iter()
        .filter_map(|command| Some((command, customers.get(command.customer().as_str())?)))
        .flat_map(|(command, customer)| {
            let known = command
                .devices()
                .iter()
                .filter_map(|device| devices.get(device.as_str()));
            known.map(|device| (*customer, *device))
        })
        .collect()
}

/// Inserts what `plan` says, and nothing else.
///
/// # Errors
/// [`Failure::Overtaken`] when a row is there already: somebody else made it since the plan's rows were loaded.
async fn write(db: &impl ConnectionTrait, organization: OrganizationId, plan: &Plan<'_>) -> Result<(), Failure> {
    let scalars = || [organization.uuid().into(), OffsetDateTime::now_utc().into()];

    let customers = &plan.customers;
    let rows = [
        Column::Ids(customers.iter().map(|customer| customer.id.uuid()).collect()),
        Column::Texts(customers.iter().map(|customer| customer.email.as_str()).collect()),
        Column::Texts(customers.iter().map(|customer| customer.email.local_part()).collect()),
    ];
    all_new(INSERT_CUSTOMERS.execute(db, scalars(), rows).await?, customers.len())?;

    all_new(
        device::insert(db, organization, &plan.devices).await?,
        plan.devices.len(),
    )?;

    let assignments = &plan.assignments;
    let rows = [
        Column::Ids(assignments.iter().map(|(customer, _)| customer.uuid()).collect()),
        Column::Ids(assignments.iter().map(|(_, device)| device.uuid()).collect()),
    ];
    all_new(
        INSERT_ASSIGNMENTS.execute(db, scalars(), rows).await?,
        assignments.len(),
    )
}

fn all_new(inserted: u64, planned: usize) -> Result<(), Failure> {
    if inserted == planned as u64 {
        Ok(())
    } else {
        Err(Failure::Overtaken)
    }
}
