//! API keys: who is let in, and for how long.

use std::time::{Duration, Instant};

use device_assignment::{
    domain::{api_key::ApiKeySecret, organization::ApiKeyLabel},
    server::ServerSettings,
    service::{KeyUsageSettings, NewApiKey, ServiceSettings, api_keys, create_api_key, revoke_api_key},
    storage::{Database, DatabaseUrl},
};
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::support::{
    Answer, Face, Kind, Program, Proxy, Suite, TestDatabase, TestServer,
    load::eventually,
    organization,
    program::{command, run, stderr, stdout},
};

/// How soon a revoked key must be refused everywhere.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

pub fn register(suite: &mut Suite) {
    for face in Face::ALL {
        let name = |test: &str| format!("keys::{test}::{}", face.name());
        suite.on_each(&name("a_call_without_a_valid_key_is_refused"), move |db| {
            refused(db, face)
        });
        suite.on_each(&name("the_key_is_judged_before_the_body"), move |db| {
            before_the_body(db, face)
        });
        suite.on_each(&name("an_expired_key_is_refused"), move |db| expired(db, face));
        suite.on_each(&name("a_revoked_key_is_refused_on_every_instance"), move |db| {
            revoked(db, face)
        });
        suite.on_each(&name("an_organization_sees_only_its_own"), move |db| isolated(db, face));
    }
    suite.on_each("keys::the_last_use_is_stored", last_use);
    suite.on_each("keys::the_last_use_is_stored_at_a_stop", last_use_at_a_stop);
    suite.on_each("keys::the_last_use_only_moves_forward", only_forward);
    suite.on(
        Kind::Postgres,
        "keys::a_last_use_that_cannot_be_stored_is_kept",
        kept_use,
    );
    suite.on(
        Kind::Postgres,
        "keys::a_last_use_is_not_stored_before_the_network_is_back",
        kept_through_silence,
    );
    suite.on_each("keys::a_key_that_expires_soon_is_warned_of_once", expiry_warning);
}

async fn new_key(database: &TestDatabase, organization: &str, expires_in: Option<Duration>) -> NewApiKey {
    let database = database.open().await;
    let label = ApiKeyLabel::parse("another").expect("a label");
    let key = create_api_key(&database, organization, &label, expires_in)
        .await
        .expect("a key");
    database.close().await;
    key
}

#[track_caller]
fn assert_unauthenticated(answer: &Answer, sentence: &str, reason: &str) {
    assert_eq!(
        (answer.code.as_str(), answer.error.as_str()),
        ("UNAUTHENTICATED", sentence),
        "{answer:?}"
    );
    assert_eq!(answer.violations, []);
    match &answer.http {
        Some((status, _)) => assert_eq!(*status, 401),
        None => assert_eq!(answer.reason.as_deref(), Some(reason)),
    }
}

async fn refused(database: &TestDatabase, face: Face) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(face, &key);
    let before = database.dump().await;

    for missing in [None, Some("")] {
        let answer = client.with_key(missing).create("john@example.com", &["SN-1"]).await;
        assert_unauthenticated(&answer, "Missing API key", "MISSING_API_KEY");
    }
    let unknown = ApiKeySecret::from_random([7; 32]);
    let mut typing_error = key.clone().into_bytes();
    typing_error.swap(10, 11);
    typing_error[12] = if typing_error[12] == b'x' { b'y' } else { b'x' };
    let typing_error = String::from_utf8(typing_error).expect("text");
    for invalid in [
        unknown.reveal(),
        &typing_error,
        &key[..key.len() - 1],
        &format!("{key}x"),
        &key.to_uppercase(),
        "your_api_key_here",
        "tlm_",
    ] {
        let answer = client
            .with_key(Some(invalid))
            .create("john@example.com", &["SN-1"])
            .await;
        assert_unauthenticated(&answer, "Invalid API key", "INVALID_API_KEY");
    }

    assert_eq!(database.dump().await, before, "a refused call changes nothing");
    client.create("john@example.com", &["SN-1"]).await.ok();
    server.stop().await;
}

async fn before_the_body(database: &TestDatabase, face: Face) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(face, &key).with_key(None);
    let answer = client.call(&json!({})).await;
    assert_unauthenticated(&answer, "Missing API key", "MISSING_API_KEY");
    if face != Face::Grpc {
        for (body, content_type) in [
            ("{", "application/json"),
            ("[]", "application/json"),
            ("{}", "text/plain"),
        ] {
            let answer = client.post(body, Some(content_type)).await;
            assert_unauthenticated(&answer, "Missing API key", "MISSING_API_KEY");
            let answer = client.with_key(Some("tlm_x")).post(body, Some(content_type)).await;
            assert_unauthenticated(&answer, "Invalid API key", "INVALID_API_KEY");
        }
        let answer = client.post(vec![b' '; 9 * 1024 * 1024], None).await;
        assert_unauthenticated(&answer, "Missing API key", "MISSING_API_KEY");
    }
    server.stop().await;
}

async fn expired(database: &TestDatabase, face: Face) {
    organization(database, "acme").await;
    let lifetime = Duration::from_secs(1);
    // Somewhere between these two the key was created.
    let earliest = Instant::now() + lifetime;
    let key = new_key(database, "acme", Some(lifetime)).await;
    let latest = Instant::now() + lifetime;
    let server = TestServer::start(database).await;
    let client = server.client(face, key.secret.reveal());
    loop {
        // A key that was let in a moment ago is remembered; its expiry must be, too.
        let asked = Instant::now();
        let answer = client.create("john@example.com", &["SN-1"]).await;
        if answer.code == "OK" {
            assert!(asked <= latest, "let in after its expiry");
            tokio::time::sleep(Duration::from_millis(20)).await;
        } else {
            assert!(Instant::now() >= earliest, "refused before its expiry");
            assert_unauthenticated(&answer, "Invalid API key", "INVALID_API_KEY");
            break;
        }
    }
    server.stop().await;
}

async fn revoked(database: &TestDatabase, face: Face) {
    let other_key = organization(database, "acme").await;
    let key = new_key(database, "acme", None).await;
    let servers = [TestServer::start(database).await, TestServer::start(database).await];
    let clients = servers
        .each_ref()
        .map(|server| server.client(face, key.secret.reveal()));
    for client in &clients {
        client.create("john@example.com", &["SN-1"]).await.ok();
    }

    let admin = database.open().await;
    revoke_api_key(&admin, key.record.id).await.expect("revoked");
    admin.close().await;
    let start = Instant::now();
    for client in &clients {
        while client.create("john@example.com", &["SN-1"]).await.code == "OK" {
            assert!(start.elapsed() < REVOKED_WITHIN, "a revoked key still works");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let answer = client.create("john@example.com", &["SN-1"]).await;
        assert_unauthenticated(&answer, "Invalid API key", "INVALID_API_KEY");
    }

    // Several keys are live at once: that is how one is replaced without a gap.
    clients[0]
        .with_key(Some(&other_key))
        .create("john@example.com", &["SN-1"])
        .await
        .ok();
    for server in servers {
        server.stop().await;
    }
}

async fn isolated(database: &TestDatabase, face: Face) {
    let keys = [
        organization(database, "acme").await,
        organization(database, "globex").await,
    ];
    let server = TestServer::start(database).await;
    let [acme, globex] = keys.each_ref().map(|key| server.client(face, key));

    let of_acme = acme.create("john@example.com", &["SN-1", "SN-2"]).await.ok();
    let before = database.dump().await;
    let unseen = globex.assign("john@example.com", &["SN-1", "SN-2"]).await;
    assert_eq!(
        unseen.code, "FAILED_PRECONDITION",
        "devices of another organization do not exist"
    );
    assert_eq!(database.dump().await, before);

    let of_globex = globex.create("john@example.com", &["SN-1"]).await.ok();
    assert_eq!(of_globex.body["customerWasCreated"], true);
    assert_eq!(of_globex.body["assignedDevices"][0]["wasCreated"], true);
    assert_ne!(of_globex.body["customerId"], of_acme.body["customerId"]);
    assert_ne!(
        of_globex.body["assignedDevices"][0]["deviceId"],
        of_acme.body["assignedDevices"][0]["deviceId"]
    );
    let after = database.dump().await;
    for row in before.lines() {
        assert!(after.contains(row), "the other organization's rows are as they were");
    }
    let again = acme.assign("john@example.com", &["SN-1", "SN-2"]).await.ok();
    assert_eq!(again.identifiers("alreadyAssigned"), ["SN-1", "SN-2"]);
    assert_eq!(database.count("device_assignment").await, 3);
    server.stop().await;
}

/// How long a use may take to be stored on a busy machine.
const STORED_WITHIN: Duration = Duration::from_secs(30);

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
        for face in Face::ALL {
            let earliest = now();
            server
                .client(face, &key)
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
        .client(Face::Rest, &key)
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
    assert!(rows.ends_with(&format!("\tlast used {used}\n")), "{rows}");
}

async fn only_forward(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(database, storing_each(Duration::from_millis(50))).await;
    server
        .client(Face::Grpc, &key)
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
        .client(Face::Grpc, &key)
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
    let client = server.client(Face::Grpc, &key);
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
    let client = server.client(Face::Grpc, &key);
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
                for face in [Face::Grpc, Face::Rest] {
                    program
                        .client(face, key)
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
