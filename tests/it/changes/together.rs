//! Followers beside many writers: each gets exactly the log, whatever is cut in between.

use std::{collections::BTreeMap, sync::Arc};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::task::JoinSet;

use super::follower::{Event, Follower, From, list, revision};
use crate::support::{Api, Client, Suite, TestDatabase, TestServer, devices, organization, seed};

const WRITERS: u64 = 8;
const CALLS: usize = 40;
const FOLLOWERS: u64 = 6;

pub fn register(suite: &mut Suite) {
    suite.on_each("changes::followers_beside_writers_get_exactly_the_log", exactly_the_log);
}

/// 8 writers over 3 instances, and followers over both APIs that leave at random and go on elsewhere.
async fn exactly_the_log(database: &'static TestDatabase) {
    let seed = seed();
    let key = organization(database, "acme").await;
    devices(
        database,
        "acme",
        &["SN-0", "SN-1", "SN-2", "SN-3", "SN-4", "SN-5", "SN-6", "SN-7"],
    )
    .await;
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(TestServer::start(database).await);
    }
    let clients: Vec<Client> = servers
        .iter()
        .flat_map(|server| [Api::Grpc, Api::Rest].map(|api| server.client(api, &key)))
        .collect();
    let clients = Arc::new(clients);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (clients, mut random) = (Arc::clone(&clients), StdRng::seed_from_u64(seed ^ writer));
        writers.spawn(async move {
            for _ in 0..CALLS {
                let client = &clients[random.random_range(0..clients.len())];
                let email = format!("customer{}@example.com", random.random_range(0..3));
                let device = format!("SN-{}", random.random_range(0..8));
                let answer = if random.random_bool(0.6) {
                    client.assign(&email, &[&device]).await
                } else {
                    client.unassign(&email, &[&device]).await
                };
                assert!(["OK", "NOT_FOUND"].contains(&answer.code.as_str()), "{answer:?}");
            }
        });
    }
    let (done, is_done) = tokio::sync::watch::channel(None::<u64>);
    let mut followers = JoinSet::new();
    for follower in 0..FOLLOWERS {
        let (clients, is_done) = (Arc::clone(&clients), is_done.clone());
        let random = StdRng::seed_from_u64(seed ^ (100 + follower));
        followers.spawn(async move { follow(&clients, random, is_done).await });
    }
    while let Some(result) = writers.join_next().await {
        result.expect("no panic");
    }
    let log = whole_log(&clients[0]).await;
    done.send_replace(Some(log.len() as u64));
    while let Some(result) = followers.join_next().await {
        assert_eq!(result.expect("no panic"), log);
    }
    drop(clients);
    for server in servers {
        server.stop().await;
    }
}

/// Follows to the last change, through streams that are left after a random number of events.
async fn follow(
    clients: &[Client],
    mut random: StdRng,
    is_done: tokio::sync::watch::Receiver<Option<u64>>,
) -> Vec<Value> {
    let mut changes: Vec<Value> = Vec::new();
    let mut history = String::new();
    loop {
        let client = &clients[random.random_range(0..clients.len())];
        let from = From {
            history: history.clone(),
            ..From::after(changes.len() as u64)
        };
        let mut stream = Follower::start(client, &from).await.expect("a stream");
        for _ in 0..random.random_range(1..20) {
            match stream.next().await.expect("an event") {
                Event::Change(change) => {
                    assert_eq!(
                        revision(&change),
                        changes.len() as u64 + 1,
                        "in order, without gap or repetition"
                    );
                    changes.push(change);
                }
                Event::Heartbeat(revision) => assert_eq!(revision, changes.len() as u64),
                end @ Event::End(..) => panic!("{end:?}"),
            }
            if is_done.borrow().is_some_and(|last| last == changes.len() as u64) {
                return changes;
            }
        }
        history.clone_from(&stream.history);
    }
}

async fn whole_log(client: &Client) -> Vec<Value> {
    let mut log: BTreeMap<u64, Value> = BTreeMap::new();
    loop {
        let page = list(client, &From::after(log.len() as u64), 50, 0).await.ok();
        let changes = page.body["changes"].as_array().expect("changes");
        log.extend(changes.iter().map(|change| (revision(change), change.clone())));
        if changes.is_empty() {
            return log.into_values().collect();
        }
    }
}
