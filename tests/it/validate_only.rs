//! `validateOnly` of every write: the call answers what it would do, and changes nothing.

use device_assignment::{
    server::ServerSettings,
    service::{Limit, LimitSettings},
    storage::{Database, DatabaseUrl},
};
use serde_json::{Value, json};
use std::time::Duration;

use crate::{
    limits::{assert_too_many, settings},
    support::{
        ASSIGN_ONE_PATH, Api, Client, Kind, PATH, Program, Suite, TRANSFER_PATH, TestDatabase, TestServer,
        UNASSIGN_ONE_PATH, UNASSIGN_PATH, devices, organization, program::command,
    },
};

const JOHN: &str = "john.doe@example.com";
const JANE: &str = "jane.doe@example.com";

pub fn register(suite: &mut Suite) {
    for api in Api::ALL {
        let name = |test: &str| format!("validate_only::{test}::{}", api.name());
        suite.on_each(&name("it_answers_as_the_call_and_changes_nothing"), move |db| {
            answers_as_the_call(db, api)
        });
        suite.on_each(&name("it_rejects_as_the_call"), move |db| rejects_as_the_call(db, api));
        suite.on_each(&name("it_counts_toward_the_limits"), move |db| limited(db, api));
        suite.on_each(&name("it_needs_no_writable_database"), move |db| read_only(db, api));
    }
    suite.on_each(
        "validate_only::it_is_in_the_log_and_not_in_metrics_or_the_audit_log",
        observed,
    );
}

/// A request of each kind, by its path, that changes something in the world below.
fn requests() -> Vec<(&'static str, Value)> {
    vec![
        (
            PATH,
            json!({ "customerEmail": JANE, "deviceIdentifiers": ["SN-001", "SN-003", "NEW"] }),
        ),
        (
            PATH,
            json!({
                "customerEmail": "new@example.com",
                "deviceIdentifiers": ["NEW-1", "SN-002", "NEW-2"],
                "autoCreateDevices": true,
                "deviceType": "sensor",
            }),
        ),
        (
            ASSIGN_ONE_PATH,
            json!({
                "deviceIdentifier": "NEW-3",
                "customerEmails": [JOHN, "other@example.com"],
                "autoCreateDevice": true,
                "deviceType": "sensor",
            }),
        ),
        (
            TRANSFER_PATH,
            json!({
                "customerEmail": "buyer@example.com",
                "deviceIdentifiers": ["SN-001", "NEW-1", "NEW-4"],
                "autoCreateDevices": true,
                "deviceType": "sensor",
            }),
        ),
        (
            TRANSFER_PATH,
            json!({ "customerEmail": JOHN, "deviceIdentifiers": ["SN-001", "SN-002"], "expectedOwner": "buyer@example.com" }),
        ),
        (
            UNASSIGN_PATH,
            json!({ "customerEmail": JOHN, "deviceIdentifiers": ["SN-001", "SN-003", "NEW"] }),
        ),
        (
            UNASSIGN_ONE_PATH,
            json!({ "customerEmail": JOHN, "deviceIdentifier": "SN-002" }),
        ),
    ]
}

/// A request that is rejected after its fields are checked.
fn rejected() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        (
            PATH,
            json!({ "customerEmail": "new@example.com", "deviceIdentifiers": ["NEW"] }),
            "NO_VALID_DEVICES",
        ),
        (
            ASSIGN_ONE_PATH,
            json!({ "deviceIdentifier": "NEW", "customerEmails": [JOHN] }),
            "DEVICE_NOT_FOUND",
        ),
        (
            TRANSFER_PATH,
            json!({ "customerEmail": "new@example.com", "deviceIdentifiers": ["NEW"] }),
            "NO_VALID_DEVICES",
        ),
        (
            TRANSFER_PATH,
            json!({ "customerEmail": JANE, "deviceIdentifiers": ["SN-001"], "expectedOwner": "new@example.com" }),
            "NOT_ASSIGNED",
        ),
        (
            PATH,
            json!({ "customerEmail": "x", "deviceIdentifiers": ["NEW"] }),
            "INVALID_REQUEST",
        ),
        (
            UNASSIGN_PATH,
            json!({ "customerEmail": JANE, "deviceIdentifiers": ["SN-001"] }),
            "CUSTOMER_NOT_FOUND",
        ),
        (
            UNASSIGN_ONE_PATH,
            json!({ "customerEmail": JOHN, "deviceIdentifier": "SN-003" }),
            "NOT_ASSIGNED",
        ),
    ]
}

fn validating(request: &Value) -> Value {
    let mut request = request.clone();
    request["validateOnly"] = true.into();
    request
}

/// An organization in which John has SN-001 and SN-002, and SN-003 is nobody's.
async fn world(database: &TestDatabase) -> String {
    let key = organization(database, "acme").await;
    devices(database, "acme", &["SN-001", "SN-002", "SN-003"]).await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, &key);
    client.assign(JOHN, &["SN-001", "SN-002"]).await.ok();
    server.stop().await;
    key
}

/// `answer` without the ids of what the call created.
fn without_new_ids(mut answer: Value) -> Value {
    fn clear(object: &mut Value, flag: &str, id: &str) {
        if object.get(flag).is_some_and(|flag| flag == true) {
            object[id] = "".into();
        }
    }
    clear(&mut answer, "customerWasCreated", "customerId");
    clear(&mut answer, "deviceWasCreated", "deviceId");
    for (list, id) in [("assignedDevices", "deviceId"), ("assignedCustomers", "customerId")] {
        let entries = answer.get_mut(list).and_then(Value::as_array_mut);
        for entry in entries.into_iter().flatten() {
            clear(entry, "wasCreated", id);
        }
    }
    answer
}

async fn answers_as_the_call(database: &TestDatabase, api: Api) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    for (path, request) in requests() {
        let before = database.dump().await;
        let preview = client.call_at(path, &validating(&request)).await.ok();
        assert_eq!(database.dump().await, before, "{path} {request}");
        let mut explicit = request.clone();
        explicit["validateOnly"] = false.into();
        let done = client.call_at(path, &explicit).await.ok();
        assert_ne!(database.dump().await, before, "{path} {request}");
        assert_eq!(preview.body, without_new_ids(done.body), "{path} {request}");
        assert_eq!(
            preview.revision,
            done.revision.map(|revision| revision - 1),
            "{path} {request}"
        );
        // Once it is done, there is nothing left to do.
        let again = client.call_at(path, &validating(&request)).await;
        assert!(again.code != "OK" || again.revision == done.revision, "{again:?}");
    }
    server.stop().await;
}

async fn rejects_as_the_call(database: &TestDatabase, api: Api) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    for (path, request, reason) in rejected() {
        let preview = client.call_at(path, &validating(&request)).await;
        let rejected = client.call_at(path, &request).await;
        assert_eq!(preview.reason.as_deref(), Some(reason), "{path} {request}");
        assert_eq!((preview.code, preview.error), (rejected.code, rejected.error));
        assert_eq!(preview.violations, rejected.violations);
        let nobody = client.with_key(None).call_at(path, &validating(&request)).await;
        assert_eq!(nobody.reason.as_deref(), Some("MISSING_API_KEY"));
    }
    server.stop().await;
}

async fn limited(database: &TestDatabase, api: Api) {
    let key = world(database).await;
    let limits = settings(|limits: &mut LimitSettings| {
        limits.devices = Limit::new(Duration::from_secs(3_600), 3);
    });
    let server = TestServer::start_with(database, limits).await;
    let client = server.client(api, &key);
    let (path, request) = requests().remove(0);
    client.call_at(path, &validating(&request)).await.ok();
    assert_too_many(&client.call_at(path, &validating(&request)).await, "RATE_LIMITED");
    server.stop().await;
}

/// A standby, and a file that is read-only.
async fn read_only(database: &'static TestDatabase, api: Api) {
    let key = world(database).await;
    let url = match database.kind {
        Kind::Sqlite => database.url().replace("mode=rwc", "mode=ro"),
        Kind::Postgres => {
            let separator = if database.url().contains('?') { '&' } else { '?' };
            let options = "options=-c%20default_transaction_read_only%3Don";
            format!("{}{separator}{options}", database.url())
        }
    };
    let url = DatabaseUrl::parse(&url).expect("a URL");
    let opened = Database::open(url).await.expect("a database");
    let server = TestServer::start_over(opened, ServerSettings::default()).await;
    let client: Client = server.client(api, &key);
    for (path, request) in requests() {
        if request.get("expectedOwner").is_some() {
            // Nothing to do in this world: a standby can answer that.
            continue;
        }
        let preview = client.call_at(path, &validating(&request)).await.ok();
        assert_eq!(preview.revision, Some(2), "{path}");
        let answer = client.call_at(path, &request).await;
        assert_eq!(answer.code, "UNAVAILABLE", "{answer:?}");
    }
    server.stop().await;
}

async fn observed(database: &'static TestDatabase) {
    let key = world(database).await;
    let mut serve = command(&["serve", "--database-url", database.url()]);
    serve.args(["--log-format", "json"]);
    let program = Program::spawn(serve).await;
    let client = program.client(Api::Rest, &key);
    for (path, request) in requests() {
        client.call_at(path, &validating(&request)).await.ok();
    }
    let metrics = crate::metrics::Metrics::of(program.admin).await;
    let devices = metrics
        .text
        .lines()
        .filter(|line| line.starts_with("device_assignment_devices_total"));
    assert!(devices.clone().all(|line| line.ends_with(" 0")), "{}", metrics.text);
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let audited = lines.iter().filter(|line| line["target"] == "audit");
    assert_eq!(audited.count(), 0, "{log}");
    let validated = lines.iter().filter(|line| line["validate_only"] == true);
    assert_eq!(validated.count(), requests().len(), "{log}");
}
