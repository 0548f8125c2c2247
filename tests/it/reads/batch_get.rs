//! `BatchGetDeviceOwners`.

use std::time::Duration;

use device_assignment::service::Limit;
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{JANE, JOHN, Read, Rules, World, read};
use crate::{
    limits::{assert_too_many, settings},
    metrics::Metrics,
    support::{Answer, Api, Client, Kind, Program, Suite, TestDatabase, TestServer, load::eventually, organization},
};

/// Longer than anything here takes on any machine.
pub const HANGS: Duration = Duration::from_secs(60);

pub fn register(rules: &mut Rules<'_>) {
    rules.rule("batch_get_the_documented_answer", |client, _, _| {
        Box::pin(documented_answer(client))
    });
    rules.rule("batch_get_answers_each_identifier", |client, _, _| {
        Box::pin(each_identifier(client))
    });
    rules.rule("batch_get_sees_one_organization", |client, other, _| {
        Box::pin(one_organization(client, other))
    });
    rules.rule("batch_get_at_a_revision", |client, _, _| {
        Box::pin(at_a_revision(client))
    });
    let api = rules.api;
    let name = |test: &str| format!("reads::{test}::{}", api.name());
    rules
        .suite
        .on_each(&name("batch_get_identifiers_count"), move |db| limited(db, api));
}

pub fn register_once(suite: &mut Suite) {
    suite.on_each("reads::batch_get_many_owners", many_owners);
    suite.on(Kind::Postgres, "reads::batch_get_shares_statements", shared_statements);
}

/// Calls that wait at the same time share statements, each organization its own, and each call gets its own answer.
async fn shared_statements(database: &'static TestDatabase) {
    const CALLS: usize = 64;
    let World { key, other } = World::new(database).await;
    let program = Program::serve(database.url()).await;
    let outside = database.connect().await;
    let blocker = outside.begin().await.expect("begun");
    let lock = "LOCK TABLE device IN ACCESS EXCLUSIVE MODE";
    blocker.execute_unprepared(lock).await.expect("locked");
    let clients = [&key, &other].map(|key| program.client(Api::Grpc, key));
    // Connected, so that all calls arrive at once.
    for client in &clients {
        assert_eq!(batch_get(client, &[]).await.code, "INVALID_ARGUMENT");
    }
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        let (client, name) = (clients[number % 2].clone(), ["SN-002", "OTHER-1"][number % 2]);
        calls.spawn(async move {
            let unknown = format!("unknown-{number}");
            let answer = batch_get(&client, &[&unknown, name, "SN-001"]).await.ok();
            let owners: &[&str] = if name == "SN-002" { &[JANE, JOHN] } else { &[JOHN] };
            let mut found = found(&answer);
            found.iter_mut().for_each(|(_, _, owners)| owners.sort_unstable());
            assert_eq!(
                found,
                [
                    (unknown.as_str(), false, vec![]),
                    (name, true, owners.to_vec()),
                    ("SN-001", true, vec![JOHN])
                ]
            );
        });
    }
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'device'::regclass \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    eventually("a statement of each organization waits", HANGS, async || {
        database.number(waiting).await >= 2
    })
    .await;
    // Calls on a connection are received in their order.
    for client in &clients {
        assert_eq!(batch_get(client, &[]).await.code, "INVALID_ARGUMENT");
    }
    blocker.commit().await.expect("committed");
    calls.join_all().await;
    let statements = Metrics::of(program.admin)
        .await
        .get("device_assignment_statements_total{kind=\"find_owners\"}");
    assert!(statements < CALLS as f64 / 2.0, "{statements}");
    outside.close().await.expect("closed");
    program.terminate().await;
}

pub async fn batch_get(client: &Client, identifiers: &[&str]) -> Answer {
    read(
        client,
        Read::BatchGetDeviceOwners,
        &json!({ "deviceIdentifiers": identifiers }),
    )
    .await
}

/// The devices of an answer: identifier, whether it was found, and the addresses of the owners.
fn found(answer: &Answer) -> Vec<(&str, bool, Vec<&str>)> {
    let devices = answer.body["devices"].as_array().expect("a list");
    let text = |value: &'static str, entry: &'_ Value| entry[value].as_str().expect("text").to_owned().leak() as &str;
    devices
        .iter()
        .map(|device| {
            let owners = device["owners"].as_array().expect("a list");
            (
                text("identifier", device),
                device["found"].as_bool().expect("a flag"),
                owners.iter().map(|owner| text("email", owner)).collect(),
            )
        })
        .collect()
}

async fn documented_answer(client: Client) {
    let answer = batch_get(&client, &[" SN-001 ", "SN-999"]).await.ok();
    let device = &answer.body["devices"][0];
    let owner = &device["owners"][0];
    let customer = owner["customerId"].as_str().expect("an id");
    assert!(customer.starts_with("cust_") && customer.len() == 31, "{customer}");
    let id = device["deviceId"].as_str().expect("an id");
    assert!(id.starts_with("dev_") && id.len() == 30, "{id}");
    let time = owner["assignedAt"].as_str().expect("a time");
    assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
    let expected = json!({
        "devices": [
            {
                "identifier": "SN-001",
                "found": true,
                "deviceId": id,
                "type": "imported",
                "owners": [{ "customerId": customer, "email": JOHN, "assignedAt": time }],
                "hasMoreOwners": false,
            },
            {
                "identifier": "SN-999",
                "found": false,
                "deviceId": "",
                "type": "",
                "owners": [],
                "hasMoreOwners": false,
            },
        ],
        "revision": "3",
    });
    assert_eq!(answer.body, expected);
}

async fn each_identifier(client: Client) {
    let answer = batch_get(&client, &["SN-003", "sn-001", "SN-002", "SN-001", "SN-003"])
        .await
        .ok();
    let both = found(&answer)[2].2.clone();
    assert_eq!(
        found(&answer),
        [
            ("SN-003", true, vec![]),
            ("sn-001", false, vec![]),
            ("SN-002", true, both.clone()),
            ("SN-001", true, vec![JOHN]),
            ("SN-003", true, vec![]),
        ]
    );
    // Owners come in the order of their ids, which is that of their creation within a millisecond.
    let mut sorted = both;
    sorted.sort_unstable();
    assert_eq!(sorted, [JANE, JOHN]);
    let answer = batch_get(&client, &["SN-002"; 1_000]).await.ok();
    assert_eq!(found(&answer).len(), 1_000);
    assert!(
        found(&answer)
            .iter()
            .all(|(_, found, owners)| *found && owners.len() == 2)
    );
}

async fn one_organization(client: Client, other: Client) {
    let own = batch_get(&client, &["SN-001", "OTHER-1"]).await.ok();
    let others = batch_get(&other, &["SN-001", "OTHER-1", "SN-002"]).await.ok();
    assert_eq!(found(&own), [("SN-001", true, vec![JOHN]), ("OTHER-1", false, vec![])]);
    assert_eq!(
        found(&others),
        [
            ("SN-001", true, vec![JOHN]),
            ("OTHER-1", true, vec![JOHN]),
            ("SN-002", false, vec![])
        ]
    );
    for name in ["deviceId", "owners"] {
        assert_ne!(own.body["devices"][0][name], others.body["devices"][0][name], "{name}");
    }
    assert_eq!(
        (&own.body["revision"], &others.body["revision"]),
        (&json!("3"), &json!("2"))
    );
}

async fn at_a_revision(client: Client) {
    client.unassign(JOHN, &["SN-001"]).await.ok();
    for min_revision in [json!(null), json!("0"), json!(3), json!("4"), json!(4)] {
        let request = json!({ "deviceIdentifiers": ["SN-001"], "minRevision": min_revision });
        let answer = read(&client, Read::BatchGetDeviceOwners, &request).await.ok();
        assert_eq!(found(&answer), [("SN-001", true, vec![])]);
        assert_eq!(answer.body["revision"], "4");
    }
    for min_revision in [json!("5"), json!("18446744073709551615")] {
        let request = json!({ "deviceIdentifiers": ["SN-001"], "minRevision": min_revision });
        let answer = read(&client, Read::BatchGetDeviceOwners, &request).await;
        assert_eq!(answer.reason.as_deref(), Some("REVISION_IN_FUTURE"), "{answer:?}");
        assert_eq!(answer.metadata["currentRevision"], "4");
    }
}

async fn limited(database: &TestDatabase, api: Api) {
    let World { key, .. } = World::new(database).await;
    let limits = settings(|limits| limits.devices = Limit::new(Duration::from_secs(3_600), 4));
    let server = TestServer::start_with(database, limits).await;
    let client = server.client(api, &key);
    batch_get(&client, &["SN-001", "SN-001", "SN-999"]).await.ok();
    assert_too_many(&batch_get(&client, &["SN-001", "SN-002"]).await, "RATE_LIMITED");
    batch_get(&client, &["SN-001"]).await.ok();
    server.stop().await;
}

/// A few owners of each device are listed, and the answer says that there are more.
async fn many_owners(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Rest, &key);
    for owner in 0..101 {
        client
            .create(&format!("owner-{owner:03}@example.com"), &["SN-1"])
            .await
            .ok();
        if owner > 0 {
            client
                .create(&format!("owner-{owner:03}@example.com"), &["SN-2"])
                .await
                .ok();
        }
    }
    let answer = batch_get(&client, &["SN-1", "SN-2"]).await.ok();
    let more = |answer: &Answer, at: usize| answer.body["devices"][at]["hasMoreOwners"].clone();
    let listed: Vec<usize> = found(&answer).iter().map(|(_, _, owners)| owners.len()).collect();
    assert_eq!(
        (listed, more(&answer, 0), more(&answer, 1)),
        (vec![100, 100], json!(true), json!(false))
    );
    let answer = batch_get(&client, &["SN-2"; 1_000]).await.ok();
    assert!(found(&answer).iter().all(|(_, _, owners)| owners.len() == 10));
    assert_eq!(more(&answer, 999), json!(true));
    server.stop().await;
}
