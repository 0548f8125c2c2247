//! Personal data in the change log: it is emptied after 30 days.

use std::time::Duration;

use device_assignment::service::verify;
use sea_orm::ConnectionTrait;
use time::{Duration as Days, OffsetDateTime};

use crate::support::{Api, Kind, Suite, TestDatabase, TestServer, devices, load::eventually, organization};

pub fn register(suite: &mut Suite) {
    suite.on_each("personal_data::the_service_empties_what_is_old", by_service);
    suite.on_each("personal_data::is_emptied_in_chunks_by_many_at_once", in_chunks);
}

/// How long the first pass of the task may take on a busy machine.
const ERASED_WITHIN: Duration = Duration::from_secs(30);

/// Changes of the log that have an operator or a request id.
const WITH_ORIGIN: &str = "SELECT count(*) FROM change_log WHERE operator IS NOT NULL OR request_id IS NOT NULL";

async fn execute(database: &TestDatabase, sql: &str) {
    let connection = database.connect().await;
    connection.execute_unprepared(sql).await.expect(sql);
    connection.close().await.expect("closed");
}

/// The time of so many days ago, as SQL.
fn days_ago(database: &TestDatabase, days: u32) -> String {
    match database.kind {
        Kind::Postgres => format!("now() - interval '{days} days'"),
        Kind::Sqlite => format!("strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '-{days} days')"),
    }
}

async fn is_clean(database: &TestDatabase) -> bool {
    let service = database.open().await;
    let is_clean = verify(&service, None, |_, _| {}, |_, _| {}).await.expect("readable");
    service.close().await;
    is_clean
}

async fn by_service(database: &'static TestDatabase) {
    let mut keys = Vec::new();
    for name in ["acme", "globex"] {
        keys.push(organization(database, name).await);
        devices(database, name, &["SN-1", "SN-2", "SN-3"]).await;
    }
    let server = TestServer::start(database).await;
    for key in &keys {
        let client = server.client(Api::Rest, key);
        for device in ["SN-1", "SN-2", "SN-3"] {
            client.assign("ann@example.com", &[device]).await.ok();
        }
    }
    server.stop().await;
    let all = database.count("change_log").await;
    assert_eq!(all, 8);
    let with_key = "SELECT count(*) FROM change_log WHERE api_key_id IS NOT NULL";
    assert_eq!(database.number(with_key).await, 6);
    // Of the first import there is an operator at most.
    execute(database, "UPDATE change_log SET operator = 'ann' WHERE kind = 'import'").await;
    assert_eq!(database.number(WITH_ORIGIN).await, 8);

    let (old, young) = (days_ago(database, 31), days_ago(database, 29));
    execute(
        database,
        &format!("UPDATE change_log SET at = {old} WHERE revision < 4"),
    )
    .await;
    execute(
        database,
        &format!("UPDATE change_log SET at = {young} WHERE revision = 4"),
    )
    .await;
    let server = TestServer::start(database).await;
    eventually("old changes have no origin", ERASED_WITHIN, async || {
        database.number(WITH_ORIGIN).await == 2
    })
    .await;
    server.stop().await;
    let of_young = format!("{WITH_ORIGIN} AND revision <> 4")
        .replace("WHERE", "WHERE (")
        .replace(" AND revision", ") AND revision");
    assert_eq!(database.number(&of_young).await, 0);
    assert_eq!(database.number(with_key).await, 6, "a key is no personal data");
    assert_eq!(database.count("change_log").await, all);
    assert!(is_clean(database).await);
}

async fn in_chunks(database: &'static TestDatabase) {
    for name in ["acme", "globex"] {
        organization(database, name).await;
    }
    let (numbers, many) = match database.kind {
        Kind::Sqlite => (
            "(WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 2500) SELECT i FROM n)",
            "",
        ),
        Kind::Postgres => ("generate_series(1, 2500)", " (i)"),
    };
    let old = days_ago(database, 31);
    let insert = format!(
        "INSERT INTO change_log (organization_id, revision, at, kind, request_id) \
         SELECT o.id, n.i, {old}, 'assign', 'request' FROM organization AS o, {numbers} AS n{many}"
    );
    execute(database, &insert).await;
    // The clock of one instance was wrong: what follows a young change waits until that is old, too.
    let young = days_ago(database, 1);
    let wrong = "organization_id = (SELECT id FROM organization WHERE name = 'globex') AND revision = 1501";
    execute(database, &format!("UPDATE change_log SET at = {young} WHERE {wrong}")).await;
    let before = OffsetDateTime::now_utc() - Days::days(30);
    let instances: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(async move {
                let service = database.open().await;
                let erased = service.erase_origins(before).await.expect("erased");
                service.close().await;
                erased
            })
        })
        .collect();
    let mut erased = 0;
    for instance in instances {
        erased += instance.await.expect("no panic");
    }
    assert_eq!(erased, 4_000, "each change is emptied once");
    assert_eq!(database.number(WITH_ORIGIN).await, 1_000);

    execute(database, &format!("UPDATE change_log SET at = {old} WHERE {wrong}")).await;
    let service = database.open().await;
    assert_eq!(service.erase_origins(before).await.expect("erased"), 1_000);
    assert_eq!(service.erase_origins(before).await.expect("erased"), 0);
    service.close().await;
}
