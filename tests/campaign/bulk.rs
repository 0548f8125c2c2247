//! Large calls beside small calls of the same organization from other instances: all are done within their deadline, and nobody
//! deadlocks.

use sea_orm::{ConnectionTrait, TransactionTrait};

use crate::{
    Size,
    kills::block_on,
    support::{
        Api, Client, Kind, Load, TestDatabase, TestServer,
        effects::faults,
        load::{Call, Change, make, tally},
        organization,
    },
};

/// The most that a call may have.
const DEVICES: usize = 10_000;
/// Callers of small calls at each of two instances.
const CALLERS: usize = 4;

pub fn run(size: Size) -> String {
    block_on(async move {
        let database = TestDatabase::create(Kind::Postgres).await;
        let key = organization(&database, "acme").await;
        let mut servers = Vec::new();
        for _ in 0..3 {
            servers.push(TestServer::start(&database).await);
        }
        let client = |instance: usize| servers[instance].client(Api::Grpc, &key);

        let mut calls = vec![planted(&database, &client(0)).await];
        let small = (0..2 * CALLERS).map(|number| client(1 + number % 2));
        let load = Load::mixed("small", small);
        load.succeeds(1).await;
        let devices: Vec<String> = (0..DEVICES).map(|number| format!("SN-{number}")).collect();
        let mut large = Vec::new();
        for _ in 0..size.rounds {
            for email in ["one@example.com", "other@example.com"] {
                for change in [Change::Assign(devices.clone()), Change::Unassign(devices.clone())] {
                    large.push(make(&client(0), email.to_owned(), change).await);
                }
            }
        }
        let small = load.finish().await;
        let slowest = |calls: &[Call]| calls.iter().map(Call::took).max().unwrap_or_default().as_millis();
        let counts = format!(
            "{} calls of {DEVICES} devices, the slowest {} ms, beside {} small calls over 2 other instances, the slowest {} ms: \
             all done in time, log and tables equal, 0 deadlocks",
            large.len(),
            slowest(&large),
            small.len(),
            slowest(&small),
        );
        for (what, made) in [("large", &large), ("small", &small)] {
            assert!(made.iter().all(Call::is_ok), "{what}: {}", tally(made));
        }
        for server in servers {
            server.stop().await;
        }
        calls.extend(large);
        calls.extend(small);
        assert_eq!(faults(&database, &calls).await, [""; 0]);
        crate::crash::verify(&database).await;
        let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        assert_eq!(database.number(deadlocks).await, 0, "deadlocks");
        database.remove().await;
        counts
    })
}

/// Another program holds the lock of the organization: a call is not done in time, and that is noticed.
async fn planted(database: &TestDatabase, client: &Client) -> Call {
    let outside = database.connect().await;
    let lock = outside.begin().await.expect("begun");
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended(id::text, 0)) FROM organization";
    lock.execute_unprepared(sql).await.expect("locked");
    let hurried = client.with_header("grpc-timeout", "1S");
    let change = Change::Assign(vec!["SN-0".to_owned()]);
    let call = make(&hurried, "late@example.com".to_owned(), change).await;
    assert!(!call.is_ok(), "{call:?}");
    lock.rollback().await.expect("a rollback");
    outside.close().await.expect("closed");
    println!("bulk: found the planted fault: a call that waits for a lock is not done in time");
    call
}
