//! The rows behind `AssignDevices`: found and written for a whole batch of one organization at once, in a number of
//! statements that does not grow with the batch.

use std::collections::{HashMap, HashSet};

use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    attempts::{Attempts, pause},
    device,
    observed::Kind,
    session::{Connection, OwnConnection, Session, Transaction},
    sql::{Column, Scalar, Sql, Statement},
};
use crate::{
    domain::{
        assign_devices::{AssignDevices, Outcome, UnknownDevices},
        id::OrganizationId,
        plan::{Existing, NoValidDevices, Plan, plan},
    },
    storage::DatabaseError,
    telemetry::metrics::BATCHES,
};

static FINDS: Kind = Kind::new("find_and_assign", "SELECT", "SELECT customer device device_assignment");
static INSERTS_OF_CUSTOMERS: Kind = Kind::new("insert_customers", "INSERT", "INSERT customer");
static INSERTS_OF_ASSIGNMENTS: Kind = Kind::new("insert_assignments", "INSERT", "INSERT device_assignment");

/// For each pair of a customer, given by its place in the first set, and a device: the id of each and whether the one owns
/// the other, as far as there is such a row. In the order of the pairs. If every customer is known, and every device where
/// devices may have to be created, PostgreSQL assigns at once what the customers do not own yet, and says so: most calls take
/// no other statement.
///
/// All in one statement, because each statement sees what others have committed until then: a device that somebody
/// created and assigned between two of them would be reported as owned beside others of theirs that are reported as
/// unknown, an answer that no order of the calls gives.
///
/// Each row is looked up by a subquery of its own, because the planner may turn a join into whatever its statistics
/// suggest, and those of a table that is being filled are wrong.
const FIND_AND_ASSIGN: Sql = Sql {
    kind: &FINDS,
    // OFFSET 0 keeps the planner from taking the inner SELECT apart and looking up each row twice.
    postgres: "WITH pair AS MATERIALIZED (SELECT known.n, known.customer_id, known.device_id, \
               (SELECT true FROM device_assignment AS a WHERE a.organization_id = $1 \
               AND a.customer_id = known.customer_id AND a.device_id = known.device_id) AS is_assigned \
               FROM (SELECT named.n, \
               (SELECT array_agg((SELECT customer.id FROM customer \
               WHERE customer.organization_id = $1 AND customer.email = owner.email) ORDER BY owner.n) \
               FROM unnest($4::text[]) WITH ORDINALITY AS owner (email, n))[named.owner + 1] AS customer_id, \
               (SELECT device.id FROM device \
               WHERE device.organization_id = $1 AND device.identifier = named.identifier) AS device_id \
               FROM unnest($5::integer[], $6::text[]) WITH ORDINALITY AS named (owner, identifier, n) OFFSET 0) AS known), \
               plan AS MATERIALIZED (SELECT NOT EXISTS (SELECT FROM pair \
               WHERE pair.customer_id IS NULL OR ($3 AND pair.device_id IS NULL)) AS creates_nothing), \
               written AS (INSERT INTO device_assignment (organization_id, customer_id, device_id, created_at) \
               SELECT $1, pair.customer_id, pair.device_id, $2 FROM pair \
               WHERE pair.device_id IS NOT NULL AND pair.is_assigned IS NULL AND (SELECT creates_nothing FROM plan) \
               ORDER BY pair.customer_id, pair.device_id) \
               SELECT pair.customer_id, pair.device_id, pair.is_assigned, (SELECT creates_nothing FROM plan) \
               FROM pair ORDER BY pair.n",
    // It does not write in the middle of a query.
    sqlite: "WITH owner AS MATERIALIZED (SELECT key AS n, (SELECT customer.id FROM customer \
             WHERE customer.organization_id = ?1 AND customer.email = value ->> 0) AS id FROM json_each(?4)), \
             known AS MATERIALIZED (SELECT pair.key AS n, \
             (SELECT owner.id FROM owner WHERE owner.n = pair.value ->> 0) AS customer_id, \
             (SELECT device.id FROM device \
             WHERE device.organization_id = ?1 AND device.identifier = pair.value ->> 1) AS device_id \
             FROM json_each(?5) AS pair) \
             SELECT known.customer_id, known.device_id, \
             (SELECT true FROM device_assignment AS a WHERE a.organization_id = ?1 \
             AND a.customer_id = known.customer_id AND a.device_id = known.device_id), false \
             FROM known ORDER BY known.n",
};

// The inserts say nothing about conflicts: a row that is there already has been made by somebody else since the plan's
// rows were found, and then nothing of the plan may be written.

const INSERT_CUSTOMERS: Sql = Sql {
    kind: &INSERTS_OF_CUSTOMERS,
    postgres: "INSERT INTO customer (organization_id, id, email, name, created_at) \
               SELECT $1, row.id, row.email, row.name, $2 \
               FROM unnest($3::uuid[], $4::text[], $5::text[]) AS row (id, email, name)",
    sqlite: "INSERT INTO customer (organization_id, id, email, name, created_at) \
             SELECT ?1, unhex(value ->> 0), value ->> 1, value ->> 2, ?2 FROM json_each(?3)",
};

const INSERT_ASSIGNMENTS: Sql = Sql {
    kind: &INSERTS_OF_ASSIGNMENTS,
    postgres: "INSERT INTO device_assignment (organization_id, customer_id, device_id, created_at) \
               SELECT $1, row.customer_id, row.device_id, $2 \
               FROM unnest($3::uuid[], $4::uuid[]) AS row (customer_id, device_id)",
    sqlite: "INSERT INTO device_assignment (organization_id, customer_id, device_id, created_at) \
             SELECT ?1, unhex(value ->> 0), unhex(value ->> 1), ?2 FROM json_each(?3)",
};

/// Commands of one organization, to be carried out one after the other.
pub(super) struct Batch<'a> {
    pub(super) organization: OrganizationId,
    pub(super) commands: Vec<&'a AssignDevices>,
}

/// The answer to each command of a batch, in order.
pub(super) type Outcomes = Vec<Result<Outcome, NoValidDevices>>;

/// Carries out `batches` in one transaction, and again when another writer came first.
///
/// Two writers that take the same batches in different orders can deadlock: they go in the order of their organizations.
///
/// # Errors
/// When nothing happened, with one exception: when the database became unreachable during the commit, the outcome is
/// unknown. The position is that of the batch that failed, if it was one.
#[expect(
    clippy::manual_async_fn,
    reason = "the compiler cannot yet see by itself that the future is Send"
)]
pub(super) fn assign_devices<'a>(
    connection: &'a mut OwnConnection,
    batches: &'a [Batch<'a>],
) -> impl Future<Output = Result<Vec<Outcomes>, Refused>> + Send + 'a {
    async move {
        let mut attempts = Attempts::default();
        loop {
            match once(connection, batches).await {
                Err(refused) if attempts.may_succeed_after(&refused.failure) => {
                    BATCHES.reruns_after_conflict.increment(1);
                    pause().await;
                }
                result => return result,
            }
        }
    }
}

async fn once(connection: &mut OwnConnection, batches: &[Batch<'_>]) -> Result<Vec<Outcomes>, Refused> {
    let mut session = connection.take().await?;
    let result = match batches {
        [batch] => alone(&mut session, batch).await.map_err(Refused::at(0)),
        _ => together(&mut session, batches).await,
    };
    match &result {
        Err(refused) if !matches!(refused.failure, DatabaseError::Conflict(_)) => session.close_on_drop(),
        _ => connection.keep(session),
    }
    result
}

/// Carries out a batch in one statement, which is a transaction by itself, when it creates nothing.
async fn alone(session: &mut Session, batch: &Batch<'_>) -> Result<Vec<Outcomes>, DatabaseError> {
    let found = batch.find_and_assign(session.connection()).await?;
    let plan = batch.plan(&found);
    if !found.is_assigned {
        session.write(&inserts(batch.organization, &plan)).await?;
    }
    Ok(vec![plan.outcomes])
}

/// Carries out several batches in one transaction.
async fn together(session: &mut Session, batches: &[Batch<'_>]) -> Result<Vec<Outcomes>, Refused> {
    let mut transaction = session.begin().await?;
    let mut outcomes = Vec::with_capacity(batches.len());
    while let Some(batch) = batches.get(outcomes.len()) {
        match part(&mut transaction, batch).await {
            Ok(of_batch) => outcomes.push(of_batch),
            Err(failure) => {
                transaction.roll_back().await;
                return Err(Refused::at(outcomes.len())(failure));
            }
        }
    }
    transaction.commit().await?;
    Ok(outcomes)
}

async fn part(transaction: &mut Transaction<'_>, batch: &Batch<'_>) -> Result<Outcomes, DatabaseError> {
    let found = batch.find_and_assign(transaction.connection()).await?;
    let plan = batch.plan(&found);
    if !found.is_assigned {
        transaction.execute(&inserts(batch.organization, &plan)).await?;
    }
    Ok(plan.outcomes)
}

/// The ids of a customer and of a device, whether the one owns the other, and whether nothing is left to be written.
type Row = (Option<Uuid>, Option<Uuid>, Option<bool>, bool);

/// What a batch found.
struct Found {
    existing: Existing,
    /// Whether the batch creates nothing, and what it assigns is written.
    is_assigned: bool,
}

impl<'a> Batch<'a> {
    /// Reads what the organization has of everything that the commands name, and assigns it if that is all there is to do.
    async fn find_and_assign(&self, connection: Connection<'_>) -> Result<Found, DatabaseError> {
        let mut owners = HashMap::new();
        let mut emails = Vec::new();
        let mut pairs = HashSet::new();
        for command in &self.commands {
            let email = command.customer().as_str();
            let owner = *owners.entry(email).or_insert_with(|| {
                emails.push(email);
                emails.len() - 1
            });
            pairs.extend(command.devices().iter().map(|device| (owner, device.as_str())));
        }
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        // In the order of the index, each row is found next to the last one.
        pairs.sort_unstable_by_key(|(_, device)| *device);
        let numbers = pairs.iter().map(|(owner, _)| i32::try_from(*owner).unwrap_or(i32::MAX));
        let identifiers = pairs.iter().map(|(_, device)| *device);
        let may_create_devices = self
            .commands
            .iter()
            .any(|command| *command.unknown_devices() != UnknownDevices::Skip);
        let scalars = [
            Scalar::Id(self.organization.uuid()),
            Scalar::Time(OffsetDateTime::now_utc()),
            Scalar::Flag(may_create_devices),
        ];
        let statement = FIND_AND_ASSIGN
            .bind(scalars, [Column::Texts(emails.clone())])
            .and([Column::Numbers(numbers.collect()), Column::Texts(identifiers.collect())]);
        let rows: Vec<Row> = connection.rows(&statement).await?;

        let mut found = Found {
            existing: Existing::default(),
            is_assigned: rows.iter().all(|(.., is_assigned)| *is_assigned),
        };
        let existing = &mut found.existing;
        for (row, (owner, device)) in rows.into_iter().zip(pairs) {
            let (customer_id, device_id, is_assigned, _) = row;
            if let (Some(id), Some(email)) = (customer_id, emails.get(owner)) {
                existing.customers.insert((*email).to_owned(), id.into());
            }
            if let Some(id) = device_id {
                existing.devices.insert(device.to_owned(), id.into());
            }
            if let (Some(customer), Some(device), Some(true)) = (customer_id, device_id, is_assigned) {
                existing.assignments.insert((customer.into(), device.into()));
            }
        }
        Ok(found)
    }

    fn plan(&self, found: &Found) -> Plan<'a> {
        plan(&found.existing, self.commands.iter().copied(), &mut Uuid::now_v7)
    }
}

/// The statements that write what `plan` says, and nothing else.
fn inserts<'a>(organization: OrganizationId, plan: &Plan<'a>) -> Vec<Statement<'a>> {
    let now = OffsetDateTime::now_utc();
    let scalars = [Scalar::Id(organization.uuid()), Scalar::Time(now)];
    let (customers, assignments) = (&plan.customers, &plan.assignments);
    let statements = [
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
    ];
    statements
        .into_iter()
        .filter(|statement| !statement.is_void())
        .collect()
}

/// Why none of several batches was carried out.
#[derive(Debug)]
pub(super) struct Refused {
    /// The position of the one that failed, if it was one of them.
    pub(super) position: Option<usize>,
    pub(super) failure: DatabaseError,
}

impl Refused {
    fn at(position: usize) -> impl FnOnce(DatabaseError) -> Self {
        move |failure| Self {
            position: Some(position),
            failure,
        }
    }
}

impl From<DatabaseError> for Refused {
    fn from(failure: DatabaseError) -> Self {
        Self {
            position: None,
            failure,
        }
    }
}
