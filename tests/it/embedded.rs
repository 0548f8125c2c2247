//! SQLite: a group that only assigns is written and committed by one text.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use sea_orm::{ConnectionTrait, SqliteTransactionMode, TransactionOptions, TransactionTrait};
use serde_json::json;

use crate::{
    metrics::Metrics,
    support::{
        Api, Kind, Program, Suite, TestDatabase, TestServer, UNASSIGN_PATH, devices, load::eventually, organization,
        program::run,
    },
};

pub fn register(suite: &mut Suite) {
    suite.on(
        Kind::Sqlite,
        "embedded::a_group_runs_again_if_another_process_was_first",
        other_process,
    );
    suite.on(
        Kind::Sqlite,
        "embedded::an_answer_to_store_is_of_one_revision",
        one_revision,
    );
    for table in ["change_log", "device_assignment"] {
        suite.on(
            Kind::Sqlite,
            &format!("embedded::nothing_is_committed_if_rows_are_missing::{table}"),
            move |database| missing_rows(database, table),
        );
    }
}

/// A device with an owner who also gets others.
async fn set_up(database: &TestDatabase) -> (Program, String) {
    let key = organization(database, "acme").await;
    devices(database, "acme", &["SN-1", "SN-2", "SN-3"]).await;
    let program = Program::serve(database.url()).await;
    program
        .client(Api::Grpc, &key)
        .assign("ann@example.com", &["SN-1"])
        .await
        .ok();
    (program, key)
}

async fn is_verified(database: &TestDatabase) {
    let output = run(&["verify", "--database-url", database.url()]).await;
    assert!(output.status.success(), "{output:?}");
}

/// Another process commits a change between the find of a group and its transaction.
async fn other_process(database: &'static TestDatabase) {
    let (program, key) = set_up(database).await;
    let outside = database.connect().await;
    let immediate = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let other = outside.begin_with_options(immediate).await.expect("the lock");
    let change = "INSERT INTO device_assignment SELECT c.organization_id, c.id, d.id, c.created_at FROM customer c, device d \
                  WHERE d.identifier = 'SN-2'; \
                  INSERT INTO change_log (organization_id, revision, at, kind, assigned_customers, assigned_devices) \
                  SELECT c.organization_id, (SELECT max(revision) FROM change_log) + 1, c.created_at, 'assign', c.id, d.id \
                  FROM customer c, device d WHERE d.identifier = 'SN-2'";
    other.execute_unprepared(change).await.expect(change);

    let client = program.client(Api::Grpc, &key);
    let call = client.assign("ann@example.com", &["SN-2", "SN-3"]);
    let commit = async {
        // The group has found what exists, and waits for the lock.
        eventually("the group is written", Duration::from_secs(10), async || {
            let metrics = Metrics::of(program.admin).await;
            metrics.get("device_assignment_statements_total{kind=\"log_and_assign\"}") == 1.0
        })
        .await;
        other.commit().await.expect("committed");
    };
    let (answer, ()) = tokio::join!(call, commit);
    let answer = answer.ok();
    assert_eq!(answer.identifiers("assignedDevices"), ["SN-3"]);
    assert_eq!(answer.identifiers("alreadyAssigned"), ["SN-2"]);
    let metrics = Metrics::of(program.admin).await;
    assert_eq!(metrics.get("device_assignment_reruns_total{cause=\"conflict\"}"), 1.0);
    outside.close().await.expect("closed");
    program.terminate().await;
    is_verified(database).await;
}

/// What a call with an idempotency key reads, it reads at one revision, also when it changes nothing and another process changes
/// the same customer.
async fn one_revision(database: &'static TestDatabase) {
    const ANN: &str = "ann@example.com";
    let key = organization(database, "acme").await;
    devices(database, "acme", &["SN-1", "SN-2"]).await;
    let [here, there] = [TestServer::start(database).await, TestServer::start(database).await];
    let other = there.client(Api::Grpc, &key);
    other.assign(ANN, &["SN-1", "SN-2"]).await.ok();
    let is_over = AtomicBool::new(false);
    let change = async {
        while !is_over.load(Ordering::Relaxed) {
            other.unassign(ANN, &["SN-1"]).await.ok();
            other.assign(ANN, &["SN-1"]).await.ok();
        }
    };
    let ask = async {
        let remove = json!({ "customerEmail": ANN, "deviceIdentifiers": ["SN-1"] });
        let callers = (0..3).map(async |caller: u32| {
            for call in 0..100 {
                let keyed = here
                    .client(Api::Rest, &key)
                    .with_header("idempotency-key", &format!("{caller}-{call}"));
                let answer = keyed.call_at(UNASSIGN_PATH, &remove).await.ok();
                // SN-1 was removed by this call, or was not there: either way it does not remain.
                assert_eq!(answer.body["devicesRemaining"], json!(["SN-2"]), "{answer:?}");
            }
        });
        futures_util::future::join_all(callers).await;
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::join!(change, ask);
    for server in [here, there] {
        server.stop().await;
    }
}

/// The database silently drops the rows of one table.
async fn missing_rows(database: &'static TestDatabase, table: &'static str) {
    let (program, key) = set_up(database).await;
    let outside = database.connect().await;
    let trigger = format!("CREATE TRIGGER drop_rows BEFORE INSERT ON {table} BEGIN SELECT raise(IGNORE); END");
    outside.execute_unprepared(&trigger).await.expect("a trigger");
    let client = program.client(Api::Grpc, &key);
    let before = database.dump().await;
    let answer = client.assign("ann@example.com", &["SN-2", "SN-3"]).await;
    assert_eq!(answer.code, "INTERNAL", "{answer:?}");
    assert_eq!(database.dump().await, before);
    is_verified(database).await;

    outside
        .execute_unprepared("DROP TRIGGER drop_rows")
        .await
        .expect("dropped");
    outside.close().await.expect("closed");
    client.assign("ann@example.com", &["SN-2", "SN-3"]).await.ok();
    program.terminate().await;
    is_verified(database).await;
}
