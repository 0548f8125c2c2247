//! Every rule of `UnassignDevicesFromOwner` and `UnassignDeviceFromOwner`, through gRPC, REST and a remote gateway, on both
//! databases.

mod rejections;
mod together;

use std::{pin::Pin, time::Duration};

use device_assignment::{
    pb::{UnassignDeviceFromOwnerRequest, UnassignDevicesFromOwnerRequest},
    service::{Limit, LimitSettings},
};
use insta::{allow_duplicates, assert_snapshot};
use reqwest::Method;
use serde_json::{Value, json};

use rejections::are_rejected;

use crate::{
    limits::{assert_too_many, settings},
    openapi::{description, without_ids},
    support::{
        Answer, Api, Client, MISSING_KEY, Suite, TestDatabase, TestServer, UNASSIGN_ONE_PATH, UNASSIGN_PATH,
        client::answer_of, devices, organization,
    },
};

const JOHN: &str = "john.doe@example.com";
const JANE: &str = "jane.doe@example.com";

/// An organization in which John has SN-001, SN-003 and SN-004, Jane has SN-002 and SN-003, and SN-005 is nobody's; and
/// another one in which John has SN-001 and OTHER-1.
struct World {
    key: String,
    other: String,
}

impl World {
    async fn new(database: &TestDatabase) -> Self {
        let world = Self {
            key: organization(database, "acme").await,
            other: organization(database, "other").await,
        };
        devices(database, "acme", &["SN-001", "SN-002", "SN-003", "SN-004", "SN-005"]).await;
        devices(database, "other", &["SN-001", "OTHER-1"]).await;
        let server = TestServer::start(database).await;
        let client = server.client(Api::Grpc, &world.key);
        client.assign(JOHN, &["SN-004", "SN-001", "SN-003"]).await.ok();
        client.assign(JANE, &["SN-002", "SN-003"]).await.ok();
        let other = server.client(Api::Grpc, &world.other);
        other.assign(JOHN, &["SN-001", "OTHER-1"]).await.ok();
        server.stop().await;
        world
    }
}

type Rule = fn(Client, Client, &'static TestDatabase) -> Pin<Box<dyn Future<Output = ()>>>;

pub fn register(suite: &mut Suite) {
    for api in Api::ALL {
        for (call, is_one) in [("many", false), ("one", true)] {
            let name = format!("unassign::rejected::{call}::{}", api.name());
            suite.on_each(&name, move |db| are_rejected(db, api, is_one));
        }
        let mut rule = |name: &str, test: Rule| {
            let name = format!("unassign::{name}::{}", api.name());
            suite.on_each(&name, move |database| async move {
                let World { key, other } = World::new(database).await;
                let server = TestServer::start(database).await;
                test(server.client(api, &key), server.client(api, &other), database).await;
                server.stop().await;
            });
        };
        rule("the_documented_example", |client, _, _| {
            Box::pin(documented_example(client))
        });
        rule("one_device", |client, _, _| Box::pin(one_device(client)));
        rule("a_second_time_changes_nothing", |client, _, db| {
            Box::pin(idempotent(client, db))
        });
        rule("values_are_trimmed_and_deduplicated", |client, _, _| {
            Box::pin(trimmed(client))
        });
        rule("only_this_assignment_is_removed", |client, other, db| {
            Box::pin(only_this(client, other, db))
        });
        rule("an_assignment_can_come_back", |client, _, _| {
            Box::pin(back_again(client))
        });
        rule("a_key_is_required", |client, _, db| Box::pin(key_required(client, db)));
        let name = |test: &str| format!("unassign::{test}::{}", api.name());
        suite.on_each(&name("at_most_10000_devices_are_listed"), move |db| long_list(db, api));
        suite.on_each(&name("devices_count_toward_the_limit"), move |db| limited(db, api));
    }
    for api in [Api::Rest, Api::RemoteRest] {
        let name = |test: &str| format!("unassign::{test}::{}", api.name());
        suite.on_each(&name("the_json_byte_for_byte"), move |db| json_bytes(db, api));
    }
    suite.on_each("unassign::grpc_lists_only_on_request", lists_on_request);
    suite.on_each("unassign::assignments_and_removals_at_once", together::at_once);
    suite.on_each("unassign::it_is_in_metrics_log_and_audit_log", together::observed);
}

/// The example of an operation in the OpenAPI description.
fn example(path: &str) -> Value {
    description()["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["example"].take()
}

async fn documented_example(client: Client) {
    client.unassign_one(JOHN, "SN-004").await.ok();
    let answer = client.unassign(JOHN, &["SN-001", "SN-002"]).await.ok();
    let id = answer.body["customerId"].as_str().expect("an id");
    assert!(id.starts_with("cust_") && id.len() == 31, "{id}");
    let expected = json!({
        "success": true,
        "message": "Successfully unassigned 1 device(s) from customer",
        "customerId": id,
        "unassignedDevices": ["SN-001"],
        "skipped": ["SN-002"],
        "devicesRemaining": ["SN-003"],
        "devicesRemainingCount": 1,
    });
    assert_eq!(answer.body, expected);
    assert_eq!(without_ids(expected), without_ids(example(UNASSIGN_PATH)));
}

async fn one_device(client: Client) {
    client
        .create("ann@example.com", &["SN-67890-FGHIJ", "SN-12345-ABCDE"])
        .await
        .ok();
    let answer = client.unassign_one(" Ann@Example.com", " SN-12345-ABCDE ").await.ok();
    let expected = json!({
        "success": true,
        "message": "Device successfully unassigned from customer",
        "customerId": answer.body["customerId"],
        "deviceIdentifier": "SN-12345-ABCDE",
        "devicesRemaining": ["SN-67890-FGHIJ"],
        "devicesRemainingCount": 1,
    });
    assert_eq!(answer.body, expected);
    assert_eq!(without_ids(expected), without_ids(example(UNASSIGN_ONE_PATH)));
}

async fn idempotent(client: Client, database: &TestDatabase) {
    let all = ["SN-001", "SN-003", "SN-004"];
    let first = client.unassign(JOHN, &all).await.ok();
    assert_eq!(first.identifiers("unassignedDevices"), all);
    assert_eq!(first.identifiers("devicesRemaining"), [""; 0]);
    let before = database.dump().await;
    let second = client.unassign(JOHN, &all).await.ok();
    assert_eq!(
        second.body["message"],
        "Successfully unassigned 0 device(s) from customer"
    );
    assert_eq!(second.identifiers("unassignedDevices"), [""; 0]);
    assert_eq!(second.identifiers("skipped"), all);
    assert_eq!(
        second.body["customerId"], first.body["customerId"],
        "the customer is still there"
    );
    let one = client.unassign_one(JOHN, "SN-001").await;
    assert_eq!(one.reason.as_deref(), Some("NOT_ASSIGNED"));
    assert_eq!(database.dump().await, before);
}

async fn trimmed(client: Client) {
    let ids = [" SN-004", "X", "SN-001 ", "SN-004\n", "\u{a0}X"];
    let answer = client.unassign("\tJohn.DOE@Example.com ", &ids).await.ok();
    assert_eq!(answer.identifiers("unassignedDevices"), ["SN-004", "SN-001"]);
    assert_eq!(answer.identifiers("skipped"), ["X"]);
    assert_eq!(answer.identifiers("devicesRemaining"), ["SN-003"]);
}

async fn only_this(client: Client, other: Client, database: &TestDatabase) {
    let before = (database.count("customer").await, database.count("device").await);
    client.unassign(JOHN, &["SN-001", "SN-003", "OTHER-1"]).await.ok();
    assert_eq!(
        (database.count("customer").await, database.count("device").await),
        before
    );
    let jane = client.assign(JANE, &["SN-002", "SN-003"]).await.ok();
    assert_eq!(
        jane.identifiers("alreadyAssigned"),
        ["SN-002", "SN-003"],
        "another owner keeps it"
    );
    let other = other.assign(JOHN, &["SN-001", "OTHER-1"]).await.ok();
    assert_eq!(
        other.identifiers("alreadyAssigned"),
        ["SN-001", "OTHER-1"],
        "another organization"
    );
}

async fn back_again(client: Client) {
    client.unassign(JOHN, &["SN-001"]).await.ok();
    let answer = client.assign(JOHN, &["SN-001", "SN-003"]).await.ok();
    assert_eq!(answer.identifiers("assignedDevices"), ["SN-001"]);
    assert_eq!(answer.identifiers("alreadyAssigned"), ["SN-003"]);
    let answer = client.unassign_one(JOHN, "SN-001").await.ok();
    assert_eq!(answer.identifiers("devicesRemaining"), ["SN-003", "SN-004"]);
}

async fn key_required(client: Client, database: &TestDatabase) {
    let before = database.dump().await;
    for key in [None, Some("tlm_wrong")] {
        let client = client.with_key(key);
        for answer in [
            client.unassign(JOHN, &["SN-001"]).await,
            client.unassign_one(JOHN, "SN-001").await,
        ] {
            assert_eq!(answer.code, "UNAUTHENTICATED", "{answer:?}");
            assert_eq!(answer.error == MISSING_KEY, key.is_none());
        }
    }
    assert_eq!(database.dump().await, before);
}

async fn long_list(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let identifiers: Vec<String> = (0..10_003).map(|number| format!("SN-{number:05}")).collect();
    let identifiers: Vec<&str> = identifiers.iter().map(String::as_str).collect();
    let (first, rest) = identifiers.split_at(10_000);
    client.create(JOHN, rest).await.ok();
    client.create(JOHN, first).await.ok();
    let answer = client.unassign_one(JOHN, "SN-00001").await.ok();
    assert_eq!(answer.body["devicesRemainingCount"], 10_002);
    let listed = answer.identifiers("devicesRemaining");
    assert_eq!(listed[..2], ["SN-00000", "SN-00002"]);
    assert_eq!((listed.len(), listed.last()), (10_000, Some(&"SN-10000")));
    // The first devices of the organization are no longer enough.
    client.create("jane@example.com", &["A-1", "A-2", "A-3"]).await.ok();
    let answer = client.unassign_one(JOHN, "SN-00002").await.ok();
    assert_eq!(answer.body["devicesRemainingCount"], 10_001);
    let listed = answer.identifiers("devicesRemaining");
    assert_eq!(listed[..2], ["SN-00000", "SN-00003"]);
    assert_eq!((listed.len(), listed.last()), (10_000, Some(&"SN-10001")));
    let answer = client.unassign(JOHN, first).await.ok();
    assert_eq!(answer.identifiers("unassignedDevices").len(), 9_998);
    assert_eq!(answer.identifiers("skipped"), ["SN-00001", "SN-00002"]);
    assert_eq!(answer.identifiers("devicesRemaining"), rest);
    server.stop().await;
}

async fn limited(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(
        database,
        settings(|limits: &mut LimitSettings| {
            limits.devices = Limit::new(Duration::from_secs(3_600), 4);
        }),
    )
    .await;
    let client = server.client(api, &key);
    client.create(JOHN, &["SN-001"]).await.ok();
    client.unassign(JOHN, &["SN-001", "SN-002"]).await.ok();
    assert_eq!(client.unassign_one(JOHN, "SN-001").await.code, "FAILED_PRECONDITION");
    assert_too_many(&client.unassign_one(JOHN, "SN-001").await, "RATE_LIMITED");
    server.stop().await;
}

async fn json_bytes(database: &TestDatabase, api: Api) {
    let World { key, .. } = World::new(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let mut bodies = String::new();
    for (path, body) in [
        (
            UNASSIGN_PATH,
            json!({ "customerEmail": JOHN, "deviceIdentifiers": ["SN-001", "X"] }),
        ),
        (
            UNASSIGN_ONE_PATH,
            json!({ "customerEmail": JOHN, "deviceIdentifier": "SN-003" }),
        ),
        (
            UNASSIGN_ONE_PATH,
            json!({ "customerEmail": JOHN, "deviceIdentifier": "SN-003" }),
        ),
        (
            UNASSIGN_PATH,
            json!({ "customerEmail": "x@example.com", "deviceIdentifiers": ["X"] }),
        ),
        (
            UNASSIGN_PATH,
            json!({ "customerEmail": JOHN, "deviceIdentifiers": ["X"], "includeRemaining": true }),
        ),
        (
            UNASSIGN_ONE_PATH,
            json!({ "customerEmail": JOHN, "deviceIdentifiers": ["X"] }),
        ),
    ] {
        let request = client.request(Method::POST, path).header("x-request-id", "id");
        let response = request.body(body.to_string()).send().await.expect("an answer");
        bodies.push_str(&response.text().await.expect("a body"));
    }
    let wrong = client
        .request(Method::GET, UNASSIGN_PATH)
        .send()
        .await
        .expect("an answer");
    assert_eq!(
        (wrong.status().as_u16(), &wrong.headers()["allow"]),
        (405, &"POST".parse().expect("a value"))
    );
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\bcust_[0-9a-hjkmnp-tv-z]{26}\b", "cust_ID");
    settings.bind(|| {
        allow_duplicates! { assert_snapshot!(bodies, @r#"
        {"success":true,"message":"Successfully unassigned 1 device(s) from customer","customerId":"cust_ID","unassignedDevices":["SN-001"],"skipped":["X"],"devicesRemaining":["SN-003","SN-004"],"devicesRemainingCount":2}
        {"success":true,"message":"Device successfully unassigned from customer","customerId":"cust_ID","deviceIdentifier":"SN-003","devicesRemaining":["SN-004"],"devicesRemainingCount":1}
        {"error":"The device is not assigned to this customer","code":"FAILED_PRECONDITION","reason":"NOT_ASSIGNED","requestId":"id"}
        {"error":"There is no customer with this customerEmail in your organization","code":"NOT_FOUND","reason":"CUSTOMER_NOT_FOUND","requestId":"id"}
        {"error":"includeRemaining is not a member of this request; the members are customerEmail, deviceIdentifiers, validateOnly (line 1, column 84)","code":"INVALID_ARGUMENT","reason":"INVALID_JSON","requestId":"id","fieldViolations":[{"field":"includeRemaining","description":"includeRemaining is not a member of this request; the members are customerEmail, deviceIdentifiers, validateOnly (line 1, column 84)"}]}
        {"error":"deviceIdentifiers is not a member of this request; the members are customerEmail, deviceIdentifier, validateOnly (line 1, column 59)","code":"INVALID_ARGUMENT","reason":"INVALID_JSON","requestId":"id","fieldViolations":[{"field":"deviceIdentifiers","description":"deviceIdentifiers is not a member of this request; the members are customerEmail, deviceIdentifier, validateOnly (line 1, column 59)"}]}
        "#) }
    });
    server.stop().await;
}

async fn lists_on_request(database: &TestDatabase) {
    let World { key, .. } = World::new(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, &key);
    let many = |include_remaining| {
        client.signed(UnassignDevicesFromOwnerRequest {
            validate_only: false,
            customer_email: JOHN.into(),
            device_identifiers: vec!["SN-001".into()],
            include_remaining,
        })
    };
    let one = |device: &str| {
        client.signed(UnassignDeviceFromOwnerRequest {
            validate_only: false,
            customer_email: JOHN.into(),
            device_identifier: device.into(),
            include_remaining: false,
        })
    };
    let counted = |answer: Answer| {
        let answer = answer.ok();
        let list = answer.identifiers("devicesRemaining").len();
        (list, answer.body["devicesRemainingCount"].as_u64())
    };
    let answer = answer_of(client.grpc().unassign_devices_from_owner(many(false)).await);
    assert_eq!(counted(answer), (0, Some(2)));
    let answer = answer_of(client.grpc().unassign_devices_from_owner(many(true)).await);
    assert_eq!(counted(answer), (2, Some(2)));
    let answer = answer_of(client.grpc().unassign_device_from_owner(one("SN-003")).await);
    assert_eq!(counted(answer), (0, Some(1)));
    server.stop().await;
}
