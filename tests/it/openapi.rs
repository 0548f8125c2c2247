//! The OpenAPI description, compared with what the service does.

use std::collections::{BTreeMap, BTreeSet};

use device_assignment::{reason::Reason, server::ServerSettings};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    contract::world,
    support::{
        Api, Client, PATH, Suite, TestDatabase, TestServer, UNASSIGN_ONE_PATH, UNASSIGN_PATH,
        program::{run, stdout},
    },
};

pub fn register(suite: &mut Suite) {
    suite.test("openapi::the_committed_description_is_the_program's", committed);
    suite.test("openapi::codes_and_reasons_are_enums", enums);
    suite.test("openapi::every_status_of_the_rules_is_described", statuses);
    suite.test("openapi::links_reach_every_operation_with_values_that_exist", links);
    for api in [Api::Rest, Api::RemoteRest] {
        let name = |test: &str| format!("openapi::{test}::{}", api.name());
        suite.on_each(&name("is_served_with_the_limits_of_the_server"), move |db| {
            served(db, api)
        });
        suite.on_each(&name("its_examples_are_what_the_service_answers"), move |db| {
            examples(db, api)
        });
        suite.on_each(&name("its_limits_are_the_service's"), move |db| limits(db, api));
    }
}

/// The committed description.
pub fn description() -> Value {
    serde_json::from_str(include_str!("../../docs/openapi.json")).expect("JSON")
}

fn operation() -> Value {
    description()["paths"][PATH]["post"].take()
}

fn example_request(name: &str) -> Value {
    operation()["requestBody"]["content"]["application/json"]["examples"][name]["value"].take()
}

/// The documented requests, as an array: first one that succeeds on a new database.
pub fn example_requests() -> Value {
    json!(["create devices", "existing devices"].map(example_request))
}

/// The answer to the example "existing devices".
fn example_answer() -> Value {
    operation()["responses"]["200"]["content"]["application/json"]["example"].take()
}

/// An answer without its ids.
pub fn without_ids(mut answer: Value) -> Value {
    let is_id = |name: &str| ["customerId", "deviceId", "requestId"].contains(&name);
    match &mut answer {
        Value::Object(members) => {
            members.retain(|name, _| !is_id(name));
            members
                .values_mut()
                .for_each(|value| *value = without_ids(value.take()));
        }
        Value::Array(elements) => elements.iter_mut().for_each(|value| *value = without_ids(value.take())),
        _ => {}
    }
    answer
}

async fn committed() {
    let printed = stdout(&run(&["openapi"]).await);
    assert!(
        printed == include_str!("../../docs/openapi.json"),
        "docs/openapi.json is not what the program serves. Renew it with `cargo run -- openapi > docs/openapi.json`, and \
         see in its diff what changes for integrators"
    );
}

async fn enums() {
    let error = description()["components"]["schemas"]["Error"]["properties"].take();
    let values = |member: &str| -> BTreeSet<String> {
        let values = error[member]["enum"].as_array().expect(member).iter();
        values.map(|value| value.as_str().expect("text").to_owned()).collect()
    };
    let reasons = Reason::ALL.iter().map(|reason| reason.name().to_owned());
    assert_eq!(values("reason"), reasons.collect());
    let codes = values("code");
    for code in ["INVALID_ARGUMENT", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED", "INTERNAL"] {
        assert!(codes.contains(code), "{code} in {codes:?}");
    }
    assert_eq!(codes.len(), 16);
}

/// The statuses of the reasons in docs/ERRORS.md, without reserved ones.
async fn statuses() {
    let rows = include_str!("../../docs/ERRORS.md").lines();
    let rows = rows.filter(|row| !row.contains("| reserved for later operations |"));
    let mut expected: BTreeSet<String> = rows
        .filter_map(|row| row.split(" | ").nth(2))
        .filter(|cell| cell.parse::<u16>().is_ok())
        .map(str::to_owned)
        .collect();
    expected.insert("200".into());
    let operation = operation();
    let described = operation["responses"].as_object().expect("responses").keys().cloned();
    assert_eq!(described.collect::<BTreeSet<_>>(), expected);
}

/// Every operation is part of a link. A link passes values that the request or the example of its response has, to parameters or
/// members that exist.
async fn links() {
    let description = description();
    let paths = description["paths"].as_object().expect("paths").values();
    let operations: BTreeMap<&str, &Value> = paths
        .flat_map(|path| path.as_object().expect("operations").values())
        .map(|operation| (operation["operationId"].as_str().expect("an id"), operation))
        .collect();
    let mut linked = BTreeSet::new();
    for (from, operation) in &operations {
        let success = &operation["responses"]["200"];
        for link in success["links"]
            .as_object()
            .into_iter()
            .flat_map(|links| links.values())
        {
            let to = link["operationId"].as_str().expect("an id");
            let target = operations[to];
            linked.extend([*from, to]);
            for (name, value) in link["parameters"].as_object().into_iter().flatten() {
                assert!(has_parameter(target, name), "{from} → {to}: {name}");
                assert!(exists(operation, value), "{from} → {to}: {value}");
            }
            for (name, value) in link["requestBody"].as_object().into_iter().flatten() {
                let member = member(&description, target, name);
                assert!(member.is_some(), "{from} → {to}: {name}");
                let is_id = value
                    .as_str()
                    .is_some_and(|value| value.to_lowercase().ends_with("customerid"));
                assert!(
                    !is_id || member.is_some_and(|schema| schema["format"] != "email"),
                    "{from} → {to}: {name} is described as an email address, and gets an id"
                );
                // An element of a list, or an object with the value as its name.
                let value = value.get(0).unwrap_or(value);
                let value = value
                    .as_object()
                    .map_or(value.clone(), |object| json!(object.keys().next()));
                assert!(exists(operation, &value), "{from} → {to}: {value}");
            }
        }
    }
    let all: BTreeSet<&str> = operations.into_keys().collect();
    assert_eq!(linked, all);
}

fn has_parameter(operation: &Value, name: &str) -> bool {
    let parameters = operation["parameters"].as_array().expect("parameters");
    parameters.iter().any(|parameter| parameter["name"] == name)
}

/// The schema of a member of the request body.
fn member<'d>(description: &'d Value, operation: &'d Value, name: &str) -> Option<&'d Value> {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let schema = match schema["$ref"].as_str() {
        Some(reference) => description.pointer(&reference[1..]).expect("a schema"),
        None => schema,
    };
    schema["properties"].get(name)
}

/// Whether this runtime expression has a value in the examples of the operation, or names one of its parameters or headers.
fn exists(operation: &Value, expression: &Value) -> bool {
    const JSON: &str = "application/json";
    let expression = expression.as_str().expect("an expression");
    let success = &operation["responses"]["200"];
    if let Some(pointer) = expression.strip_prefix("$response.body#") {
        success["content"][JSON]["example"].pointer(pointer).is_some()
    } else if let Some(pointer) = expression.strip_prefix("$request.body#") {
        let examples = operation["requestBody"]["content"][JSON]["examples"].as_object();
        let mut examples = examples.expect("examples").values();
        examples.any(|example| example["value"].pointer(pointer).is_some())
    } else if let Some(name) = expression.strip_prefix("$response.header.") {
        success["headers"].get(name).is_some()
    } else {
        let name = expression.strip_prefix("$request.query.").expect("a source");
        has_parameter(operation, name)
    }
}

async fn served(database: &TestDatabase, api: Api) {
    let mut settings = ServerSettings::default();
    settings.service.max_devices_per_request = 7;
    let server = TestServer::start_with(database, settings).await;
    let client = server.client(api, "").with_key(None);
    let response = client
        .request(Method::GET, "/openapi.json")
        .send()
        .await
        .expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    let mut served: Value = response.json().await.expect("JSON");
    let limits = |document: &mut Value| {
        let requests = [
            "AssignDevicesToOwnerRequest",
            "UnassignDevicesFromOwnerRequest",
            "BatchGetDeviceOwnersRequest",
            "TransferDevicesToOwnerRequest",
        ];
        requests.map(|request| {
            let devices = format!("/components/schemas/{request}/properties/deviceIdentifiers");
            let devices = document.pointer_mut(&devices).expect("a schema");
            devices.as_object_mut().expect("an object").remove("maxItems")
        })
    };
    assert_eq!(limits(&mut served), [7; 4].map(|limit| Some(json!(limit))));
    let mut committed = description();
    assert_eq!(
        limits(&mut committed),
        [10_000, 10_000, 1_000, 10_000].map(|limit| Some(json!(limit)))
    );
    assert!(served == committed, "what is served is not docs/openapi.json");
    server.stop().await;
}

async fn examples(database: &TestDatabase, api: Api) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let answer = client.call(&example_request("existing devices")).await.ok();
    assert_eq!(without_ids(answer.body), without_ids(example_answer()));
    let answer = client.call(&example_request("create devices")).await.ok();
    assert_eq!(answer.body["skipped"], json!([]));

    let fields = json!({ "customerEmail": "john", "deviceIdentifiers": ["SN-001", "SN-002", ""] });
    let unknown = json!({ "customerEmail": "john.doe@example.com", "deviceIdentifiers": ["X", "Y", "Z"] });
    let right = example_request("existing devices").to_string();
    let (keyless, wrong) = (client.with_key(None), client.with_key(Some("tlm_wrong")));
    let post = |client: &Client, body: &str| client.request(Method::POST, PATH).body(body.to_owned());
    let large = " ".repeat(8 * 1024 * 1024 + 1);
    for (status, name, request) in [
        ("400", "fields", post(&client, &fields.to_string())),
        ("400", "no valid devices", post(&client, &unknown.to_string())),
        (
            "400",
            "not assigned",
            client
                .request(Method::POST, UNASSIGN_ONE_PATH)
                .body(json!({ "customerEmail": "john.doe@example.com", "deviceIdentifier": "OTHER-1" }).to_string()),
        ),
        (
            "404",
            "customer",
            client
                .request(Method::POST, UNASSIGN_PATH)
                .body(json!({ "customerEmail": "stranger@example.com", "deviceIdentifiers": ["SN-001"] }).to_string()),
        ),
        ("401", "no key", post(&keyless, &right)),
        ("401", "wrong key", post(&wrong, &right)),
        (
            "401",
            "conflicting keys",
            post(&client, &right).header("authorization", "Bearer tlm_other"),
        ),
        ("404", "path", client.request(Method::GET, "/nothing")),
        ("405", "method", client.request(Method::GET, PATH)),
        ("413", "large", post(&client, &large)),
        (
            "415",
            "type",
            post(&client, &right).header("content-type", "text/plain"),
        ),
        (
            "415",
            "encoding",
            post(&client, &right).header("content-encoding", "gzip"),
        ),
    ] {
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status().as_str(), status, "{name}");
        let described = &operation()["responses"][status];
        for header in described["headers"].as_object().expect("headers").keys() {
            // RFC 9110, 15.5.16: it says that the coding is the problem, and not the type.
            let is_sent = name != "type" || header != "Accept-Encoding";
            assert_eq!(response.headers().contains_key(header), is_sent, "{status} {header}");
        }
        let example = described["content"]["application/json"]["examples"][name]["value"].clone();
        let answer: Value = response.json().await.expect("JSON");
        assert_eq!(without_ids(answer), without_ids(example), "{name}");
    }
    server.stop().await;
}

async fn limits(database: &TestDatabase, api: Api) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let schema = description()["components"]["schemas"]["AssignDevicesToOwnerRequest"].take();
    let limit = |path: &str| {
        let limit = schema.pointer(path).and_then(Value::as_u64).expect(path);
        usize::try_from(limit).expect("a length")
    };
    let most = limit("/properties/deviceIdentifiers/maxItems");
    let longest = limit("/properties/deviceIdentifiers/items/maxLength");
    let longest_type = limit("/then/properties/deviceType/maxLength");
    let call = |devices: Vec<String>, of_type: String| {
        json!({
            "customerEmail": "john.doe@example.com",
            "deviceIdentifiers": devices,
            "autoCreateDevices": true,
            "deviceType": of_type,
        })
    };
    let devices = |count: usize| (0..count).map(|number| format!("D-{number}")).collect::<Vec<_>>();
    let sensor = || "sensor".to_owned();
    for within in [
        call(devices(most), sensor()),
        call(vec!["é".repeat(longest)], sensor()),
        call(devices(1), "é".repeat(longest_type)),
    ] {
        client.call(&within).await.ok();
    }
    for beyond in [
        call(devices(most + 1), sensor()),
        call(vec!["é".repeat(longest + 1)], sensor()),
        call(devices(1), "é".repeat(longest_type + 1)),
        call(vec!["a\u{9f}b".into()], sensor()),
        call(devices(1), "a\u{1f}b".into()),
        call(vec![], sensor()),
        call(vec![String::new()], sensor()),
        call(devices(1), String::new()),
    ] {
        assert_eq!(client.call(&beyond).await.code, "INVALID_ARGUMENT", "{beyond}");
    }
    server.stop().await;
}
