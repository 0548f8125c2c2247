//! What is known of the use of keys: when they were last used, and which are about to expire.

use std::time::Duration;

use device_assignment::{
    server::ServerSettings,
    service::{KeyUsageSettings, ServiceSettings, api_keys},
    storage::{Database, DatabaseUrl},
};
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::Value;
use time::OffsetDateTime;

use crate::support::{
    Api, Kind, Program, Proxy, Suite, TestDatabase, TestServer,
    load::eventually,
    new_key, organization,
    program::{command, run, stderr, stdout},
};

/// How long a use may take to be stored on a busy machine.
const STORED_WITHIN: Duration = Duration::from_secs(30);

pub fn register(suite: &mut Suite) {
    suite.on_each("key_usage::the_last_use_is_stored", last_use);
    suite.on_each("key_usage::the_last_use_is_stored_at_a_stop", last_use_at_a_stop);
    suite.on_each("key_usage::the_last_use_only_moves_forward", only_forward);
    suite.on(
        Kind::Postgres,
        "key_usage::a_last_use_that_cannot_be_stored_is_kept",
        kept_use,
    );
    suite.on(
        Kind::Postgres,
        "key_usage::a_last_use_is_not_stored_before_the_network_is_back",
        kept_through_silence,
    );
    suite.on_each("key_usage::a_key_that_expires_soon_is_warned_of_once", expiry_warning);
}

fn storing_each(interval: Duration) -> ServerSettings {
    ServerSettings {
        service: ServiceSettings {
            key_usage: KeyUsageSettings {
                interval,
                ..KeyUsageSettings::default()
            },
            ..ServiceSettings::default()
        },
        ..ServerSettings::default()
    }
}

/// When the oldest keys of acme were last used.
async fn last_uses(database: &TestDatabase) -> Vec<Option<OffsetDateTime>> {
    let database = database.open().await;
    let keys = api_keys(&database, "acme").await.expect("keys");
    database.close().await;
    keys.into_iter().map(|key| key.last_used_at).collect()
}

/// Times are stored to the second.
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc().replace_nanosecond(0).expect("a second")
}

async fn last_use(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    new_key(database, "acme", None).await;
    let servers = [
        TestServer::start_with(database, storing_each(Duration::from_millis(50))).await,
        TestServer::start_with(database, storing_each(Duration::from_millis(70))).await,
    ];
    assert_eq!(last_uses(database).await, [None, None]);
    for server in &servers {
        for api in Api::ALL {
            let earliest = now();
            server
                .client(api, &key)
                .create("john@example.com", &["SN-1"])
                .await
                .ok();
            let latest = now();
            eventually("the use is stored", STORED_WITHIN, async || {
                last_uses(database).await[0].is_some_and(|used| earliest <= used && used <= latest)
            })
            .await;
        }
    }
    assert_eq!(last_uses(database).await[1], None, "the other key was not used");
    for server in servers {
        server.stop().await;
    }
}

async fn last_use_at_a_stop(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let program = Program::serve(database.url()).await;
    let earliest = now();
    program
        .client(Api::Rest, &key)
        .create("john@example.com", &["SN-1"])
        .await
        .ok();
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(last_uses(database).await[0].is_some_and(|used| earliest <= used && used <= now()));

    let list = [
        "api-key",
        "list",
        "--organization",
        "acme",
        "--database-url",
        database.url(),
    ];
    let output = run(&[list.as_slice(), &["--json"]].concat()).await;
    let listed: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let used = listed["lastUsedAt"]
        .as_str()
        .unwrap_or_else(|| panic!("{listed} {}", stderr(&output)));
    let rows = stdout(&run(&list).await);
    assert!(rows.contains(&format!("\tlast used {used}\t")), "{rows}");
}

async fn only_forward(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(database, storing_each(Duration::from_millis(50))).await;
    server
        .client(Api::Grpc, &key)
        .create("john@example.com", &["SN-1"])
        .await
        .ok();
    eventually("the use is stored", STORED_WITHIN, async || {
        last_uses(database).await[0].is_some()
    })
    .await;
    // As another instance would, whose clock is ahead.
    let connection = database.connect().await;
    let ahead = "UPDATE api_key SET last_used_at = '2999-12-31T00:00:00Z'";
    connection.execute_unprepared(ahead).await.expect("an update");
    connection.close().await.expect("closed");
    server
        .client(Api::Grpc, &key)
        .create("john@example.com", &["SN-1"])
        .await
        .ok();
    server.stop().await;
    assert_eq!(last_uses(database).await[0].map(OffsetDateTime::year), Some(2999));
}

async fn kept_use(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let outside = database.connect().await;
    let blocker = outside.begin().await.expect("begun");
    // Keys can be read, but not written.
    let lock = "LOCK TABLE api_key IN SHARE MODE";
    blocker.execute_unprepared(lock).await.expect("locked");
    let server = TestServer::start_with(database, storing_each(Duration::from_millis(50))).await;
    let client = server.client(Api::Grpc, &key);
    client.create("john@example.com", &["SN-1"]).await.ok();
    let used = now();
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = \
                   (SELECT oid FROM pg_database WHERE datname = current_database())";
    for (what, is_waiting) in [("it is tried", true), ("it is given up", false)] {
        eventually(what, STORED_WITHIN, async || {
            // Callers do not notice.
            client.create("john@example.com", &["SN-1"]).await.ok();
            (database.number(waiting).await > 0) == is_waiting
        })
        .await;
    }
    blocker.commit().await.expect("committed");
    eventually("the use is stored", STORED_WITHIN, async || {
        last_uses(database).await[0].is_some_and(|stored| stored >= used)
    })
    .await;
    outside.close().await.expect("closed");
    server.stop().await;
}

async fn kept_through_silence(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let proxy = Proxy::before(database).await;
    let url = DatabaseUrl::parse(proxy.url()).expect("a URL");
    let service = Database::open(url).await.expect("a database");
    let server = TestServer::start_over(service, storing_each(Duration::from_secs(1))).await;
    let client = server.client(Api::Grpc, &key);
    client.create("john@example.com", &["SN-1"]).await.ok();
    proxy.fall_silent();
    // The key is still remembered: it is used, whatever becomes of the call.
    client.create("john@example.com", &["SN-2"]).await;
    proxy.recover_without_memory();
    let earliest = now();
    eventually("calls succeed again", STORED_WITHIN, async || {
        client.create("john@example.com", &["SN-1"]).await.code == "OK"
    })
    .await;
    eventually("the use is stored", STORED_WITHIN, async || {
        last_uses(database).await[0].is_some_and(|used| used >= earliest)
    })
    .await;
    server.stop().await;
}

async fn expiry_warning(database: &'static TestDatabase) {
    const DAY: Duration = Duration::from_secs(24 * 3_600);
    let lasting = organization(database, "acme").await;
    let [soon, later] = [
        new_key(database, "acme", Some(DAY)).await,
        new_key(database, "acme", Some(30 * DAY)).await,
    ];
    let keys = [lasting.as_str(), soon.secret.reveal(), later.secret.reveal()];
    for (warning, warned_of) in [("14d", vec![&soon]), ("60d", vec![&soon, &later]), ("0s", vec![])] {
        let serve = ["serve", "--log-format=json", "--database-url", database.url()];
        let program = Program::spawn(command(
            &[serve.as_slice(), &["--key-expiry-warning", warning]].concat(),
        ))
        .await;
        for _ in 0..3 {
            for key in keys {
                for api in [Api::Grpc, Api::Rest] {
                    program
                        .client(api, key)
                        .create("john@example.com", &["SN-1"])
                        .await
                        .ok();
                }
            }
        }
        let (_, log) = program.terminate().await;
        let lines = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let warnings: Vec<Value> = lines.filter(|line| line["level"] == "WARN").collect();
        assert_eq!(warnings.len(), warned_of.len(), "{log}");
        for (warning, key) in warnings.iter().zip(warned_of) {
            assert_eq!(warning["key"], key.record.id.to_string());
            assert_eq!(warning["organization"], key.record.organization.to_string());
            assert!(warning["expires_at"].is_string(), "{warning}");
        }
        for key in keys {
            assert!(!log.contains(key), "{log}");
        }
    }
}
