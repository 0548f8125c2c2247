//! Random batches through the real writer of both databases: they answer as a sequential model does, and hold the same rows.

use device_assignment::storage::WriterSettings;
use futures_util::future::{join, join_all};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use sea_orm::ConnectionTrait;

use crate::{
    Size,
    calls::{Call, calls},
    model::{Answer, World},
    side::Side,
    support::Kind,
    tables,
};

const ORGANIZATIONS: usize = 3;
/// The tables are compared after so many batches. The next ones begin with empty tables.
const BATCHES_PER_ROUND: u32 = 1_000;

/// Makes random values. The same seed gives the same values.
pub struct Random(TestRunner);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        Self(TestRunner::new_with_rng(Config::default(), random))
    }

    pub fn value<S: Strategy>(&mut self, strategy: &S) -> S::Value {
        strategy.new_tree(&mut self.0).expect("a value").current()
    }
}

pub fn run(size: Size) -> String {
    // On one thread, the writers run only while this code waits. So all calls that it submits before are in the queue when a
    // writer takes them, and share a transaction.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut random = Random::new(size.seed);
        let mut planted = Counts::default();
        let difference = round(&mut random, 20, true, &mut planted).await;
        let difference = difference.expect_err("a planted fault is found");
        println!("batches: found the planted fault: {difference}");

        let mut counts = Counts::default();
        let mut left = size.rounds;
        while left > 0 {
            let batches = left.min(BATCHES_PER_ROUND);
            let result = round(&mut random, batches, false, &mut counts).await;
            result.unwrap_or_else(|difference| panic!("{difference}"));
            left -= batches;
        }
        let Counts {
            batches,
            commands,
            changes,
            rejections,
            rows,
        } = counts;
        format!(
            "{batches} batches with {commands} commands ({changes} changes, {rejections} rejections) on SQLite and \
             PostgreSQL, {rows} rows compared: no difference"
        )
    })
}

#[derive(Default)]
struct Counts {
    batches: u64,
    commands: u64,
    changes: u64,
    rejections: u64,
    rows: usize,
}

/// Runs so many batches on new databases.
///
/// # Errors
/// The first difference between a database and the model, or between the databases.
async fn round(random: &mut Random, batches: u32, plants_fault: bool, counts: &mut Counts) -> Result<(), String> {
    let settings = WriterSettings {
        workers: 1,
        small_devices: usize::MAX,
        batch_devices: 10_000_000,
        queue_devices: 100_000_000,
        ..WriterSettings::default()
    };
    let mut sqlite = Side::start(Kind::Sqlite, &[settings], ORGANIZATIONS).await;
    let mut postgres = Side::start(Kind::Postgres, &[settings], ORGANIZATIONS).await;
    let result = compare(random, batches, plants_fault, [&mut sqlite, &mut postgres], counts).await;
    sqlite.finish().await;
    postgres.finish().await;
    result
}

async fn compare(
    random: &mut Random,
    batches: u32,
    plants_fault: bool,
    mut sides: [&mut Side; 2],
    counts: &mut Counts,
) -> Result<(), String> {
    let strategy = prop::collection::vec((0..ORGANIZATIONS, calls()), 1..=8);
    let mut organizations: Vec<Organization> = (0..ORGANIZATIONS).map(|_| Organization::default()).collect();
    for number in 0..batches {
        let batch = random.value(&strategy);
        let expected: Vec<_> = batch
            .iter()
            .map(|(organization, call)| organizations[*organization].carry_out(call))
            .collect();
        let [first, second] = sides.each_ref().map(|side| {
            let calls = batch.iter().enumerate();
            let calls =
                calls.map(|(at, (organization, call))| side.submit(0, *organization, call, format!("{number}-{at}")));
            join_all(calls.collect::<Vec<_>>())
        });
        let (first, second) = join(first, second).await;
        for (side, answers) in sides.iter_mut().zip([first, second]) {
            for ((organization, call), (answered, expected)) in batch.iter().zip(answers.into_iter().zip(&expected)) {
                let revision = answered.revision;
                let answer = side.answer(*organization, call, answered.outcome);
                if (&answer, revision) != (&expected.0, expected.1) {
                    return Err(format!(
                        "{:?}, batch {number}: {call:?} was answered {answer:?} at {revision:?}, and the model says \
                         {expected:?}",
                        side.database.kind
                    ));
                }
            }
        }
        counts.batches += 1;
        counts.commands += batch.len() as u64;
        counts.rejections += expected.iter().filter(|(_, revision)| revision.is_none()).count() as u64;
        if plants_fault && number == batches / 2 {
            let connection = sides[0].database.connect().await;
            let lost = connection.execute_unprepared("DELETE FROM device_assignment").await;
            assert!(lost.expect("a deletion").rows_affected() > 0);
            connection.close().await.expect("closed");
        }
    }
    counts.changes += organizations.iter().map(|organization| organization.head).sum::<u64>();

    let transactions = format!(
        "SELECT count(DISTINCT xmin::text) FROM change_log WHERE request_id LIKE '{}-%'",
        batches - 1
    );
    let transactions = sides[1].database.number(&transactions).await;
    assert!(
        transactions <= 1,
        "the calls of a batch shared a transaction, not {transactions}"
    );
    for side in &sides {
        for (number, organization) in organizations.iter().enumerate() {
            let world = side.world(number).await;
            if world != organization.world {
                return Err(format!(
                    "{:?} holds {world:?}, and the model {:?}",
                    side.database.kind, organization.world
                ));
            }
        }
        side.verify().await?;
    }
    let [one, other] = [
        tables::dump(&sides[0].database).await,
        tables::dump(&sides[1].database).await,
    ];
    counts.rows += one.lines().count();
    match one.lines().zip(other.lines()).find(|(one, other)| one != other) {
        Some((one, other)) => Err(format!("SQLite has {one}, and PostgreSQL {other}")),
        None if one.len() != other.len() => Err("one database has more rows".to_owned()),
        None => Ok(()),
    }
}

/// An organization as the model has it.
#[derive(Debug, Clone, Default)]
pub struct Organization {
    pub world: World,
    /// Its newest revision.
    pub head: u64,
}

impl Organization {
    /// Carries out a call: its answer, and the revision that it is answered with, which a rejected call does not learn.
    pub fn carry_out(&mut self, call: &Call) -> (Answer, Option<u64>) {
        let before = self.world.clone();
        let answer = self.world.carry_out(call);
        self.head += u64::from(self.world != before);
        let revision = (!matches!(answer, Answer::Rejected(_))).then_some(self.head);
        (answer, revision)
    }
}
