//! The rows behind `AssignDevices`: loaded and written for a whole batch of one organization at once, in a number of
//! statements that does not grow with the batch.

use std::collections::{HashMap, HashSet};

use sea_orm::DatabaseConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    attempts::{Attempts, pause},
    device,
    observed::Kind,
    session::{Refused, Session},
    sql::{Column, Scalar, Sql, Statement},
};
use crate::{
    domain::{
        assign_devices::{AssignDevices, Outcome},
        id::OrganizationId,
        plan::{Existing, NoValidDevices, Plan, plan},
    },
    storage::Failure,
    telemetry::metrics::BATCHES,
};

static LOADS: Kind = Kind::new("load", "SELECT", "SELECT customer device device_assignment");
static INSERTS_OF_CUSTOMERS: Kind = Kind::new("insert_customers", "INSERT", "INSERT customer");
static INSERTS_OF_ASSIGNMENTS: Kind = Kind::new("insert_assignments", "INSERT", "INSERT device_assignment");

/// For each pair of a customer, given by its place in the first set, and a device: the id of each and whether the one owns
/// the other, as far as there is such a row. In the order of the pairs.
///
/// All in one statement, because each statement sees what others have committed until then: a device that somebody
/// created and assigned between two of them would be reported as owned beside others of theirs that are reported as
/// unknown, an answer that no order of the calls gives.
///
/// Each row is looked up by a subquery of its own, because the planner may turn a join into whatever its statistics
/// suggest, and those of a table that is being filled are wrong.
const LOAD: Sql = Sql {
    kind: &LOADS,
    // OFFSET 0 keeps the planner from taking the inner SELECT apart and looking up each row twice.
    postgres: "SELECT known.customer_id, known.device_id, \
               (SELECT true FROM device_assignment AS a WHERE a.organization_id = $1 \
               AND a.customer_id = known.customer_id AND a.device_id = known.device_id) \
               FROM (SELECT pair.n, \
               (SELECT array_agg((SELECT customer.id FROM customer \
               WHERE customer.organization_id = $1 AND customer.email = owner.email) ORDER BY owner.n) \
               FROM unnest($2::text[]) WITH ORDINALITY AS owner (email, n))[pair.owner + 1] AS customer_id, \
               (SELECT device.id FROM device \
               WHERE device.organization_id = $1 AND device.identifier = pair.identifier) AS device_id \
               FROM unnest($3::integer[], $4::text[]) WITH ORDINALITY AS pair (owner, identifier, n) OFFSET 0) AS known \
               ORDER BY known.n",
    sqlite: "WITH owner AS MATERIALIZED (SELECT key AS n, (SELECT customer.id FROM customer \
             WHERE customer.organization_id = ?1 AND customer.email = value ->> 0) AS id FROM json_each(?2)), \
             known AS MATERIALIZED (SELECT pair.key AS n, \
             (SELECT owner.id FROM owner WHERE owner.n = pair.value ->> 0) AS customer_id, \
             (SELECT device.id FROM device \
             WHERE device.organization_id = ?1 AND device.identifier = pair.value ->> 1) AS device_id \
             FROM json_each(?3) AS pair) \
             SELECT known.customer_id, known.device_id, \
             (SELECT true FROM device_assignment AS a WHERE a.organization_id = ?1 \
             AND a.customer_id = known.customer_id AND a.device_id = known.device_id) \
             FROM known ORDER BY known.n",
};

// The inserts say nothing about conflicts: a row that is there already has been made by somebody else since the plan's
// rows were loaded, and then nothing of the plan may be written.

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
    pool: &'a DatabaseConnection,
    batches: &'a [Batch<'a>],
) -> impl Future<Output = Result<Vec<Outcomes>, Refused>> + Send + 'a {
    async move {
        let mut attempts = Attempts::default();
        loop {
            match once(pool, batches).await {
                Err(refused) if attempts.may_succeed_after(&refused.failure) => {
                    BATCHES.reruns_after_conflict.increment(1);
                    pause().await;
                }
                result => return result,
            }
        }
    }
}

async fn once(pool: &DatabaseConnection, batches: &[Batch<'_>]) -> Result<Vec<Outcomes>, Refused> {
    let mut session = Session::take(pool).await?;
    let plans = match plans(&mut session, batches).await {
        Err(Refused {
            failure: Failure::Unreachable(_),
            ..
        }) => {
            // It may have been closed while nobody used it. Nothing has been written yet: another one may do.
            drop(session);
            session = Session::take(pool).await?;
            plans(&mut session, batches).await?
        }
        plans => plans?,
    };
    let (statements, batch_of) = inserts(batches, &plans);
    session.write(&statements).await.map_err(|refused| Refused {
        position: refused.position.and_then(|statement| batch_of.get(statement).copied()),
        ..refused
    })?;
    Ok(plans.into_iter().map(|plan| plan.outcomes).collect())
}

/// Works out what each of `batches` changes.
async fn plans<'a>(session: &mut Session, batches: &[Batch<'a>]) -> Result<Vec<Plan<'a>>, Refused> {
    let mut plans = Vec::with_capacity(batches.len());
    while let Some(batch) = batches.get(plans.len()) {
        match batch.load(session).await {
            Ok(existing) => plans.push(plan(&existing, batch.commands.iter().copied(), &mut Uuid::now_v7)),
            Err(failure) => {
                let position = Some(plans.len());
                return Err(Refused { position, failure });
            }
        }
    }
    Ok(plans)
}

impl Batch<'_> {
    /// Reads what the organization has of everything that the commands name.
    async fn load(&self, session: &mut Session) -> Result<Existing, Failure> {
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
        let statement = LOAD
            .bind([Scalar::Id(self.organization.uuid())], [Column::Texts(emails.clone())])
            .and([Column::Numbers(numbers.collect()), Column::Texts(identifiers.collect())]);
        let rows: Vec<(Option<Uuid>, Option<Uuid>, Option<bool>)> = session.rows(&statement).await?;

        let mut existing = Existing::default();
        for (row, (owner, device)) in rows.into_iter().zip(pairs) {
            let (customer_id, device_id, is_assigned) = row;
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
        Ok(existing)
    }
}

/// The statements that write what `plans` say, and nothing else; and for each the position of its batch.
fn inserts<'a>(batches: &[Batch<'_>], plans: &[Plan<'a>]) -> (Vec<Statement<'a>>, Vec<usize>) {
    let now = OffsetDateTime::now_utc();
    let mut statements = Vec::new();
    let mut batch_of = Vec::new();
    for (position, (batch, plan)) in batches.iter().zip(plans).enumerate() {
        let scalars = [Scalar::Id(batch.organization.uuid()), Scalar::Time(now)];
        let (customers, assignments) = (&plan.customers, &plan.assignments);
        let of_batch = [
            INSERT_CUSTOMERS.bind(
                scalars,
                [
                    Column::Ids(customers.iter().map(|customer| customer.id.uuid()).collect()),
                    Column::Texts(customers.iter().map(|customer| customer.email.as_str()).collect()),
                    Column::Texts(customers.iter().map(|customer| customer.email.local_part()).collect()),
                ],
            ),
            device::insert(batch.organization, &plan.devices, now),
            INSERT_ASSIGNMENTS.bind(
                scalars,
                [
                    Column::Ids(assignments.iter().map(|(customer, _)| customer.uuid()).collect()),
                    Column::Ids(assignments.iter().map(|(_, device)| device.uuid()).collect()),
                ],
            ),
        ];
        statements.extend(of_batch.into_iter().filter(|statement| !statement.is_void()));
        batch_of.resize(statements.len(), position);
    }
    (statements, batch_of)
}
