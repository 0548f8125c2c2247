//! The rows behind `AssignDevices`: loaded and written for a whole batch of one organization at once, in a number of
//! statements that does not grow with the batch.

use std::collections::HashSet;

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, FromQueryResult};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Failure, device,
    sql::{Column, Sql},
    transaction::Work,
};
use crate::domain::{
    assign_devices::{AssignDevices, Outcome},
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

/// Devices, each with those of the customers that own it.
///
/// One statement, because each statement sees what others have committed until then: a device that is read before somebody
/// else creates it, beside an assignment of theirs that is read after, would be an answer that no order of the calls gives.
const LOAD_DEVICES: Sql = Sql {
    postgres: "SELECT device.identifier, device.id, a.customer_id FROM device \
               LEFT JOIN device_assignment AS a ON a.organization_id = $1 \
               AND a.device_id = device.id AND a.customer_id = ANY($2) \
               WHERE device.organization_id = $1 AND device.identifier = ANY($3)",
    // The + keeps SQLite from trying every customer for every device: a device has few owners.
    sqlite: "SELECT device.identifier, device.id, a.customer_id FROM json_each(?3) AS row CROSS JOIN device \
             ON device.organization_id = ?1 AND device.identifier = row.value ->> 0 \
             LEFT JOIN device_assignment AS a INDEXED BY device_assignment_device ON a.organization_id = ?1 \
             AND a.device_id = device.id AND +a.customer_id IN (SELECT unhex(value ->> 0) FROM json_each(?2))",
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
    /// One of the customers, who owns the device.
    customer_id: Option<Uuid>,
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
        let plan = plan(&existing, self.commands.iter().copied(), &mut Uuid::now_v7);
        write(transaction, self.organization, &plan).await?;
        Ok(plan.outcomes)
    }
}

/// Reads what `organization` has of everything that `commands` name.
async fn load(
    db: &impl ConnectionTrait,
    organization: OrganizationId,
    commands: &[&AssignDevices],
) -> Result<Existing, DbErr> {
    let mut existing = Existing::default();

    let emails: HashSet<&str> = commands.iter().map(|command| command.customer().as_str()).collect();
    let rows = [Column::Texts(emails.into_iter().collect())];
    let customers: Vec<CustomerRow> = LOAD_CUSTOMERS.load(db, [organization.uuid().into()], rows).await?;
    let owners = Column::Ids(customers.iter().map(|row| row.id).collect());
    let customers = customers.into_iter().map(|row| (row.email, row.id.into()));
    existing.customers = customers.collect();

    let identifiers = commands.iter().flat_map(|command| command.devices());
    let identifiers: HashSet<&str> = identifiers.map(DeviceIdentifier::as_str).collect();
    let rows = [Column::Texts(identifiers.into_iter().collect())];
    let scalars = [organization.uuid().into(), owners.into_value(db.get_database_backend())];
    let devices: Vec<DeviceRow> = LOAD_DEVICES.load(db, scalars, rows).await?;
    for row in devices {
        let id = DeviceId::from(row.id);
        let pair = row.customer_id.map(|customer| (CustomerId::from(customer), id));
        existing.assignments.extend(pair);
        existing.devices.insert(row.identifier, id);
    }
    Ok(existing)
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
