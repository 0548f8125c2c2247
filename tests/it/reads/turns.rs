//! Organizations take turns at the connections for reads.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use device_assignment::domain::device_owners::MAX_DEVICES_WITH_ALL_OWNERS;
use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    JOHN, Read, World,
    batch_get::{HANGS, batch_get},
    read,
};
use crate::support::{Answer, Api, Client, Kind, Suite, TestDatabase, TestServer, load::eventually};

pub fn register(suite: &mut Suite) {
    for (name, call) in WAITING {
        let name = format!("reads::organizations_take_turns::{name}");
        suite.on(Kind::Postgres, &name, move |db| turns(db, call));
    }
}

type WaitingCall = for<'c> fn(&'c Client) -> BoxFuture<'c, Answer>;

/// Calls that wait for a connection for reads.
const WAITING: [(&str, WaitingCall); 3] = [
    ("lists", |client| {
        Box::pin(async { read(client, Read::ListDevices, &json!({})).await })
    }),
    ("look_ups", |client| {
        Box::pin(async {
            let many: Vec<_> = (0..=MAX_DEVICES_WITH_ALL_OWNERS)
                .map(|number| format!("unknown-{number}"))
                .collect();
            batch_get(client, &many.iter().map(String::as_str).collect::<Vec<_>>()).await
        })
    }),
    ("previews", |client| {
        Box::pin(async {
            let request = json!({ "customerEmail": JOHN, "deviceIdentifiers": ["SN-001"], "validateOnly": true });
            client.call(&request).await
        })
    }),
];

/// An organization with many calls that wait does not keep another one waiting.
async fn turns(database: &'static TestDatabase, call: WaitingCall) {
    const CALLS: usize = 64;
    let World { key, other } = World::new(database).await;
    let server = TestServer::start(database).await;
    let outside = database.connect().await;
    let blocker = outside.begin().await.expect("begun");
    let lock = "LOCK TABLE device IN ACCESS EXCLUSIVE MODE";
    blocker.execute_unprepared(lock).await.expect("locked");
    let [many, one] = [&key, &other].map(|key| server.client(Api::Grpc, key));
    let done = Arc::new(AtomicUsize::new(0));
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let (client, done) = (many.clone(), Arc::clone(&done));
        calls.spawn(async move {
            call(&client).await.ok();
            done.fetch_add(1, Ordering::Relaxed);
        });
    }
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'device'::regclass \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    eventually("all connections for reads wait", HANGS, async || {
        database.number(waiting).await >= 4
    })
    .await;
    // Calls on a connection are received in their order.
    assert_eq!(batch_get(&many, &[]).await.code, "INVALID_ARGUMENT");
    let late = tokio::spawn({
        let (client, done) = (one.clone(), Arc::clone(&done));
        async move {
            call(&client).await.ok();
            done.load(Ordering::Relaxed)
        }
    });
    assert_eq!(batch_get(&one, &[]).await.code, "INVALID_ARGUMENT");
    blocker.commit().await.expect("committed");
    let before = late.await.expect("no panic");
    calls.join_all().await;
    println!("{before} of {CALLS} calls were done before that of the other organization");
    assert!(before < CALLS / 2, "{before} of {CALLS} calls went before");
    outside.close().await.expect("closed");
    server.stop().await;
}
