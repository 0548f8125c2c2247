//! Calls that are given up: their deadline passes, their caller leaves, or their connection breaks. Each is carried out whole or not
//! at all, and none leaves a transaction open.

use std::{collections::BTreeMap, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Method;
use sea_orm::ConnectionTrait;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};
use tonic::Request;

use crate::{
    Size, crash,
    fleet::{Fleet, Link},
    kills::block_on,
    support::{Api, Client, Kind, PATH, TestDatabase, UNASSIGN_PATH, organization},
};

const INSTANCES: usize = 2;
const CALLERS: u32 = 16;
/// Most deadlines are shorter than a call takes on a busy machine, and some are longer.
const LONGEST: Duration = Duration::from_millis(60);

pub fn run(size: Size) -> String {
    block_on(async move {
        let mut counts = Vec::new();
        for kind in [Kind::Sqlite, Kind::Postgres] {
            let database = TestDatabase::create(kind).await;
            let counted = on(&database, size).await;
            database.remove().await;
            counts.push(format!("{kind:?}: {counted}"));
        }
        counts.join("; ")
    })
}

async fn on(database: &TestDatabase, size: Size) -> String {
    let key = organization(database, "acme").await;
    let fleet = Fleet::start(database.url(), INSTANCES).await;
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let seed = size.seed.wrapping_add(caller.into());
        let api = if caller % 2 == 0 { Api::Grpc } else { Api::Rest };
        let (lasting, breaking) = (
            Link::lasting(&fleet, api, seed).await,
            Link::breaking(&fleet, api, seed).await,
        );
        let (lasting_client, breaking_client) = (lasting.client(&key), breaking.client(&key));
        let numbers = (caller..size.rounds).step_by(CALLERS as usize);
        callers.spawn(async move {
            let mut random = StdRng::seed_from_u64(seed);
            let mut made = Vec::new();
            for number in numbers {
                // Connections of the second client also break by themselves.
                let client = if random.random_bool(0.7) {
                    &lasting_client
                } else {
                    &breaking_client
                };
                made.push(call(client, number, &mut random).await);
            }
            drop((lasting, breaking));
            made
        });
    }
    let made: Vec<Made> = callers.join_all().await.into_iter().flatten().collect();

    // All that was given up has ended before a later call is answered, or ends soon after it.
    let link = Link::lasting(&fleet, Api::Grpc, size.seed).await;
    let later = link.client(&key).create("later@example.com", &["later"]).await;
    later.ok();
    drop(link);
    if database.kind == Kind::Postgres {
        no_open_transaction(database).await;
    }
    fleet.stop().await;
    assert_eq!(faults(database, &made).await, [""; 0]);
    crash::verify(database).await;
    planted(database, &made).await;

    let count = |wanted: fn(&Made) -> bool| made.iter().filter(|made| wanted(made)).count();
    format!(
        "{} assignments and {} removals, {} and {} of them acknowledged: each is whole or absent, no transaction was left open",
        made.len(),
        count(|made| made.removal.is_some()),
        count(|made| made.is_assigned),
        count(|made| made.removal == Some(true)),
    )
}

/// An assignment of new devices to a new customer, and a removal of the first half of them.
#[derive(Debug)]
struct Made {
    number: u32,
    devices: usize,
    /// Whether the assignment was acknowledged. Then the removal was called.
    is_assigned: bool,
    /// Whether the removal was acknowledged.
    removal: Option<bool>,
}

fn email(number: u32) -> String {
    format!("owner-{number}@example.com")
}

async fn call(client: &Client, number: u32, random: &mut StdRng) -> Made {
    // Up to several statements and batches.
    let devices = [2, 6, 60, 600][random.random_range(0..4)];
    let identifiers: Vec<_> = (0..devices).map(|device| format!("{number}-{device}")).collect();
    let removed = identifiers[..devices / 2].to_vec();
    let assign = json!({
        "customerEmail": email(number), "deviceIdentifiers": identifiers, "autoCreateDevices": true, "deviceType": "sensor"
    });
    let unassign = json!({ "customerEmail": email(number), "deviceIdentifiers": removed });
    let is_assigned = match client.api {
        Api::Grpc => {
            let (mut grpc, request) = (client.grpc(), given_up(client, assign, random));
            let answer = timeout(leaves(random), grpc.assign_devices_to_owner(request)).await;
            matches!(answer, Ok(Ok(_)))
        }
        _ => post(client, PATH, assign, random).await,
    };
    let removal = match client.api {
        _ if !is_assigned => None,
        Api::Grpc => {
            let (mut grpc, request) = (client.grpc(), given_up(client, unassign, random));
            let answer = timeout(leaves(random), grpc.unassign_devices_from_owner(request)).await;
            Some(matches!(answer, Ok(Ok(_))))
        }
        _ => Some(post(client, UNASSIGN_PATH, unassign, random).await),
    };
    Made {
        number,
        devices,
        is_assigned,
        removal,
    }
}

/// When the caller leaves. Half of them stay until there is an answer.
fn leaves(random: &mut StdRng) -> Duration {
    if random.random() {
        Duration::from_secs(60)
    } else {
        LONGEST.mul_f64(random.random())
    }
}

/// A request that half of the time has a deadline.
fn given_up<M: DeserializeOwned>(client: &Client, request: Value, random: &mut StdRng) -> Request<M> {
    let mut request = client.signed(serde_json::from_value(request).expect("a message"));
    if random.random() {
        request.set_timeout(LONGEST.mul_f64(random.random()));
    }
    request
}

/// Whether the call was acknowledged. Its caller may leave while it is sent, too.
async fn post(client: &Client, path: &str, body: Value, random: &mut StdRng) -> bool {
    let request = client.request(Method::POST, path);
    let request = request
        .header("content-type", "application/json")
        .body(body.to_string());
    let answer = timeout(leaves(random), async {
        request.send().await?.error_for_status()?.bytes().await
    })
    .await;
    matches!(answer, Ok(Ok(_)))
}

/// Waits until no connection of the service is in a transaction. One that stays there ends the campaign.
async fn no_open_transaction(database: &TestDatabase) {
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() \
                AND xact_start < now() - interval '1 second'";
    for _ in 0..100 {
        if database.number(open).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("a transaction is left open");
}

/// What contradicts that each call was carried out whole or not at all, and each acknowledged one whole.
async fn faults(database: &TestDatabase, made: &[Made]) -> Vec<String> {
    let owned = "SELECT c.email, count(*) AS devices FROM customer c JOIN device_assignment a ON a.customer_id = c.id GROUP BY c.email";
    let mut rows = BTreeMap::new();
    for row in database.rows(owned).await {
        let email: String = row.try_get("", "email").expect("text");
        let devices: i64 = row.try_get("", "devices").expect("a number");
        rows.insert(email, usize::try_from(devices).expect("a count"));
    }
    let mut faults = Vec::new();
    for made in made {
        let owned = rows.get(&email(made.number)).copied().unwrap_or_default();
        let (all, half) = (made.devices, made.devices - made.devices / 2);
        let is_explained = match (made.is_assigned, made.removal) {
            (true, Some(true)) => owned == half,
            (true, _) => owned == all || owned == half,
            (false, _) => owned == all || owned == 0,
        };
        if !is_explained {
            faults.push(format!("{made:?}, and the customer has {owned} devices"));
        }
    }
    faults
}

/// Loses a part of a call.
async fn planted(database: &TestDatabase, made: &[Made]) {
    let whole = made.iter().find(|made| made.is_assigned && made.devices > 2);
    let whole = whole.expect("an acknowledged call");
    let connection = database.connect().await;
    let lost = format!(
        "DELETE FROM device_assignment WHERE device_id = (SELECT id FROM device WHERE identifier = '{}-{}')",
        whole.number,
        whole.devices - 1
    );
    let lost = connection.execute_unprepared(&lost).await.expect("a deletion");
    assert_eq!(lost.rows_affected(), 1);
    connection.close().await.expect("closed");
    let found = faults(database, made).await;
    assert_eq!(found.len(), 1, "{found:?}");
    println!("cancelled: found the planted fault: {}", found[0]);
}
