//! API keys: who is let in, and for how long.

use std::time::{Duration, Instant};

use device_assignment::{domain::api_key::ApiKeySecret, service::revoke_api_key};
use serde_json::json;

use crate::support::{Answer, Face, Suite, TestDatabase, TestServer, new_key, organization};

/// How soon a revoked key must be refused everywhere.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

pub fn register(suite: &mut Suite) {
    for face in Face::ALL {
        let name = |test: &str| format!("keys::{test}::{}", face.name());
        suite.on_each(&name("a_call_without_a_valid_key_is_refused"), move |db| {
            refused(db, face)
        });
        suite.on_each(&name("a_call_with_two_keys_is_refused"), move |db| repeated(db, face));
        suite.on_each(&name("the_key_is_judged_before_the_body"), move |db| {
            before_the_body(db, face)
        });
        suite.on_each(&name("an_expired_key_is_refused"), move |db| expired(db, face));
        suite.on_each(&name("a_revoked_key_is_refused_on_every_instance"), move |db| {
            revoked(db, face)
        });
        suite.on_each(&name("an_organization_sees_only_its_own"), move |db| isolated(db, face));
    }
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

/// Which one counts would be anybody's guess: that of the caller, or one that something in between has added.
async fn repeated(database: &TestDatabase, face: Face) {
    let key = organization(database, "acme").await;
    let other = organization(database, "globex").await;
    let server = TestServer::start(database).await;
    let client = server.client(face, &key);
    let before = database.dump().await;
    for second in [other.as_str(), &key, "", "tlm_x"] {
        for client in [
            client.with_header("x-api-key", second),
            client.with_key(Some(second)).with_header("x-api-key", &key),
        ] {
            let mut answers = vec![client.create("john@example.com", &["SN-1"]).await];
            // Said before anything of the body is.
            answers.push(client.call(&json!({})).await);
            if face != Face::Grpc {
                answers.push(client.post("{", Some("text/plain")).await);
            }
            for answer in answers {
                assert_eq!(answer.code, "INVALID_ARGUMENT", "{answer:?}");
                assert_eq!(answer.error, "x-api-key is given twice; send it once");
                assert_eq!(answer.violations, []);
                match &answer.http {
                    Some((status, _)) => assert_eq!(*status, 400),
                    None => assert_eq!(answer.reason.as_deref(), Some("REPEATED_API_KEY")),
                }
            }
        }
    }
    let joined = format!("{key}, {other}");
    let answer = client
        .with_key(Some(&joined))
        .create("john@example.com", &["SN-1"])
        .await;
    assert_unauthenticated(&answer, "Invalid API key", "INVALID_API_KEY");
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
