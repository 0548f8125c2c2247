//! Reads from a standby, with a real stream of changes.

use device_assignment::{
    server::ServerSettings,
    storage::{Database, DatabaseUrl},
};
use sea_orm::ConnectionTrait;
use serde_json::json;

use super::{JOHN, Read, read};
use crate::support::{Answer, Api, Client, PostgresServer, TestDatabase, TestServer, organization};

/// The addresses of the owners of SN-1 at a revision or later, and the revision of the answer.
async fn owners(client: &Client, min_revision: u64) -> (Vec<String>, u64) {
    let request = json!({ "deviceIdentifiers": ["SN-1"], "minRevision": min_revision.to_string() });
    let answer: Answer = read(client, Read::BatchGetDeviceOwners, &request).await.ok();
    let owners = answer.body["devices"][0]["owners"].as_array().expect("a list");
    let owners = owners
        .iter()
        .map(|owner| owner["email"].as_str().expect("text").to_owned());
    (owners.collect(), answer.revision.expect("a revision"))
}

pub async fn passed_over() {
    let primary = PostgresServer::start_durable(&["fsync=off"]).expect("a server");
    let database = TestDatabase::on(&primary).await;
    let key = organization(&database, "acme").await;
    let standby = primary.start_standby().expect("a standby");
    let replica_url = DatabaseUrl::parse(&standby.url("durable")).expect("a URL");
    let replica = Database::open(replica_url.clone()).await.expect("a database");
    let server = TestServer::start_over(database.open().await.with_replica(replica), ServerSettings::default()).await;
    let client = server.client(Api::Grpc, &key);
    client.create(JOHN, &["SN-1"]).await.ok();
    assert_eq!(
        owners(&client, 1).await,
        (vec![JOHN.to_owned()], 1),
        "whether the replica has it or not"
    );

    // The replica stops to follow, and shows that calls read there.
    let outside = Database::open(replica_url).await.expect("a database").reads();
    let caught_up = "SELECT 1 FROM change_log WHERE revision = 1";
    let statement = || sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, caught_up);
    while outside
        .query_one_raw(statement())
        .await
        .expect("a row or none")
        .is_none()
    {
        tokio::task::yield_now().await;
    }
    outside
        .execute_unprepared("SELECT pg_wal_replay_pause()")
        .await
        .expect("paused");
    let paused =
        || sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, "SELECT pg_get_wal_replay_pause_state()");
    loop {
        let row = outside.query_one_raw(paused()).await.expect("a state").expect("a row");
        if row.try_get_by_index::<String>(0).expect("text") == "paused" {
            break;
        }
        tokio::task::yield_now().await;
    }
    client.unassign(JOHN, &["SN-1"]).await.ok();
    assert_eq!(
        owners(&client, 0).await,
        (vec![JOHN.to_owned()], 1),
        "the state of the replica"
    );
    assert_eq!(owners(&client, 2).await, (vec![], 2), "the state of the primary");
    let future = json!({ "deviceIdentifiers": ["SN-1"], "minRevision": "3" });
    let answer = read(&client, Read::BatchGetDeviceOwners, &future).await;
    assert_eq!(answer.reason.as_deref(), Some("REVISION_IN_FUTURE"));
    assert_eq!(answer.metadata["currentRevision"], "2", "that of the primary");

    outside.close().await.expect("closed");
    // A replica that is down: the primary answers.
    standby.kill();
    assert_eq!(owners(&client, 0).await, (vec![], 2));
    server.stop().await;
    standby.stop();
    primary.stop();
}
