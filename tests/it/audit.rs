//! The audit log: each event once, with what is needed to follow it up, and nothing of what is secret or personal.

use std::{collections::BTreeMap, time::Duration};

use device_assignment::{
    domain::api_key::ApiKeySecret,
    service::{NewApiKey, revoke_api_key},
};
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::{Value, json};

use crate::support::{
    Api, Client, INVALID_KEY, Kind, Program, Suite, TestDatabase, Wire, new_key, organization,
    program::{command, finish, stderr, stdout},
};

/// Words that callers and lists contain, and that no event may repeat.
const CANARIES: [&str; 4] = ["canary-mail", "CANARY-SN", "canary-type", "tlm_"];

pub fn register(suite: &mut Suite) {
    suite.on_each("audit::what_operators_do", operators);
    for api in [Api::Grpc, Api::Rest] {
        let name = |test: &str| format!("audit::{test}::{}", api.name());
        suite.on_each(&name("what_calls_change"), move |db| changes(db, api));
        suite.on_each(&name("why_keys_are_refused"), move |db| refusals(db, api));
        suite.on_each(&name("a_flood_of_wrong_keys"), move |db| flood(db, api));
    }
    suite.on_each("audit::a_caller_that_does_not_wait", impatient);
    suite.on_each("audit::a_filter_of_its_own", filtered);
}

type Event = BTreeMap<String, Value>;

/// The events of a log in JSON, each without its time, level and the like.
fn events(log: &str) -> Vec<Event> {
    let mut events = Vec::new();
    for line in log.lines().filter(|line| line.starts_with('{')) {
        let mut event: Event = serde_json::from_str(line).expect("JSON");
        if event.get("target") != Some(&json!("audit")) {
            continue;
        }
        for canary in CANARIES {
            assert!(!line.contains(canary), "{line}");
        }
        assert_eq!((&event["level"], &event["message"]), (&json!("INFO"), &json!("audit")));
        for field in ["timestamp", "level", "message", "target", "span"] {
            event.remove(field);
        }
        events.push(event);
    }
    events
}

fn event(fields: Value) -> Event {
    serde_json::from_value(fields).expect("an object")
}

async fn organization_id(database: &TestDatabase) -> String {
    let database = database.open().await;
    let organization = database.organization("acme").await.expect("readable");
    database.close().await;
    organization.expect("an organization").id.to_string()
}

async fn serve(database: &TestDatabase, options: &[&str]) -> Program {
    let serve = ["serve", "--log-format=json", "--database-url", database.url()];
    Program::spawn(command(&[serve.as_slice(), options].concat())).await
}

/// Makes a call with an id of its own.
async fn call(client: &Client, id: &str, body: &Value) -> String {
    let answer = client.with_header("x-request-id", id).call(body).await;
    assert_eq!(answer.request_id, id);
    answer.code
}

async fn operators(database: &'static TestDatabase) {
    let run = async |arguments: &[&str]| {
        let mut command = command(&[arguments, &["--database-url", database.url()]].concat());
        command.args(["--log-format", "json"]);
        let output = finish(command).await;
        assert!(output.status.success(), "{}", stderr(&output));
        (stdout(&output), events(&stderr(&output)))
    };
    let (_, told) = run(&["organization", "create", "acme"]).await;
    let organization = organization_id(database).await;
    let created = json!({ "event": "organization.created", "organization": organization, "name": "acme" });
    assert_eq!(told, [event(created)]);

    let create = [
        "api-key",
        "create",
        "--json",
        "--organization=acme",
        "--label=for tests",
        "--expires-in=90d",
    ];
    let (printed, told) = run(&create).await;
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    let [created] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(created["event"], "api_key.created");
    assert_eq!(
        (&created["organization"], &created["key"]),
        (&json!(organization), &printed["id"])
    );
    assert_eq!(created["label"], "for tests");
    assert!(created["expires_at"].is_string(), "{created:?}");
    let id = printed["id"].as_str().expect("an id");

    let (_, told) = run(&["api-key", "revoke", id]).await;
    assert_eq!(
        told,
        [event(
            json!({ "event": "api_key.revoked", "organization": organization, "key": id })
        )]
    );

    let (_, told) = run(&["api-key", "revoke", id]).await;
    assert_eq!(told, [], "it was revoked before");

    let folder = tempfile::TempDir::new().expect("a folder");
    let list = folder.path().join("devices.csv");
    std::fs::write(
        &list,
        "identifier,type\nCANARY-SN-1,canary-type\nCANARY-SN-2,canary-type\n",
    )
    .expect("a file");
    let import = ["device", "import", "--organization=acme", list.to_str().expect("text")];
    for created in [2, 0] {
        let (_, told) = run(&import).await;
        let imported =
            json!({ "event": "devices.imported", "organization": organization, "created": created, "updated": 0 });
        assert_eq!(told, [event(imported)]);
    }

    for read in [
        ["organization", "list"].as_slice(),
        &["api-key", "list", "--organization=acme"],
        &["migrate", "--status"],
    ] {
        assert_eq!(run(read).await.1, [], "{read:?} changes nothing");
    }
}

async fn changes(database: &'static TestDatabase, api: Api) {
    organization(database, "acme").await;
    let key = new_key(database, "acme", None).await;
    let organization = organization_id(database).await;
    let program = serve(database, &[]).await;
    let client = program.client(api, key.secret.reveal());
    let create = |identifiers: &[&str]| {
        json!({
            "customerEmail": "canary-mail@example.com",
            "deviceIdentifiers": identifiers,
            "autoCreateDevices": true,
            "deviceType": "canary-type",
        })
    };
    let two = create(&["CANARY-SN-1", "CANARY-SN-2"]);
    assert_eq!(call(&client, "creates-all", &two).await, "OK");
    assert_eq!(call(&client, "changes-nothing", &two).await, "OK");
    let three = create(&["CANARY-SN-1", "CANARY-SN-2", "CANARY-SN-3"]);
    assert_eq!(call(&client, "creates-one", &three).await, "OK");
    let mut of_another = json!({
        "customerEmail": "canary-mail-2@example.com",
        "deviceIdentifiers": ["CANARY-SN-1", "CANARY-SN-4"],
    });
    assert_eq!(call(&client, "creates-a-customer", &of_another).await, "OK");
    of_another["deviceIdentifiers"] = json!(["CANARY-SN-4"]);
    assert_eq!(call(&client, "no-device", &of_another).await, "FAILED_PRECONDITION");
    assert_eq!(call(&client, "no-request", &json!({})).await, "INVALID_ARGUMENT");

    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    let assigned = |revision: u64, id: &str, assigned: usize, created: usize, customer_created: bool| {
        event(json!({
            "event": "devices.assigned",
            "organization": organization,
            "key": key.record.id.to_string(),
            "request_id": id,
            "address": "127.0.0.1",
            "revision": revision,
            "assigned": assigned,
            "created": created,
            "customer_created": customer_created,
        }))
    };
    let expected = [
        assigned(1, "creates-all", 2, 2, true),
        assigned(2, "creates-one", 1, 1, false),
        assigned(3, "creates-a-customer", 1, 0, true),
    ];
    assert_eq!(events(&log), expected);
}

async fn refusals(database: &'static TestDatabase, api: Api) {
    organization(database, "acme").await;
    let [revoked, expired] = [
        new_key(database, "acme", None).await,
        new_key(database, "acme", Some(Duration::ZERO)).await,
    ];
    let admin = database.open().await;
    revoke_api_key(&admin, revoked.record.id).await.expect("revoked");
    admin.close().await;
    let organization = organization_id(database).await;
    let program = serve(database, &[]).await;
    let client = program.client(api, "");
    let unknown = ApiKeySecret::from_random(rand::random());
    let body = json!({ "customerEmail": "canary-mail@example.com", "deviceIdentifiers": ["CANARY-SN"] });
    for (id, key) in [
        ("malformed", "tlm_canary"),
        ("unknown", unknown.reveal()),
        ("revoked", revoked.secret.reveal()),
        ("expired", expired.secret.reveal()),
    ] {
        // What the caller learns is the same.
        let answer = client
            .with_key(Some(key))
            .with_header("x-request-id", id)
            .call(&body)
            .await;
        assert_eq!(
            (answer.code.as_str(), answer.error.as_str()),
            ("UNAUTHENTICATED", INVALID_KEY)
        );
        assert!(answer.reason.is_some_and(|reason| reason == "INVALID_API_KEY"));
    }
    assert_eq!(call(&client.with_key(None), "missing", &body).await, "UNAUTHENTICATED");

    let (_, log) = program.terminate().await;
    let refused = |reason: &str| {
        event(json!({ "event": "api_key.refused", "reason": reason, "address": "127.0.0.1", "request_id": reason }))
    };
    let known = |reason: &str, key: &NewApiKey| {
        let mut refused = refused(reason);
        refused.insert("organization".into(), json!(organization));
        refused.insert("key".into(), json!(key.record.id.to_string()));
        refused
    };
    let expected = [
        refused("malformed"),
        refused("unknown"),
        known("revoked", &revoked),
        known("expired", &expired),
    ];
    assert_eq!(events(&log), expected);
}

async fn flood(database: &'static TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let program = serve(database, &["--failed-keys-per-second=1", "--failed-keys-burst=5"]).await;
    let client = program.client(api, &key);
    let body = json!({ "customerEmail": "canary-mail@example.com", "deviceIdentifiers": ["CANARY-SN"] });
    let mut refused = Vec::new();
    for number in 0..60 {
        let key = ApiKeySecret::from_random(rand::random());
        let id = format!("wrong-{number}");
        if call(&client.with_key(Some(key.reveal())), &id, &body).await == "UNAUTHENTICATED" {
            refused.push(id);
        }
    }
    assert!((5..60).contains(&refused.len()), "{refused:?}");

    let (_, log) = program.terminate().await;
    let (told, shut): (Vec<_>, Vec<_>) = events(&log).into_iter().partition(|event| event["reason"] == "unknown");
    let told: Vec<_> = told
        .iter()
        .map(|event| event["request_id"].as_str().expect("an id"))
        .collect();
    assert_eq!(told, refused, "one event for each key that was looked at");
    let too_many = json!({ "event": "api_key.refused", "reason": "too_many_failed_keys", "address": "127.0.0.1" });
    assert_eq!(shut, [event(too_many)]);
}

/// What is carried out is told of, also when nobody waits for it any more.
async fn impatient(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let program = serve(database, &[]).await;
    let client = program.client(Api::Grpc, &key);
    let outside = database.connect().await;
    let blocker = outside.begin().await.expect("begun");
    let block = match database.kind {
        Kind::Postgres => "LOCK TABLE customer IN ACCESS EXCLUSIVE MODE",
        Kind::Sqlite => "UPDATE organization SET name = name",
    };
    blocker.execute_unprepared(block).await.expect("blocked");
    let create = json!({
        "customerEmail": "canary-mail@example.com",
        "deviceIdentifiers": ["CANARY-SN-1"],
        "autoCreateDevices": true,
        "deviceType": "canary-type",
    });
    let message = serde_json::from_value(create.clone()).expect("the JSON of a message");
    let impatient = Wire::connect(program.grpc, &key).await;
    let code = impatient.assign(&message, "500m").await.expect("an answer");
    assert_eq!(code, "DEADLINE_EXCEEDED");
    blocker.commit().await.expect("committed");
    // Behind the one that nobody waits for.
    assert_eq!(call(&client, "stays", &create).await, "OK");
    outside.close().await.expect("closed");

    let (_, log) = program.terminate().await;
    let told = events(&log);
    let [told] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(told["event"], "devices.assigned");
    assert_ne!(told["request_id"], "stays");
}

async fn filtered(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    for (filter, is_told) in [
        ("warn,audit=info,device_assignment::cli=info", true),
        ("info,audit=off", false),
    ] {
        let mut serve = command(&["serve", "--log-format=json", "--database-url", database.url()]);
        serve.env("RUST_LOG", filter);
        let program = Program::spawn(serve).await;
        program
            .client(Api::Grpc, &key)
            .create(&format!("{is_told}@example.com"), &["SN-1"])
            .await
            .ok();
        let (_, log) = program.terminate().await;
        assert_eq!(events(&log).len(), usize::from(is_told), "{log}");
        assert_eq!(log.contains("\"message\":\"call\""), !is_told, "{log}");
    }
}
