//! Calls with an idempotency key, each made by four callers at once while instances are killed: each call has one effect, and all
//! its callers get the same bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::ConnectionTrait;
use tokio::sync::watch;

use crate::{
    Size,
    kills::block_on,
    support::{Api, Client, Kind, Program, TestDatabase, TestServer, organization},
    writes::{Answer, WRITES, Write, until_it_succeeds},
};

const KEY: &str = "idempotency-key";
/// Callers of each call: over gRPC and REST, at two instances.
const CALLERS: usize = 4;
/// Calls that are made at the same time. One instance is killed meanwhile.
const ROUND: u32 = 20;

pub fn run(size: Size) -> String {
    block_on(async move {
        planted().await;
        let mut counts = Vec::new();
        for kind in [Kind::Sqlite, Kind::Postgres] {
            let mut random = StdRng::seed_from_u64(size.seed);
            let database = TestDatabase::create(kind).await;
            let counted = while_killed(&database, size.rounds, &mut random).await;
            crate::crash::verify(&database).await;
            database.remove().await;
            counts.push(format!("{kind:?}: {counted}"));
        }
        counts.join("; ")
    })
}

/// A call that was made, and its answers.
struct Made {
    number: u32,
    write: Write,
    answers: Vec<Answer>,
}

/// What was there before the calls.
struct Before {
    changes: i64,
}

impl Before {
    async fn of(database: &TestDatabase) -> Self {
        let changes = database.count("change_log").await;
        Self { changes }
    }
}

fn key_of(number: u32) -> String {
    format!("key-{number}")
}

/// A client of each API.
fn clients(address: impl Fn(Api) -> Client) -> [Client; 2] {
    [Api::Grpc, Api::Rest].map(address)
}

/// Gives each call a customer with two devices, which no other call names.
async fn prepare(client: &Client, numbers: std::ops::Range<u32>) -> Vec<(u32, Write)> {
    let prepared = numbers.map(async |number| {
        let email = format!("owner-{number}@example.com");
        let devices = [format!("OLD-{number}"), format!("OTHER-{number}")];
        let answer = client
            .create(&email, &devices.each_ref().map(String::as_str))
            .await
            .ok();
        let customer = answer.body["customerId"].as_str().expect("an id");
        (number, WRITES[number as usize % WRITES.len()].of(number, customer))
    });
    join_all(prepared).await
}

async fn while_killed(database: &TestDatabase, calls: u32, random: &mut StdRng) -> String {
    let key = organization(database, "acme").await;
    let serve = || Program::serve(database.url());
    let mut programs = [serve().await, serve().await];
    let mut before = Before::of(database).await;
    let (mut made, mut kills) = (Vec::new(), 0);
    let mut failures: BTreeMap<String, usize> = BTreeMap::new();
    for first in (0..calls).step_by(ROUND as usize) {
        let numbers = first..calls.min(first + ROUND);
        before.changes += i64::from(numbers.end - numbers.start);
        let writes = prepare(&programs[0].client(Api::Grpc, &key), numbers).await;
        let spare = serve().await;
        let instances = programs
            .each_ref()
            .map(|program| clients(|api| program.client(api, &key)));
        let (answered, mut has_answered) = watch::channel(0);
        let mut callers = Vec::new();
        for (number, write) in &writes {
            for caller in 0..CALLERS {
                let at = |instance: &[Client; 2]| instance[caller % 2].with_header(KEY, &key_of(*number));
                let mut clients = instances.each_ref().map(at);
                if caller >= CALLERS / 2 {
                    clients.reverse();
                }
                let (write, answered) = (write.clone(), answered.clone());
                callers.push(tokio::spawn(async move {
                    let answer = until_it_succeeds(&write, &clients).await;
                    answered.send_modify(|count| *count += 1);
                    answer
                }));
            }
        }
        // Chooses the moment of the crash: when so many callers have their answers, and a bit later.
        let some = random.random_range(0..callers.len() * 3 / 4);
        has_answered.wait_for(|count| *count >= some).await.expect("callers");
        tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await;
        let victim = usize::from(random.random::<bool>());
        std::mem::replace(&mut programs[victim], spare).kill().await;
        kills += 1;
        let mut answers = join_all(callers).await.into_iter();
        for (number, write) in writes {
            let answers: Vec<_> = answers
                .by_ref()
                .take(CALLERS)
                .map(|answer| answer.expect("no panic"))
                .collect();
            for reason in answers.iter().flat_map(|(_, failures)| failures) {
                *failures.entry(reason.clone()).or_default() += 1;
            }
            let answers = answers.into_iter().map(|(answer, _)| answer).collect();
            made.push(Made { number, write, answers });
        }
    }
    let client = clients(|api| programs[0].client(api, &key));
    assert_eq!(faults(database, &client, &before, &made).await, [""; 0]);
    for program in programs {
        program.kill().await;
    }
    format!(
        "{calls} calls of {} kinds by {CALLERS} callers each, {kills} kills, failed attempts: {failures:?}; each call had one effect, \
         and all its answers the same bytes",
        WRITES.len().min(calls as usize)
    )
}

/// Makes each call once more, and says what contradicts that each had one effect and one answer.
async fn faults(database: &TestDatabase, clients: &[Client; 2], before: &Before, made: &[Made]) -> Vec<String> {
    let mut faults = Vec::new();
    for Made { number, write, answers } in made {
        let mut all: Vec<Answer> = answers.clone();
        for client in clients {
            let client = client.with_header(KEY, &key_of(*number));
            let (again, _) = until_it_succeeds(write, &[client]).await;
            if !again.replayed {
                faults.push(format!("{write:?} was carried out again"));
            }
            all.push(again);
        }
        for api in [Api::Grpc, Api::Rest] {
            let bytes: BTreeSet<_> = all
                .iter()
                .filter(|answer| answer.api == api)
                .map(|answer| &answer.bytes)
                .collect();
            if bytes.len() != 1 {
                faults.push(format!(
                    "{write:?} has {} different answers over {}",
                    bytes.len(),
                    api.name()
                ));
            }
        }
        let first = &all[0];
        if all
            .iter()
            .any(|answer| (&answer.json, answer.revision) != (&first.json, first.revision))
        {
            faults.push(format!("{write:?} has different answers: {all:?}"));
        }
        let is_new = answers.iter().filter(|answer| !answer.replayed).count();
        // None if the instance was killed that carried it out.
        if is_new > 1 {
            faults.push(format!("{write:?} was carried out {is_new} times"));
        }
    }
    let expected = i64::try_from(made.len()).expect("a count");
    let changes = database.count("change_log").await - before.changes;
    if changes != expected {
        faults.push(format!("{expected} calls made {changes} changes"));
    }
    let stored = database.count("idempotency_key").await;
    if stored != expected {
        faults.push(format!("{expected} calls have {stored} stored answers"));
    }
    faults
}

/// Plants an answer that is lost, so that its call is carried out again, and an answer that is that of another call.
async fn planted() {
    let database = TestDatabase::create(Kind::Sqlite).await;
    let key = organization(&database, "acme").await;
    let server = TestServer::start(&database).await;
    let clients = clients(|api| server.client(api, &key));
    let kinds = u32::try_from(WRITES.len()).expect("few kinds");
    // Two calls of each kind.
    let writes = prepare(&clients[0], 0..2 * kinds).await;
    let before = Before::of(&database).await;
    let mut made = Vec::new();
    for (number, write) in writes {
        let (answer, _) = until_it_succeeds(&write, &[clients[0].with_header(KEY, &key_of(number))]).await;
        let answers = vec![answer];
        made.push(Made { number, write, answers });
    }
    assert_eq!(faults(&database, &clients, &before, &made).await, [""; 0]);

    let of = |made: &Made| format!("revision = {}", made.answers[0].revision);
    let connection = database.connect().await;
    for sql in [
        format!("DELETE FROM idempotency_key WHERE {}", of(&made[0])),
        format!(
            "UPDATE idempotency_key SET answer = (SELECT answer FROM idempotency_key WHERE {}) WHERE {}",
            of(&made[1 + WRITES.len()]),
            of(&made[1])
        ),
    ] {
        let changed = connection.execute_unprepared(&sql).await.expect(&sql).rows_affected();
        assert_eq!(changed, 1, "{sql}");
    }
    connection.close().await.expect("closed");
    let found = faults(&database, &clients, &before, &made).await;
    for fault in [
        format!("{:?} was carried out again", made[0].write),
        format!("{:?} has 2 different answers over {}", made[1].write, Api::Grpc.name()),
    ] {
        assert!(found.contains(&fault), "{fault} is not found: {found:#?}");
    }
    server.stop().await;
    database.remove().await;
    println!("idempotency: found the planted faults: a lost answer, and the answer of another call");
}
