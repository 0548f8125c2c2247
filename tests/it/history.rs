//! Histories: a database gets a new one when the same revisions may mean other changes than before.

use device_assignment::{domain::id::HistoryId, storage::DatabaseError};
use sea_orm::ConnectionTrait;
use tempfile::TempDir;

use crate::support::{
    Api, Kind, PostgresServer, Program, Suite, TestDatabase, TestServer, devices, organization,
    program::{run, stderr, stdout},
};

pub fn register(suite: &mut Suite) {
    suite.on_each("history::begins_when_an_operator_says_so", by_operator);
    suite.on(Kind::Postgres, "history::stays_while_the_timeline_does", same_timeline);
    suite.on(
        Kind::Postgres,
        "history::changes_once_when_many_start_on_another_timeline",
        at_once,
    );
    suite.on(
        Kind::Postgres,
        "history::commands_that_write_follow_the_timeline",
        commands,
    );
    suite.with_postgres(
        "history::changes_before_the_first_write_on_a_promoted_standby",
        promoted,
    );
}

/// A timeline that the test server is not on.
const OTHER_TIMELINE: &str = "UPDATE history SET timeline = 77";

async fn history(database: &TestDatabase) -> HistoryId {
    let service = database.open().await;
    let history = service.history().await.expect("a history");
    service.close().await;
    history
}

async fn follow(database: &TestDatabase) -> Result<Option<HistoryId>, DatabaseError> {
    let service = database.open().await;
    let begun = service.follow_timeline().await;
    service.close().await;
    begun
}

async fn execute(database: &TestDatabase, sql: &str) {
    let connection = database.connect().await;
    connection.execute_unprepared(sql).await.expect(sql);
    connection.close().await.expect("closed");
}

async fn by_operator(database: &'static TestDatabase) {
    let before = history(database).await;
    let output = run(&["new-history", "--database-url", database.url()]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let after = history(database).await;
    assert_ne!(after, before);
    assert_eq!(stdout(&output), format!("{after}\n"));
    let log = stderr(&output);
    assert!(
        log.contains("history.begun") && log.contains(&after.to_string()),
        "{log}"
    );

    let output = run(&["verify", "--database-url", database.url()]).await;
    assert_eq!(stderr(&output), format!("history {after}\n"));
    let output = run(&["new-history", "--json", "--database-url", database.url()]).await;
    let printed: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(printed["history"], history(database).await.to_string());
}

async fn same_timeline(database: &'static TestDatabase) {
    let before = history(database).await;
    let unknown = "SELECT count(*) FROM history WHERE timeline IS NULL";
    assert_eq!(database.number(unknown).await, 1, "the migration stores none");
    for _ in 0..2 {
        assert_eq!(follow(database).await.expect("followed"), None);
        assert_eq!(database.number("SELECT timeline::bigint FROM history").await, 1);
    }
    assert_eq!(history(database).await, before);
}

async fn at_once(database: &'static TestDatabase) {
    let before = history(database).await;
    execute(database, OTHER_TIMELINE).await;
    let instances: Vec<_> = (0..8).map(|_| tokio::spawn(follow(database))).collect();
    let mut begun = Vec::new();
    for instance in instances {
        begun.extend(instance.await.expect("no panic").expect("followed"));
    }
    let after = history(database).await;
    assert_ne!(after, before);
    assert_eq!(begun, [after]);
}

async fn commands(database: &'static TestDatabase) {
    let url = ["--database-url", database.url()];
    let folder = TempDir::new().expect("a folder");
    let list = folder.path().join("devices.csv");
    std::fs::write(&list, "identifier,type\nSN-1,sensor\n").expect("written");
    let list = list.to_str().expect("text");
    for (arguments, writes) in [
        (["organization", "create", "acme"].as_slice(), true),
        (&["organization", "list"], false),
        (&["verify"], false),
        (&["device", "import", "--organization", "acme", list], true),
    ] {
        let before = history(database).await;
        execute(database, OTHER_TIMELINE).await;
        let output = run(&[arguments, &url].concat()).await;
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(history(database).await != before, writes, "{arguments:?}");
    }
    let before = history(database).await;
    execute(database, OTHER_TIMELINE).await;
    let (code, log) = Program::serve(database.url()).await.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    let after = history(database).await;
    assert_ne!(after, before);
    assert!(
        log.contains("another timeline") && log.contains(&after.to_string()),
        "{log}"
    );
}

/// The connections of an instance survive a promotion.
async fn promoted() {
    let primary = PostgresServer::start_durable(&[]).expect("a server");
    let database = TestDatabase::on(&primary).await;
    let key = organization(&database, "acme").await;
    devices(&database, "acme", &["SN-1", "SN-2"]).await;
    assert_eq!(follow(&database).await.expect("followed"), None);
    let server = TestServer::start(&database).await;
    let client = server.client(Api::Grpc, &key);
    client.assign("ann@example.com", &["SN-1"]).await.ok();
    server.stop().await;

    let standby = primary.start_standby().expect("a standby");
    primary.kill();
    let database = database.copy_on(&standby);
    let before = history(&database).await;
    assert_eq!(follow(&database).await.expect("nothing to do"), None);
    let server = TestServer::start(&database).await;
    let client = server.client(Api::Grpc, &key);
    client.assign("ann@example.com", &["SN-1"]).await.ok();

    assert_eq!(database.number("SELECT pg_promote()::integer::bigint").await, 1);
    assert_eq!(history(&database).await, before);
    client.assign("ann@example.com", &["SN-2"]).await.ok();
    let after = history(&database).await;
    assert_ne!(after, before, "the history was changed before the write");
    client.unassign("ann@example.com", &["SN-2"]).await.ok();
    assert_eq!(history(&database).await, after);
    server.stop().await;
    standby.stop();
}
