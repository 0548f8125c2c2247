//! Random calls through several instances on one PostgreSQL: in the order of their revisions they answer as a sequential model
//! does, and the change log replayed gives the tables.

use device_assignment::storage::WriterSettings;
use futures_util::future::join_all;
use proptest::prelude::*;
use sea_orm::ConnectionTrait;

use crate::{
    Size,
    batches::{Organization, Random},
    calls::{Call, calls},
    model::Answer,
    side::Side,
    support::Kind,
};

const INSTANCES: usize = 3;
const ORGANIZATIONS: usize = 3;
/// Calls that run at the same time are a step.
const STEPS_PER_ROUND: usize = 50;

pub fn run(size: Size) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut random = Random::new(size.seed);
        let fault = round(&mut random, 5, true, &mut Counts::default()).await;
        let fault = fault.expect_err("a planted fault is found");
        println!("instances: found the planted fault: {fault}");

        let mut counts = Counts::default();
        for number in 0..size.rounds {
            let result = round(&mut random, STEPS_PER_ROUND, false, &mut counts).await;
            result.unwrap_or_else(|fault| panic!("round {number}: {fault}"));
        }
        let Counts { calls, changes, behind } = counts;
        format!(
            "{} rounds, {calls} calls over {INSTANCES} instances ({changes} changes; {behind} calls were carried out after a \
             later one): all explained, log and tables equal after each round, 0 deadlocks",
            size.rounds
        )
    })
}

#[derive(Default)]
struct Counts {
    calls: usize,
    changes: u64,
    /// Calls that the database put in another order than they were made: without them, the instances did not compete.
    behind: usize,
}

/// # Errors
/// The first thing that the model does not explain.
async fn round(random: &mut Random, steps: usize, plants_fault: bool, counts: &mut Counts) -> Result<(), String> {
    let mut side = Side::start(Kind::Postgres, &[WriterSettings::default(); INSTANCES], ORGANIZATIONS).await;
    let result = compare(&mut side, random, steps, plants_fault, counts).await;
    side.close().await;
    // Connections report their deadlocks when they end.
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let deadlocks = side.database.number(deadlocks).await;
    side.finish().await;
    if deadlocks > 0 {
        return Err(format!("{deadlocks} deadlocks"));
    }
    result
}

async fn compare(
    side: &mut Side,
    random: &mut Random,
    steps: usize,
    plants_fault: bool,
    counts: &mut Counts,
) -> Result<(), String> {
    let strategy = prop::collection::vec((0..INSTANCES, 0..ORGANIZATIONS, calls()), 2..=24);
    let mut organizations: Vec<Organization> = (0..ORGANIZATIONS).map(|_| Organization::default()).collect();
    for step in 0..steps {
        let calls = random.value(&strategy);
        let pending = calls.iter().enumerate().map(|(at, (instance, organization, call))| {
            side.submit(*instance, *organization, call, format!("{step}-{at}"))
        });
        let answers = join_all(pending.collect::<Vec<_>>()).await;
        counts.calls += calls.len();
        let mut made: Vec<_> = calls.into_iter().zip(answers).collect();
        let revisions = |of: usize| {
            let of_one = made.iter().filter(move |((_, organization, _), _)| *organization == of);
            of_one.filter_map(|(_, answer)| answer.revision).collect::<Vec<_>>()
        };
        let behind = |revisions: &[u64]| revisions.windows(2).filter(|pair| pair[0] > pair[1]).count();
        counts.behind += (0..ORGANIZATIONS).map(|of| behind(&revisions(of))).sum::<usize>();
        // A name that is deleted and created again has another id.
        made.sort_by_key(|(_, answer)| answer.revision);
        let mut answered: Vec<Vec<Answered>> = organizations.iter().map(|_| Vec::new()).collect();
        for ((_, organization, call), answer) in made {
            let revision = answer.revision;
            let answer = side.answer(organization, &call, answer.outcome);
            answered[organization].push(Answered { call, answer, revision });
        }
        for (organization, answered) in organizations.iter_mut().zip(answered) {
            explain(organization, answered).map_err(|fault| format!("step {step}: {fault}"))?;
        }
    }
    counts.changes += organizations.iter().map(|organization| organization.head).sum::<u64>();

    if plants_fault {
        let connection = side.database.connect().await;
        let planted = "INSERT INTO device_assignment SELECT c.organization_id, c.id, d.id, now() FROM customer c \
                       JOIN device d ON d.organization_id = c.organization_id ON CONFLICT DO NOTHING";
        let planted = connection.execute_unprepared(planted).await.expect("an insertion");
        assert!(planted.rows_affected() > 0);
        connection.close().await.expect("closed");
    }
    side.verify().await?;
    for (number, organization) in organizations.iter().enumerate() {
        let world = side.world(number).await;
        if world != organization.world {
            return Err(format!(
                "the tables hold {world:?}, and the model {:?}",
                organization.world
            ));
        }
    }
    Ok(())
}

/// A call of a step, and its answer.
struct Answered {
    call: Call,
    answer: Answer,
    revision: Option<u64>,
}

/// Carries out the calls of a step, all made at the same time, in the order of their revisions.
///
/// # Errors
/// The first answer that this order does not give.
fn explain(organization: &mut Organization, mut answered: Vec<Answered>) -> Result<(), String> {
    let newest = answered.iter().filter_map(|answered| answered.revision).max();
    let newest = newest.unwrap_or_default().max(organization.head);
    // The organization after each revision.
    let mut states = vec![organization.clone()];
    for revision in organization.head + 1..=newest {
        let changed = answered.iter().enumerate().find_map(|(at, answered)| {
            let mut state = organization.clone();
            let answer = state.carry_out(&answered.call).0;
            let explains = answered.revision == Some(revision) && answer == answered.answer && state.head == revision;
            explains.then_some((at, state))
        });
        let (at, state) = changed.ok_or_else(|| format!("no answer explains revision {revision}"))?;
        answered.swap_remove(at);
        states.push(state.clone());
        *organization = state;
    }
    // The others changed nothing. A rejected call does not learn its revision.
    for Answered { call, answer, revision } in answered {
        let mut seen = states
            .iter()
            .filter(|state| revision.is_none_or(|revision| revision == state.head));
        let is_explained = seen.any(|state| {
            let mut after = (*state).clone();
            after.carry_out(&call).0 == answer && after.head == state.head
        });
        if !is_explained {
            return Err(format!(
                "nothing explains that {call:?} was answered {answer:?} at {revision:?}"
            ));
        }
    }
    Ok(())
}
