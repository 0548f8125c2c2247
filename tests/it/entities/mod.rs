//! Every rule of the calls that write devices and customers, through gRPC, REST and a remote gateway, on both databases.

mod call;
mod erasure;
mod rejections;

use std::pin::Pin;

use insta::{allow_duplicates, assert_snapshot};
use reqwest::Method;
use serde_json::{Value, json};

use call::{Call, save_customer, save_device, save_metadata};
use rejections::are_rejected;

use crate::{
    metrics::Metrics,
    openapi::{description, without_ids},
    support::{
        Api, Client, Program, Suite, TestDatabase, TestServer, devices, organization,
        program::{self, command, stdout},
    },
};

pub const JOHN: &str = "john.doe@example.com";
pub const JANE: &str = "jane.doe@example.com";

/// An organization in which John has SN-001 and SN-002, Jane has SN-002, and SN-003 is nobody's; and another one in which
/// somebody has OTHER-1.
pub struct World {
    pub key: String,
    other: String,
    /// The id of John.
    pub john: String,
}

impl World {
    pub async fn new(database: &TestDatabase) -> Self {
        let key = organization(database, "acme").await;
        let other = organization(database, "other").await;
        devices(database, "acme", &["SN-001", "SN-002", "SN-003"]).await;
        let server = TestServer::start(database).await;
        let client = server.client(Api::Grpc, &key);
        let answer = client.assign(JOHN, &["SN-001", "SN-002"]).await.ok();
        let john = answer.body["customerId"].as_str().expect("an id").to_owned();
        client.assign(JANE, &["SN-002"]).await.ok();
        let stranger = server.client(Api::Grpc, &other);
        stranger.create("other@example.com", &["OTHER-1"]).await.ok();
        server.stop().await;
        Self { key, other, john }
    }
}

type Rule = fn(Client, String, &'static TestDatabase) -> Pin<Box<dyn Future<Output = ()>>>;

pub fn register(suite: &mut Suite) {
    for api in Api::ALL {
        for call in Call::ALL {
            let name = format!("entities::rejected::{call:?}::{}", api.name());
            suite.on_each(&name, move |db| are_rejected(db, api, call));
        }
        let mut rule = |name: &str, test: Rule| {
            let name = format!("entities::{name}::{}", api.name());
            suite.on_each(&name, move |database| async move {
                let world = World::new(database).await;
                let server = TestServer::start(database).await;
                test(server.client(api, &world.key), world.john, database).await;
                server.stop().await;
                let verified = program::run(&["verify", "--database-url", database.url()]).await;
                assert_eq!(verified.status.code(), Some(0), "{}", stdout(&verified));
            });
        };
        rule("a_device_is_created_and_changed", |client, _, _| {
            Box::pin(device_saved(client))
        });
        rule("metadata_of_many_devices", |client, _, db| {
            Box::pin(metadata_saved(client, db))
        });
        rule("a_device_is_deleted", |client, _, db| {
            Box::pin(device_deleted(client, db))
        });
        rule("a_customer_is_created_and_changed", |client, _, db| {
            Box::pin(customer_saved(client, db))
        });
        rule("a_customer_is_deleted", |client, john, db| {
            Box::pin(customer_deleted(client, john, db))
        });
        rule(
            "a_preview_answers_as_the_call_and_changes_nothing",
            |client, john, db| Box::pin(previewed(client, john, db)),
        );
        rule("what_changes_nothing_takes_no_revision", |client, john, db| {
            Box::pin(nothing_changed(client, john, db))
        });
    }
    for api in [Api::Rest, Api::RemoteRest] {
        let name = |test: &str| format!("entities::{test}::{}", api.name());
        suite.on_each(&name("the_json_byte_for_byte"), move |db| json_bytes(db, api));
    }
    suite.on_each("entities::other_organizations_are_not_touched", tenants);
    suite.on_each("entities::many_assignments_are_deleted_in_chunks", in_chunks);
    suite.on_each("entities::they_are_in_metrics_log_and_audit_log", observed);
    suite.on_each("entities::what_is_erased_is_nowhere", erasure::erased);
    suite.on(
        crate::support::Kind::Sqlite,
        "entities::what_could_not_be_erased_at_once_is_erased_later",
        erasure::erased_later,
    );
}

/// The example of an operation in the OpenAPI description.
fn example(call: Call) -> Value {
    description()["paths"][call.path()]["post"]["responses"]["200"]["content"]["application/json"]["example"].take()
}

async fn device_saved(client: Client) {
    let properties = json!({ "firmware": "1.4.2", "room": { "floor": 2 } });
    let request = json!({ "identifier": " SN-12345-ABCDE ", "type": " sensor ", "properties": properties });
    let created = save_device(&client, request.clone()).await;
    let expected = json!({
        "success": true,
        "message": "Device created successfully",
        "deviceId": created["deviceId"],
        "identifier": "SN-12345-ABCDE",
        "type": "sensor",
        "properties": properties,
        "wasCreated": true,
    });
    assert_eq!(created, expected);
    assert_eq!(without_ids(expected.clone()), without_ids(example(Call::SaveDevice)));

    let with = |changes: &[(&str, Value)]| {
        let mut expected = expected.clone();
        expected["message"] = json!("Device updated successfully");
        expected["wasCreated"] = json!(false);
        for (member, value) in changes {
            expected[*member] = value.clone();
        }
        expected
    };
    assert_eq!(save_device(&client, request).await, with(&[]), "the same again");
    let absent = save_device(
        &client,
        json!({ "identifier": "SN-12345-ABCDE", "type": null, "properties": null }),
    )
    .await;
    assert_eq!(absent, with(&[]), "what is absent or null stays");
    let gateway = save_device(&client, json!({ "identifier": "SN-12345-ABCDE", "type": "Gateway" })).await;
    assert_eq!(gateway, with(&[("type", json!("Gateway"))]));
    let other = json!({ "identifier": "SN-12345-ABCDE", "properties": { "b": [1, 2] } });
    let replaced = with(&[("type", json!("Gateway")), ("properties", json!({ "b": [1, 2] }))]);
    assert_eq!(
        save_device(&client, other).await,
        replaced,
        "properties are replaced as a whole"
    );
    let empty = save_device(&client, json!({ "identifier": "SN-12345-ABCDE", "properties": {} })).await;
    assert_eq!(empty, with(&[("type", json!("Gateway")), ("properties", json!({}))]));

    let imported = save_device(&client, json!({ "identifier": "SN-001" })).await;
    assert_eq!(
        (&imported["wasCreated"], &imported["properties"]),
        (&json!(false), &json!({}))
    );
    let assigned = client.assign(JANE, &["SN-12345-ABCDE"]).await.ok();
    assert_eq!(assigned.body["assignedDevices"][0]["deviceId"], created["deviceId"]);
}

async fn metadata_saved(client: Client, database: &TestDatabase) {
    let answer = save_metadata(
        &client,
        json!({ "SN-003": { "z": 1, "a": 2 }, " SN-999": {}, "SN-001": { "firmware": "1.4.2" } }),
    )
    .await;
    let result = |index: usize| &answer["results"][index];
    let expected = json!({
        "success": true,
        "updated": 2,
        "notFound": 1,
        "results": [
            { "identifier": "SN-003", "deviceId": result(0)["deviceId"], "status": "updated" },
            { "identifier": "SN-999", "deviceId": "", "status": "not_found" },
            { "identifier": "SN-001", "deviceId": result(2)["deviceId"], "status": "updated" },
        ],
    });
    assert_eq!(answer, expected);
    let dump = database.dump().await;
    assert!(dump.contains(r#" {"z":1,"a":2} SN-003 "#), "{dump}");
    assert!(!dump.contains("SN-999"), "nothing is created: {dump}");

    let example_answer = save_metadata(
        &client,
        json!({ "SN-001": { "firmware": "1.4.2" }, "SN-999": { "firmware": "1.4.2", "batteries": ["AA", "AA"] } }),
    )
    .await;
    assert_eq!(without_ids(example_answer), without_ids(example(Call::SaveMetadata)));

    let many = (0..1_000).map(|number| (format!("SN-{number:03}"), json!({ "n": number })));
    let answer = save_metadata(&client, Value::Object(many.collect())).await;
    assert_eq!((&answer["updated"], &answer["notFound"]), (&json!(3), &json!(997)));
}

async fn device_deleted(client: Client, database: &TestDatabase) {
    let answer = Call::DeleteDevice
        .make(&client, &json!({ "identifier": " SN-002 " }))
        .await
        .ok();
    let expected = json!({
        "success": true,
        "message": "Device deleted successfully",
        "deviceId": answer.body["deviceId"],
        "unassignedCount": 2,
    });
    assert_eq!(answer.body, expected);
    assert_eq!(without_ids(expected), without_ids(example(Call::DeleteDevice)));
    assert!(!database.dump().await.contains("SN-002"));
    let again = Call::DeleteDevice
        .make(&client, &json!({ "identifier": "SN-002" }))
        .await;
    assert_eq!(again.reason.as_deref(), Some("DEVICE_NOT_FOUND"));
    let left = client.unassign(JOHN, &["SN-002"]).await.ok();
    assert_eq!(left.identifiers("devicesRemaining"), ["SN-001"]);
    let new = client.create(JOHN, &["SN-002"]).await.ok();
    assert_ne!(
        new.body["assignedDevices"][0]["deviceId"], answer.body["deviceId"],
        "another device"
    );
    let unowned = Call::DeleteDevice
        .make(&client, &json!({ "identifier": "SN-003" }))
        .await
        .ok();
    assert_eq!(unowned.body["unassignedCount"], 0);
}

async fn customer_saved(client: Client, database: &TestDatabase) {
    let line = async |email: &str| {
        let dump = database.dump().await;
        let line = dump.lines().find(|line| line.contains(&format!(" {email} ")));
        // Without the word and the ids.
        line.expect("a customer")
            .splitn(4, ' ')
            .nth(3)
            .expect("columns")
            .to_owned()
    };
    let request = json!({
        "email": "New@Example.com",
        "phone": " +1 555 0100 ",
        "address": "1 Main Street\nSpringfield",
        "metadata": { "crm": 4711 },
        "name": null,
    });
    let answer = Call::SaveCustomer.make(&client, &request).await.ok();
    let id = &answer.body["telemetronCustomerId"];
    let expected = json!({
        "success": true,
        "telemetronCustomerId": id,
        "message": "Customer created successfully",
    });
    assert_eq!(answer.body, expected);
    let documented = example(Call::SaveCustomer);
    assert_eq!(documented["message"], expected["message"]);
    let dump = database.dump().await;
    assert!(
        dump.contains(" +1 555 0100 1 Main Street\nSpringfield {\"crm\":4711} new@example.com new\n"),
        "{dump}"
    );

    let change = json!({ "telemetronCustomerId": id, "email": "other@example.org", "name": "Jo Doe", "address": "" });
    let changed = Call::SaveCustomer.make(&client, &change).await.ok();
    assert_eq!(
        (&changed.body["telemetronCustomerId"], changed.body["message"].as_str()),
        (id, Some("Customer updated successfully"))
    );
    assert_eq!(
        line("other@example.org").await,
        "+1 555 0100  {\"crm\":4711} other@example.org Jo Doe"
    );
    let change = json!({ "telemetronCustomerId": id, "email": "other@example.org", "phone": "", "metadata": {} });
    Call::SaveCustomer.make(&client, &change).await.ok();
    assert_eq!(line("other@example.org").await, "  {} other@example.org Jo Doe");

    let back = save_customer(&client, json!({ "email": "new@example.com" })).await;
    assert_ne!(json!(back), *id, "the address is free again");
    let assigned = client.assign("other@example.org", &["SN-003"]).await.ok();
    assert_eq!(assigned.body["customerId"], *id);
    assert_eq!(assigned.body["customerWasCreated"], false);
}

async fn customer_deleted(client: Client, john: String, database: &TestDatabase) {
    let answer = Call::DeleteCustomer
        .make(&client, &json!({ "email": " John.Doe@Example.com" }))
        .await
        .ok();
    let expected = json!({
        "success": true,
        "message": "Customer deleted successfully",
        "customerId": john,
        "unassignedCount": 2,
    });
    assert_eq!(answer.body, expected);
    assert_eq!(without_ids(expected), without_ids(example(Call::DeleteCustomer)));
    let dump = database.dump().await;
    assert!(
        !dump.contains(JOHN) && dump.contains("SN-001"),
        "the devices stay: {dump}"
    );
    for request in [json!({ "email": JOHN }), json!({ "telemetronCustomerId": john })] {
        let again = Call::DeleteCustomer.make(&client, &request).await;
        assert_eq!(again.reason.as_deref(), Some("CUSTOMER_NOT_FOUND"));
    }
    let back = client.assign(JOHN, &["SN-001"]).await.ok();
    assert_eq!(back.body["customerWasCreated"], true);
    assert_ne!(back.body["customerId"], json!(john), "another customer");
    let by_id = json!({ "telemetronCustomerId": back.body["customerId"] });
    let answer = Call::DeleteCustomer.make(&client, &by_id).await.ok();
    assert_eq!(answer.body["unassignedCount"], 1);
}

async fn nothing_changed(client: Client, john: String, database: &TestDatabase) {
    let requests = [
        (
            Call::SaveDevice,
            json!({ "identifier": "SN-001", "type": "Gateway", "properties": { "a": 1.0 } }),
        ),
        (Call::SaveDevice, json!({ "identifier": "SN-001" })),
        (
            Call::SaveMetadata,
            json!({ "devices": { "SN-002": { "b": 1 }, "SN-999": {} } }),
        ),
        (
            Call::SaveCustomer,
            json!({ "email": JOHN, "telemetronCustomerId": john, "name": "John", "metadata": { "c": 1 } }),
        ),
        (
            Call::SaveCustomer,
            json!({ "email": JOHN, "telemetronCustomerId": john }),
        ),
    ];
    for (call, request) in &requests {
        call.make(&client, request).await.ok();
    }
    let before = (database.dump().await, database.count("change_log").await);
    for (call, request) in &requests {
        call.make(&client, request).await.ok();
    }
    assert_eq!((database.dump().await, database.count("change_log").await), before);
}

async fn previewed(client: Client, john: String, database: &TestDatabase) {
    for (call, request) in [
        (
            Call::SaveDevice,
            json!({ "identifier": "NEW", "type": "sensor", "properties": { "a": 1 } }),
        ),
        (Call::SaveDevice, json!({ "identifier": "SN-001", "type": "Gateway" })),
        (
            Call::SaveMetadata,
            json!({ "devices": { "SN-001": { "a": 2 }, "X": {} } }),
        ),
        (Call::DeleteDevice, json!({ "identifier": "SN-002" })),
        (Call::SaveCustomer, json!({ "email": "new@example.com" })),
        (
            Call::SaveCustomer,
            json!({ "email": "other@example.com", "telemetronCustomerId": john }),
        ),
        (Call::DeleteCustomer, json!({ "telemetronCustomerId": john })),
    ] {
        let before = (database.dump().await, database.count("change_log").await);
        let mut preview = request.clone();
        preview["validateOnly"] = json!(true);
        let preview = call.make(&client, &preview).await.ok().body;
        assert_eq!((database.dump().await, database.count("change_log").await), before);
        let mut expected = call.make(&client, &request).await.ok().body;
        for id in ["deviceId", "telemetronCustomerId"] {
            let is_new = expected["wasCreated"] == true || expected["message"] == "Customer created successfully";
            if is_new && expected.get(id).is_some() {
                expected[id] = json!("");
            }
        }
        assert_eq!(preview, expected);
    }
}

async fn json_bytes(database: &TestDatabase, api: Api) {
    let world = World::new(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &world.key).with_header("x-request-id", "id");
    let mut bodies = String::new();
    for (call, body) in [
        (
            Call::SaveDevice,
            r#"{"identifier":"NEW","type":"t","properties": { "z" : 1e100000, "a":-0.10,"n":12345678901234567890123,"s":"\u00e9\/" } }"#,
        ),
        (Call::SaveDevice, r#"{"identifier":"NEW"}"#),
        (
            Call::SaveDevice,
            r#"{"identifier":"NEW","properties":{"a":1,"\u0061":2}}"#,
        ),
        (Call::SaveDevice, r#"{"identifier":"NEW","properties":{"a":"\u0000"}}"#),
        (Call::SaveDevice, r#"{"identifier":"NEW","kind":"x"}"#),
        (Call::SaveDevice, r#"{"identifier":"NEW","type":7,"properties":{}}"#),
        (
            Call::SaveMetadata,
            r#"{"devices":{"SN-003":{ "b":1 },"X":{},"SN-001":{}}}"#,
        ),
        (Call::SaveMetadata, r#"{"devices":{"SN-003":{},"SN-003":{"a":1}}}"#),
        (Call::SaveMetadata, r#"{"devices":{"SN-003":{"a":1,"a":2}}}"#),
        (Call::SaveMetadata, "{}"),
        (Call::SaveMetadata, r#"{"devices":null}"#),
        (Call::SaveMetadata, r#"{"devices":null,"validateOnly":7}"#),
        (Call::SaveMetadata, r#"{"devices":[{"identifier":"SN-003"}]}"#),
        (Call::SaveMetadata, r#"{"devices":{"SN-003":{}},"devices":{}}"#),
        (
            Call::SaveCustomer,
            r#"{"email":"new@example.com","metadata":{"b":1,"a":2}}"#,
        ),
        (
            Call::SaveCustomer,
            r#"{"email":"new@example.com","telemetronCustomerID":"x"}"#,
        ),
        (Call::DeleteCustomer, r#"{"email":"new@example.com"}"#),
        (Call::DeleteDevice, r#"{"identifier":"NEW"}"#),
    ] {
        let request = client.request(Method::POST, call.path()).body(body);
        let response = request.send().await.expect("an answer");
        bodies.push_str(&response.text().await.expect("a body"));
    }
    for call in Call::ALL {
        let wrong = client
            .request(Method::PUT, call.path())
            .send()
            .await
            .expect("an answer");
        assert_eq!(wrong.status().as_u16(), 405);
    }
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\b(cust|dev)_[0-9a-hjkmnp-tv-z]{26}\b", "${1}_ID");
    settings.bind(|| {
        allow_duplicates! { assert_snapshot!(bodies, @r#"
        {"success":true,"message":"Device created successfully","deviceId":"dev_ID","identifier":"NEW","type":"t","properties":{ "z" : 1e100000, "a":-0.10,"n":12345678901234567890123,"s":"\u00e9\/" },"wasCreated":true}
        {"success":true,"message":"Device updated successfully","deviceId":"dev_ID","identifier":"NEW","type":"t","properties":{ "z" : 1e100000, "a":-0.10,"n":12345678901234567890123,"s":"\u00e9\/" },"wasCreated":false}
        {"error":"properties must not repeat a member of an object (byte 7)","code":"INVALID_ARGUMENT","reason":"INVALID_REQUEST","requestId":"id","fieldViolations":[{"field":"properties","description":"properties must not repeat a member of an object (byte 7)"}],"metadata":{"violationCount":"1"}}
        {"error":"properties must not contain the character U+0000 (byte 6)","code":"INVALID_ARGUMENT","reason":"INVALID_REQUEST","requestId":"id","fieldViolations":[{"field":"properties","description":"properties must not contain the character U+0000 (byte 6)"}],"metadata":{"violationCount":"1"}}
        {"error":"kind is not a member of this request; the members are identifier, type, properties, validateOnly (line 1, column 26)","code":"INVALID_ARGUMENT","reason":"INVALID_JSON","requestId":"id","fieldViolations":[{"field":"kind","description":"kind is not a member of this request; the members are identifier, type, properties, validateOnly (line 1, column 26)"}]}
        {"error":"type must be a string (line 1, column 28)","code":"INVALID_ARGUMENT","reason":"INVALID_JSON","requestId":"id","fieldViolations":[{"field":"type","description":"type must be a string (line 1, column 28)"}]}
        {"success":true,"updated":2,"notFound":1,"results":[{"identifier":"SN-003","deviceId":"dev_ID","status":"updated"},{"identifier":"X","deviceId":"","status":"not_found"},{"identifier":"SN-001","deviceId":"dev_ID","status":"updated"}]}
        {"error":"devices[1].identifier is repeated; send it once","code":"INVALID_ARGUMENT","reason":"INVALID_REQUEST","requestId":"id","fieldViolations":[{"field":"devices[1].identifier","description":"devices[1].identifier is repeated; send it once"}],"metadata":{"violationCount":"1"}}
        {"error":"devices[0].metadata must not repeat a member of an object (byte 7)","code":"INVALID_ARGUMENT","reason":"INVALID_REQUEST","requestId":"id","fieldViolations":[{"field":"devices[0].metadata","description":"devices[0].metadata must not repeat a member of an object (byte 7)"}],"metadata":{"violationCount":"1"}}
        {"error":"devices is required and must be an object mapping identifiers to metadata","code":"INVALID_ARGUMENT","reason":"INVALID_REQUEST","requestId":"id","fieldViolations":[{"field":"devices","description":"devices is required and must be an object mapping identifiers to metadata"}],"metadata":{"violationCount":"1"}}
        {"error":"devices is required and must be an object mapping identifiers to metadata","code":"INVALID_ARGUMENT","reason":"INVALID_REQUEST","requestId":"id","fieldViolations":[{"field":"devices","description":"devices is required and must be an object mapping identifiers to metadata"}],"metadata":{"violationCount":"1"}}
        {"error":"validateOnly must be true or false (line 1, column 32)","code":"INVALID_ARGUMENT","reason":"INVALID_JSON","requestId":"id","fieldViolations":[{"field":"validateOnly","description":"validateOnly must be true or false (line 1, column 32)"}]}
        {"error":"devices is required and must be an object mapping identifiers to metadata","code":"INVALID_ARGUMENT","reason":"INVALID_JSON","requestId":"id","fieldViolations":[{"field":"devices","description":"devices is required and must be an object mapping identifiers to metadata"}]}
        {"error":"devices is repeated; send it once (line 1, column 34)","code":"INVALID_ARGUMENT","reason":"INVALID_JSON","requestId":"id","fieldViolations":[{"field":"devices","description":"devices is repeated; send it once (line 1, column 34)"}]}
        {"success":true,"telemetronCustomerId":"cust_ID","message":"Customer created successfully"}
        {"error":"telemetronCustomerID is not a member of this request; the members are email, name, phone, address, telemetronCustomerId, metadata, validateOnly (line 1, column 49)","code":"INVALID_ARGUMENT","reason":"INVALID_JSON","requestId":"id","fieldViolations":[{"field":"telemetronCustomerID","description":"telemetronCustomerID is not a member of this request; the members are email, name, phone, address, telemetronCustomerId, metadata, validateOnly (line 1, column 49)"}]}
        {"success":true,"message":"Customer deleted successfully","customerId":"cust_ID","unassignedCount":0}
        {"success":true,"message":"Device deleted successfully","deviceId":"dev_ID","unassignedCount":0}
        "#) }
    });
    server.stop().await;
}

async fn tenants(database: &'static TestDatabase) {
    let world = World::new(database).await;
    let server = TestServer::start(database).await;
    let mine = server.client(Api::Grpc, &world.key);
    let other = server.client(Api::Grpc, &world.other);
    let before = database.dump().await;
    save_device(
        &other,
        json!({ "identifier": "SN-001", "type": "other", "properties": { "other": 1 } }),
    )
    .await;
    save_metadata(&other, json!({ "SN-001": { "other": 2 }, "SN-002": { "other": 3 } })).await;
    save_customer(&other, json!({ "email": JOHN, "name": "Other" })).await;
    other.assign(JOHN, &["SN-001"]).await.ok();
    let change = json!({ "email": "new@example.com", "telemetronCustomerId": world.john });
    let answer = Call::SaveCustomer.make(&other, &change).await;
    assert_eq!(answer.reason.as_deref(), Some("CUSTOMER_NOT_FOUND"));
    let answer = Call::DeleteCustomer
        .make(&other, &json!({ "telemetronCustomerId": world.john }))
        .await;
    assert_eq!(answer.reason.as_deref(), Some("CUSTOMER_NOT_FOUND"));
    let deleted = Call::DeleteDevice
        .make(&other, &json!({ "identifier": "SN-001" }))
        .await
        .ok();
    assert_eq!(deleted.body["unassignedCount"], 1);
    let deleted = Call::DeleteCustomer.make(&other, &json!({ "email": JOHN })).await.ok();
    assert_eq!(deleted.body["unassignedCount"], 0);
    let after = database.dump().await;
    for line in before.lines() {
        assert!(after.contains(line), "another organization changed {line}");
    }
    mine.unassign_one(JOHN, "SN-001").await.ok();
    server.stop().await;
}

/// More assignments than one change removes.
async fn in_chunks(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, &key);
    let identifiers: Vec<String> = (0..10_001).map(|number| format!("SN-{number:05}")).collect();
    let identifiers: Vec<&str> = identifiers.iter().map(String::as_str).collect();
    client.create(JOHN, &identifiers[..10_000]).await.ok();
    client.create(JOHN, &identifiers[10_000..]).await.ok();
    let before = database.count("change_log").await;
    let preview = json!({ "email": JOHN, "validateOnly": true });
    let preview = Call::DeleteCustomer.make(&client, &preview).await.ok();
    assert_eq!(preview.body["unassignedCount"], 10_001);
    let answer = Call::DeleteCustomer.make(&client, &json!({ "email": JOHN })).await.ok();
    assert_eq!(answer.body, preview.body);
    assert_eq!(database.count("change_log").await, before + 2);
    assert_eq!(answer.revision, u64::try_from(before + 2).ok());
    assert_eq!(database.count("device_assignment").await, 0);
    let verified = program::run(&["verify", "--database-url", database.url()]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", stdout(&verified));
    server.stop().await;
}

async fn observed(database: &'static TestDatabase) {
    let world = World::new(database).await;
    let mut serve = command(&["serve", "--database-url", database.url()]);
    serve.args(["--log-format", "json"]);
    let program = Program::spawn(serve).await;
    for api in [Api::Grpc, Api::Rest] {
        let client = program.client(api, &world.key);
        save_device(
            &client,
            json!({ "identifier": "CANARY-SN", "type": "CANARY-TYPE", "properties": { "CANARY": 1 } }),
        )
        .await;
        save_device(&client, json!({ "identifier": "CANARY-SN" })).await;
        save_metadata(&client, json!({ "CANARY-SN": { "CANARY": 2 }, "CANARY-X": {} })).await;
        let id = save_customer(&client, json!({ "email": "canary@example.com", "name": "CANARY" })).await;
        save_customer(
            &client,
            json!({ "email": "canary@example.com", "telemetronCustomerId": id, "phone": "CANARY" }),
        )
        .await;
        client.assign("canary@example.com", &["CANARY-SN"]).await.ok();
        Call::DeleteDevice
            .make(&client, &json!({ "identifier": "CANARY-SN" }))
            .await
            .ok();
        Call::DeleteCustomer
            .make(&client, &json!({ "email": "canary@example.com" }))
            .await
            .ok();
        Call::DeleteCustomer
            .make(&client, &json!({ "email": "canary@example.com" }))
            .await;
    }
    let metrics = Metrics::of(program.admin).await;
    let calls = |service: &str, method: &str| {
        let method = format!("telemetron.device_assignment.v1.{service}/{method}");
        metrics.text.contains(&format!("{method}\""))
    };
    assert!(calls("DeviceService", "DeleteDevice") && calls("CustomerService", "DeleteCustomer"));
    assert_eq!(
        metrics.get("device_assignment_refusals_total{reason=\"CUSTOMER_NOT_FOUND\"}"),
        2.0
    );
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.to_lowercase().contains("canary"), "{log}");
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let events = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    for (event, count) in [
        ("devices.updated", 4),
        ("customer.updated", 4),
        ("device.deleted", 2),
        ("customer.deleted", 2),
    ] {
        assert_eq!(events(event), count, "{event}: {log}");
    }
}
