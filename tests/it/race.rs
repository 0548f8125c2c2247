//! Concurrent calls: the results are those of calls one after the other, and nothing is created twice.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::{Answer, Api, Client, Kind, Suite, TestDatabase, TestServer, devices, organization, seed};

const CALLERS: usize = 64;
const CALLS_PER_CALLER: usize = 20;
const CUSTOMERS: usize = 4;
const DEVICES: usize = 20;

pub fn register(suite: &mut Suite) {
    suite.on_each("race::hot_keys_on_one_instance", |db| hot_keys(db, 1));
    suite.on(Kind::Postgres, "race::hot_keys_on_two_instances", |db| hot_keys(db, 2));
    suite.on(Kind::Postgres, "race::the_deadlock_counter_counts", deadlock_control);
    suite.on(
        Kind::Postgres,
        "race::a_row_that_somebody_else_commits_meanwhile",
        overtaken,
    );
    for (name, meets) in [
        ("between_statements", Meets::BetweenStatements),
        ("in_a_statement", Meets::InStatement),
    ] {
        suite.on(
            Kind::Postgres,
            &format!("race::an_answer_that_some_order_of_the_calls_would_give::{name}"),
            move |db| serial_answer(db, meets),
        );
    }
    suite.test("race::the_tally_finds_what_is_reported_twice", tally_control);
}

/// What all responses together report as new.
#[derive(Default)]
struct Tally {
    customers: HashMap<String, usize>,
    devices: HashMap<String, usize>,
    assignments: HashMap<(String, String), usize>,
}

impl Tally {
    fn add(&mut self, email: &str, answer: &Answer) {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let body = &answer.body;
        if body["customerWasCreated"] == true {
            *self.customers.entry(email.to_owned()).or_default() += 1;
        }
        for device in body["assignedDevices"].as_array().expect("a list") {
            let pair = (text(&body["customerId"]), text(&device["deviceId"]));
            *self.assignments.entry(pair).or_default() += 1;
            if device["wasCreated"] == true {
                *self.devices.entry(text(&device["identifier"])).or_default() += 1;
            }
        }
    }

    /// What is reported as new several times.
    fn twice(&self) -> Vec<String> {
        let mut twice = Vec::new();
        twice.extend(
            self.customers
                .iter()
                .filter(|(_, count)| **count > 1)
                .map(|(key, _)| key.clone()),
        );
        twice.extend(
            self.devices
                .iter()
                .filter(|(_, count)| **count > 1)
                .map(|(key, _)| key.clone()),
        );
        let pairs = self.assignments.iter().filter(|(_, count)| **count > 1);
        twice.extend(pairs.map(|((customer, device), _)| format!("{customer} {device}")));
        twice
    }
}

async fn hot_keys(database: &'static TestDatabase, instances: usize) {
    let seed = seed();
    let key = organization(database, "acme").await;
    let mut servers = Vec::new();
    for _ in 0..instances {
        servers.push(TestServer::start(database).await);
    }
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let api = Api::ALL[caller % Api::ALL.len()];
        let client = servers[caller % instances].client(api, &key);
        callers.spawn(call_at_random(client, seed + caller as u64));
    }

    let mut tally = Tally::default();
    let mut asked = HashSet::new();
    while let Some(answers) = callers.join_next().await {
        for (email, identifiers, answer) in answers.expect("no panic") {
            assert_eq!(answer.code, "OK", "{answer:?}");
            assert_eq!(answer.identifiers("skipped"), [""; 0]);
            tally.add(&email, &answer);
            asked.extend(identifiers.into_iter().map(|identifier| (email.clone(), identifier)));
        }
    }
    for server in servers {
        server.stop().await;
    }

    assert_eq!(tally.twice(), [""; 0], "reported as new more than once");
    let emails: HashSet<_> = asked.iter().map(|(email, _)| email).collect();
    let identifiers: HashSet<_> = asked.iter().map(|(_, identifier)| identifier).collect();
    assert_eq!(
        tally.customers.len(),
        emails.len(),
        "every customer is reported as new once"
    );
    assert_eq!(
        tally.devices.len(),
        identifiers.len(),
        "every device is reported as new once"
    );
    assert_eq!(
        tally.assignments.len(),
        asked.len(),
        "every assignment is reported as new once"
    );
    for (table, expected) in [
        ("customer", emails.len()),
        ("device", identifiers.len()),
        ("device_assignment", asked.len()),
    ] {
        assert_eq!(
            database.count(table).await,
            i64::try_from(expected).expect("small"),
            "{table}"
        );
    }
    if database.kind == Kind::Postgres {
        assert_eq!(deadlocks(database).await, 0);
    }
}

async fn call_at_random(client: Client, seed: u64) -> Vec<(String, Vec<String>, Answer)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut answers = Vec::new();
    for _ in 0..CALLS_PER_CALLER {
        let email = format!("customer-{}@example.com", random.random_range(0..CUSTOMERS));
        let identifiers: Vec<String> = (0..random.random_range(1..6))
            .map(|_| format!("device-{}", random.random_range(0..DEVICES)))
            .collect();
        let borrowed: Vec<&str> = identifiers.iter().map(String::as_str).collect();
        let answer = client.create(&email, &borrowed).await;
        answers.push((email, identifiers, answer));
    }
    answers
}

async fn deadlocks(database: &TestDatabase) -> i64 {
    database
        .number("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        .await
}

/// Writers that insert in different orders deadlock, and the counter shows it.
async fn deadlock_control(database: &'static TestDatabase) {
    organization(database, "acme").await;
    let sessions = [database.connect().await, database.connect().await];
    let insert = |email: &str| {
        format!(
            "INSERT INTO customer SELECT id, gen_random_uuid(), '{email}', 'x', now() FROM organization \
             ON CONFLICT DO NOTHING"
        )
    };
    let [first, second] = [
        sessions[0].begin().await.expect("begun"),
        sessions[1].begin().await.expect("begun"),
    ];
    first
        .execute_unprepared(&insert("a@example.com"))
        .await
        .expect("inserted");
    second
        .execute_unprepared(&insert("b@example.com"))
        .await
        .expect("inserted");
    let (b, a) = (insert("b@example.com"), insert("a@example.com"));
    let (one, other) = tokio::join!(first.execute_unprepared(&b), async {
        let result = second.execute_unprepared(&a).await;
        // When the victim is rolled back, the other one continues.
        drop(second);
        result
    });
    assert!(
        one.is_err() != other.is_err(),
        "exactly one is the victim: {one:?} {other:?}"
    );
    drop(first);
    for session in sessions {
        session.close().await.expect("closed");
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while deadlocks(database).await == 0 {
        assert!(Instant::now() < deadline, "the counter stays at zero");
    }
}

/// A call that waits for another writer's rows reports those, not rows of its own.
async fn overtaken(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let outside = database.connect().await;
    let transaction = outside.begin().await.expect("begun");
    for sql in [
        "INSERT INTO customer SELECT id, '00000000-0000-7000-8000-00000000000a', 'john@example.com', 'john', now() \
         FROM organization",
        "INSERT INTO device SELECT id, '00000000-0000-7000-8000-00000000000b', 'SN-1', 'sensor', now() \
         FROM organization",
        "INSERT INTO device_assignment SELECT id, '00000000-0000-7000-8000-00000000000a', \
         '00000000-0000-7000-8000-00000000000b', now() FROM organization",
    ] {
        transaction.execute_unprepared(sql).await.expect("inserted");
    }

    let client = server.client(Api::Grpc, &key);
    let call = tokio::spawn(async move { client.create("john@example.com", &["SN-1", "SN-2"]).await });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name = 'device-assignment' AND wait_event_type = 'Lock'";
    let deadline = Instant::now() + Duration::from_secs(10);
    while database.number(waiting).await == 0 {
        assert!(Instant::now() < deadline, "the call waits for the row");
    }
    transaction.commit().await.expect("committed");

    let answer = call.await.expect("no panic").ok();
    assert_eq!(answer.body["customerWasCreated"], false);
    assert_eq!(answer.body["customerId"], "cust_0000000000e00800000000000a");
    assert_eq!(answer.identifiers("alreadyAssigned"), ["SN-1"]);
    assert_eq!(
        answer.body["alreadyAssigned"][0]["deviceId"],
        "dev_0000000000e00800000000000b"
    );
    assert_eq!(answer.identifiers("assignedDevices"), ["SN-2"]);
    assert_eq!(answer.body["assignedDevices"][0]["wasCreated"], true);
    outside.close().await.expect("closed");
    server.stop().await;
}

/// When another writer's change meets a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meets {
    /// Before a statement, which waits for the table.
    BetweenStatements,
    /// During a statement, which has read the rows from before, and then finds a row that it wants to write.
    InStatement,
}

/// Another writer creates a device and assigns it and another one during a call: the response is that of a call before or
/// after, and not a mix.
async fn serial_answer(database: &TestDatabase, meets: Meets) {
    let key = organization(database, "acme").await;
    devices(database, "acme", &["KNOWN", "MORE"]).await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, &key);
    client.assign("john@example.com", &["MORE"]).await.ok();
    let outside = database.connect().await;
    let transaction = outside.begin().await.expect("begun");
    let change = async || {
        for sql in [
            "INSERT INTO device SELECT id, gen_random_uuid(), 'NEW', 'sensor', now() FROM organization",
            "INSERT INTO device_assignment SELECT c.organization_id, c.id, d.id, now() FROM customer c, device d \
             WHERE d.identifier <> 'MORE'",
        ] {
            transaction.execute_unprepared(sql).await.expect("inserted");
        }
    };
    match meets {
        Meets::BetweenStatements => {
            let lock = "LOCK TABLE device_assignment IN ACCESS EXCLUSIVE MODE";
            transaction.execute_unprepared(lock).await.expect("locked");
        }
        Meets::InStatement => change().await,
    }

    let call = tokio::spawn(async move { client.assign("john@example.com", &["NEW", "KNOWN"]).await });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name = 'device-assignment' AND wait_event_type = 'Lock'";
    let deadline = Instant::now() + Duration::from_secs(10);
    while database.number(waiting).await == 0 {
        assert!(Instant::now() < deadline, "the call waits for the other change");
    }
    if meets == Meets::BetweenStatements {
        change().await;
    }
    transaction.commit().await.expect("committed");

    let answer = call.await.expect("no panic").ok();
    let lists = ["assignedDevices", "alreadyAssigned", "skipped"].map(|list| answer.identifiers(list));
    let before = [vec!["KNOWN"], vec![], vec!["NEW"]];
    let after = [vec![], vec!["NEW", "KNOWN"], vec![]];
    // Whose row is first was first.
    let may_be_before = meets == Meets::BetweenStatements;
    assert!(lists == after || (may_be_before && lists == before), "{lists:?}");
    outside.close().await.expect("closed");
    server.stop().await;
}

/// The tally finds a planted fault.
async fn tally_control() {
    let body = serde_json::json!({
        "customerId": "cust_1",
        "customerWasCreated": true,
        "assignedDevices": [{ "identifier": "SN-1", "deviceId": "dev_1", "wasCreated": true }],
    });
    let answer = Answer {
        replayed: false,
        code: "OK".into(),
        body,
        error: String::new(),
        violations: Vec::new(),
        request_id: String::new(),
        http: None,
        reason: None,
        metadata: BTreeMap::new(),
        retry_after: None,
        limits: [None, None],
        revision: None,
    };
    let mut tally = Tally::default();
    tally.add("john@example.com", &answer);
    assert_eq!(tally.twice(), [""; 0]);
    tally.add("john@example.com", &answer);
    assert_eq!(tally.twice(), ["john@example.com", "SN-1", "cust_1 dev_1"]);
}
