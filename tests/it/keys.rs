//! API keys: which are valid, and for how long.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use device_assignment::{
    domain::{
        api_key::{ApiKeySecret, Scope},
        organization::ApiKeyLabel,
    },
    service::{create_api_key, revoke_api_key},
};
use futures_util::future::join_all;
use serde_json::json;

use crate::{
    metrics::Metrics,
    support::{
        Answer, Api, Client, INVALID_KEY, MISSING_KEY, Program, Suite, TestDatabase, TestServer, load::eventually,
        new_key, organization,
    },
};

/// How soon a revoked key must be rejected everywhere.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

pub fn register(suite: &mut Suite) {
    for api in Api::ALL {
        let name = |test: &str| format!("keys::{test}::{}", api.name());
        suite.on_each(&name("a_call_without_a_valid_key_is_refused"), move |db| {
            refused(db, api)
        });
        suite.on_each(&name("a_call_with_two_keys_is_refused"), move |db| repeated(db, api));
        suite.on_each(&name("authorization_carries_the_key_as_well"), move |db| {
            bearer(db, api)
        });
        suite.on_each(&name("the_key_is_judged_before_the_body"), move |db| {
            before_the_body(db, api)
        });
        suite.on_each(&name("an_expired_key_is_refused"), move |db| expired(db, api));
        suite.on_each(&name("a_revoked_key_is_refused_on_every_instance"), move |db| {
            revoked(db, api)
        });
        suite.on_each(&name("an_organization_sees_only_its_own"), move |db| isolated(db, api));
    }
    suite.on_each("keys::a_flood_of_unknown_keys_locks_no_key_out", flooded);
}

#[track_caller]
fn assert_unauthenticated(answer: &Answer, sentence: &str, reason: &str) {
    assert_eq!(
        (answer.code.as_str(), answer.error.as_str()),
        ("UNAUTHENTICATED", sentence),
        "{answer:?}"
    );
    assert_eq!(answer.violations, []);
    assert_eq!(answer.reason.as_deref(), Some(reason));
    if let Some((status, headers)) = &answer.http {
        assert_eq!(*status, 401);
        let error = match reason {
            "MISSING_API_KEY" => "",
            "CONFLICTING_API_KEYS" => ", error=\"invalid_request\"",
            _ => ", error=\"invalid_token\"",
        };
        let challenge = format!("Bearer realm=\"device-assignment\"{error}");
        assert_eq!(headers["www-authenticate"], challenge);
    }
}

async fn refused(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let before = database.dump().await;

    for missing in [None, Some("")] {
        let answer = client.with_key(missing).create("john@example.com", &["SN-1"]).await;
        assert_unauthenticated(&answer, MISSING_KEY, "MISSING_API_KEY");
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
        assert_unauthenticated(&answer, INVALID_KEY, "INVALID_API_KEY");
    }

    assert_eq!(database.dump().await, before, "a call that fails changes nothing");
    client.create("john@example.com", &["SN-1"]).await.ok();
    server.stop().await;
}

/// Something in between may have added a key, so nobody can tell whose call it is.
async fn repeated(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let other = organization(database, "globex").await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let before = database.dump().await;
    for second in [other.as_str(), &key, "", "tlm_x"] {
        for client in [
            client.with_header("x-api-key", second),
            client.with_key(Some(second)).with_header("x-api-key", &key),
        ] {
            let mut answers = vec![client.create("john@example.com", &["SN-1"]).await];
            // The key is checked before the body.
            answers.push(client.call(&json!({})).await);
            if api != Api::Grpc {
                answers.push(client.post("{", Some("text/plain")).await);
            }
            for answer in answers {
                assert_eq!(answer.code, "INVALID_ARGUMENT", "{answer:?}");
                assert_eq!(answer.error, "The API key is given twice; send it once");
                assert_eq!(answer.violations, []);
                assert_eq!(answer.reason.as_deref(), Some("REPEATED_API_KEY"));
                assert!(answer.http.is_none_or(|(status, _)| status == 400));
            }
        }
    }
    let joined = format!("{key}, {other}");
    let answer = client
        .with_key(Some(&joined))
        .create("john@example.com", &["SN-1"])
        .await;
    assert_unauthenticated(&answer, INVALID_KEY, "INVALID_API_KEY");
    assert_eq!(database.dump().await, before, "a call that fails changes nothing");
    client.create("john@example.com", &["SN-1"]).await.ok();
    server.stop().await;
}

async fn bearer(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let other = organization(database, "globex").await;
    let server = TestServer::start(database).await;
    let with = |plain: Option<&str>, authorization: &str| {
        let client = server.client(api, "").with_key(plain);
        client.with_header("authorization", authorization)
    };
    let bearer = format!("Bearer {key}");
    let before = database.dump().await;
    // Of another organization, malformed, unknown: whatever comes second, nobody can tell whose call it is.
    let unknown = ApiKeySecret::from_random([7; 32]);
    for second in [&other, "tlm_x", unknown.reveal()] {
        for client in [
            with(Some(second), &bearer),
            with(Some(&key), &format!("Bearer {second}")),
        ] {
            let answer = client.create("john@example.com", &["SN-1"]).await;
            let sentence = "x-api-key and Authorization carry different API keys; send one";
            assert_unauthenticated(&answer, sentence, "CONFLICTING_API_KEYS");
        }
    }
    for invalid in [
        "Bearer tlm_x",
        &format!("{bearer}x"),
        &format!("Bearer {}", unknown.reveal()),
    ] {
        let answer = with(None, invalid).create("john@example.com", &["SN-1"]).await;
        assert_unauthenticated(&answer, INVALID_KEY, "INVALID_API_KEY");
    }
    // Credentials for something else.
    for missing in ["Basic dGxtXzE6MQ==", "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x", key.as_str()] {
        let answer = with(None, missing).create("john@example.com", &["SN-1"]).await;
        assert_unauthenticated(&answer, MISSING_KEY, "MISSING_API_KEY");
    }
    let twice = with(None, &bearer).with_header("authorization", &bearer);
    let answer = twice.create("john@example.com", &["SN-1"]).await;
    assert_eq!(answer.reason.as_deref(), Some("REPEATED_API_KEY"), "{answer:?}");
    // As in x-api-key, what is longer than any key is an invalid key, not a missing one.
    let long = format!("Bearer tlm_{}", "x".repeat(20_000));
    if api != Api::Grpc {
        let answer = with(None, &long).create("john@example.com", &["SN-1"]).await;
        assert_unauthenticated(&answer, INVALID_KEY, "INVALID_API_KEY");
    }
    assert_eq!(database.dump().await, before, "a call that fails changes nothing");

    // Twice, since the gateway remembers a key that was valid.
    for _ in 0..2 {
        for (plain, authorization) in [
            (None, bearer.as_str()),
            (None, &format!("bearer  {key}")),
            (Some(""), &bearer),
            (Some(&key), &bearer),
            (Some(&key), "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x"),
        ] {
            let client = with(plain, authorization);
            client.create("john@example.com", &["SN-1"]).await.ok();
        }
    }
    server.stop().await;
}

async fn before_the_body(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key).with_key(None);
    let answer = client.call(&json!({})).await;
    assert_unauthenticated(&answer, MISSING_KEY, "MISSING_API_KEY");
    if api != Api::Grpc {
        for (body, content_type) in [
            ("{", "application/json"),
            ("[]", "application/json"),
            ("{}", "text/plain"),
        ] {
            let answer = client.post(body, Some(content_type)).await;
            assert_unauthenticated(&answer, MISSING_KEY, "MISSING_API_KEY");
            let answer = client.with_key(Some("tlm_x")).post(body, Some(content_type)).await;
            assert_unauthenticated(&answer, INVALID_KEY, "INVALID_API_KEY");
        }
        let answer = client.post(vec![b' '; 9 * 1024 * 1024], None).await;
        assert_unauthenticated(&answer, MISSING_KEY, "MISSING_API_KEY");
    }
    server.stop().await;
}

async fn expired(database: &TestDatabase, api: Api) {
    organization(database, "acme").await;
    let lifetime = Duration::from_secs(1);
    // Somewhere between these two the key was created.
    let earliest = Instant::now() + lifetime;
    let key = new_key(database, "acme", Some(lifetime)).await;
    let latest = Instant::now() + lifetime;
    let server = TestServer::start(database).await;
    let client = server.client(api, key.secret.reveal());
    loop {
        // A key that was let in a moment ago is remembered; its expiry must be, too.
        let asked = Instant::now();
        let answer = client.create("john@example.com", &["SN-1"]).await;
        if answer.code == "OK" {
            assert!(asked <= latest, "let in after its expiry");
            tokio::time::sleep(Duration::from_millis(20)).await;
        } else {
            assert!(Instant::now() >= earliest, "refused before its expiry");
            assert_unauthenticated(&answer, INVALID_KEY, "INVALID_API_KEY");
            break;
        }
    }
    server.stop().await;
}

async fn revoked(database: &TestDatabase, api: Api) {
    let other_key = organization(database, "acme").await;
    let key = new_key(database, "acme", None).await;
    let servers = [TestServer::start(database).await, TestServer::start(database).await];
    let clients = servers.each_ref().map(|server| server.client(api, key.secret.reveal()));
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
        assert_unauthenticated(&answer, INVALID_KEY, "INVALID_API_KEY");
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

async fn isolated(database: &TestDatabase, api: Api) {
    let keys = [
        organization(database, "acme").await,
        organization(database, "globex").await,
    ];
    let server = TestServer::start(database).await;
    let [acme, globex] = keys.each_ref().map(|key| server.client(api, key));

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

/// Calls with a new unknown key each time, until told to stop. Counts the calls that were rejected without a look-up.
async fn flood(client: &Client, stop: &AtomicBool, refused_early: &AtomicU32) {
    while !stop.load(Ordering::Relaxed) {
        let unknown = ApiKeySecret::from_random(rand::random());
        let client = client.with_key(Some(unknown.reveal()));
        let answer = client.assign("john@example.com", &["SN-1"]).await;
        match answer.code.as_str() {
            "UNAUTHENTICATED" => {}
            "RESOURCE_EXHAUSTED" => {
                refused_early.fetch_add(1, Ordering::Relaxed);
            }
            _ => panic!("{answer:?}"),
        }
    }
}

/// Somebody at the same address sends unknown keys without end. Keys that exist still work, even those that this process has
/// never seen, and the flood costs the database little.
async fn flooded(database: &'static TestDatabase) {
    const KEYS: usize = 40;
    /// The defaults of `--failed-keys-burst` and `--failed-keys-per-second`.
    const BURST: f64 = 100.0;
    const RATE: f64 = 10.0;
    organization(database, "acme").await;
    let admin = database.open().await;
    let label = ApiKeyLabel::parse("one of many").expect("a label");
    let mut keys = Vec::new();
    for _ in 0..KEYS {
        let key = create_api_key(&admin, "acme", &label, Scope::Write, None)
            .await
            .expect("a key");
        keys.push(key.secret.reveal().to_owned());
    }
    admin.close().await;

    // The second time after a restart, which has forgotten the keys that worked.
    for _ in 0..2 {
        let started = Instant::now();
        let program = Program::serve(database.url()).await;
        let apis = [Api::Grpc, Api::Rest];
        let (stop, refused_early) = (AtomicBool::new(false), AtomicU32::new(0));
        let clients: Vec<Client> = apis.map(|api| program.client(api, "")).into();
        let attackers = clients.iter().cycle().take(8);
        let attackers = join_all(attackers.map(|client| flood(client, &stop, &refused_early)));
        let innocent = async {
            eventually("the flood is refused", Duration::from_secs(60), async || {
                refused_early.load(Ordering::Relaxed) >= 500
            })
            .await;
            let calls = keys.iter().zip(apis.into_iter().cycle());
            let calls = calls.map(async |(key, api)| {
                let client = program.client(api, key);
                client.create("john@example.com", &["SN-1"]).await.code
            });
            let codes = join_all(calls).await;
            stop.store(true, Ordering::Relaxed);
            codes
        };
        let (codes, _) = tokio::join!(innocent, attackers);
        assert_eq!(codes, vec!["OK"; KEYS]);

        let metrics = Metrics::of(program.admin).await;
        let seconds = started.elapsed().as_secs_f64();
        let wrong = refused_early.load(Ordering::Relaxed);
        let looked_up = metrics.get("device_assignment_key_lookups_total{result=\"miss\"}");
        let lists = metrics.get("device_assignment_statements_total{kind=\"list_api_keys\"}");
        println!("{wrong} calls refused early in {seconds:.1} s: {looked_up} look-ups, {lists} lists of keys");
        let keys = f64::from(u32::try_from(KEYS).expect("a few"));
        assert!(looked_up <= keys + BURST + RATE * seconds + 1.0, "{looked_up}");
        assert!((1.0..=1.0 + seconds / 2.0).contains(&lists), "{lists} in {seconds} s");
        program.terminate().await;
    }
}
