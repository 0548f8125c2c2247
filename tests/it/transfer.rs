//! Every rule of `TransferDevicesToOwner`, through gRPC, REST and a remote gateway, on both databases.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    metrics::Metrics,
    openapi::{description, without_ids},
    support::{
        ASSIGN_ONE_PATH, Answer, Api, Client, Program, Suite, TRANSFER_PATH, TestDatabase, TestServer, devices,
        organization, program::command,
    },
};

const JOHN: &str = "john.doe@example.com";
const JANE: &str = "jane.smith@example.com";
const BOB: &str = "bob@example.com";

pub fn register(suite: &mut Suite) {
    for api in Api::ALL {
        let name = |test: &str| format!("transfer::{test}::{}", api.name());
        suite.on_each(&name("the_documented_example"), move |db| documented_example(db, api));
        suite.on_each(&name("every_other_owner_loses_the_device"), move |db| {
            others_lose_it(db, api)
        });
        suite.on_each(&name("it_creates_what_is_missing"), move |db| creates(db, api));
        suite.on_each(&name("only_devices_of_the_expected_owner"), move |db| {
            expected_owner(db, api)
        });
        suite.on_each(&name("what_is_invalid_is_rejected"), move |db| rejected(db, api));
        suite.on_each(&name("100_owners_of_a_device_and_no_more"), move |db| {
            most_owners(db, api)
        });
        suite.on_each(&name("10000_devices"), move |db| most_devices(db, api));
    }
    suite.on_each("transfer::sales_of_one_device_at_once_over_two_instances", at_once);
    suite.on_each("transfer::it_is_in_metrics_log_and_audit_log", observed);
}

/// An organization in which John owns SN-001, SN-002 and SN-005, Jane SN-002, Bob SN-003 and SN-005, and SN-004 is nobody's; and
/// another one, in which there is SN-OTHER.
async fn world(database: &TestDatabase) -> String {
    let key = organization(database, "acme").await;
    organization(database, "other").await;
    devices(database, "acme", &["SN-001", "SN-002", "SN-003", "SN-004", "SN-005"]).await;
    devices(database, "other", &["SN-OTHER"]).await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, &key);
    client.assign(JOHN, &["SN-001", "SN-002", "SN-005"]).await.ok();
    client.assign(JANE, &["SN-002"]).await.ok();
    client.assign(BOB, &["SN-003", "SN-005"]).await.ok();
    server.stop().await;
    key
}

async fn client_of(database: &TestDatabase, api: Api) -> (TestServer, Client) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    (server, client)
}

async fn transfer(client: &Client, email: &str, devices: &[&str], expected: Option<&str>) -> Answer {
    let mut request = json!({ "customerEmail": email, "deviceIdentifiers": devices });
    if let Some(expected) = expected {
        request["expectedOwner"] = expected.into();
    }
    client.call_at(TRANSFER_PATH, &request).await
}

/// The devices of a list, and how many owners each lost.
fn lost(answer: &Answer, list: &str) -> Vec<(String, u64)> {
    let list = answer.body[list].as_array().expect("a list").iter();
    list.map(|device| {
        let owners = device["previousOwners"].as_array().expect("a list").len() as u64;
        assert_eq!(device["previousOwnersCount"].as_u64(), Some(owners));
        (device["identifier"].as_str().expect("text").to_owned(), owners)
    })
    .collect()
}

fn pairs(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected
        .iter()
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

async fn documented_example(database: &TestDatabase, api: Api) {
    let (server, client) = client_of(database, api).await;
    let documented = description()["paths"][TRANSFER_PATH]["post"].take();
    let request = &documented["requestBody"]["content"]["application/json"]["examples"]["sale"]["value"];
    let answer = client.call_at(TRANSFER_PATH, request).await.ok();
    let mut example = documented["responses"]["200"]["content"]["application/json"]["example"].clone();
    let john = &client.assign(JOHN, &["SN-004"]).await.ok().body["customerId"];
    for list in ["assignedDevices", "alreadyAssigned"] {
        assert_eq!(answer.body[list][0]["previousOwners"], json!([john]));
        example[list][0]["previousOwners"] = json!([john]);
    }
    assert_eq!(without_ids(answer.body), without_ids(example));
    server.stop().await;
}

async fn others_lose_it(database: &TestDatabase, api: Api) {
    let (server, client) = client_of(database, api).await;
    let all = ["SN-001", " SN-002", "SN-003", "SN-004", "SN-005", "SN-001", "X"];
    let answer = transfer(&client, "Jane.Smith@example.com", &all, None).await.ok();
    assert_eq!(
        answer.body["message"],
        "Successfully transferred 5 device(s) to customer"
    );
    let assigned = pairs(&[("SN-001", 1), ("SN-003", 1), ("SN-004", 0), ("SN-005", 2)]);
    assert_eq!(lost(&answer, "assignedDevices"), assigned);
    assert_eq!(lost(&answer, "alreadyAssigned"), pairs(&[("SN-002", 1)]));
    assert_eq!(answer.identifiers("skipped"), ["X"]);
    assert_eq!(answer.revision, Some(5), "one change");
    assert_eq!(database.count("device_assignment").await, 5);
    let before = database.dump().await;
    let again = transfer(&client, JANE, &all, None).await.ok();
    assert_eq!(again.identifiers("assignedDevices"), [""; 0]);
    assert_eq!(
        lost(&again, "alreadyAssigned")
            .iter()
            .map(|(_, count)| count)
            .sum::<u64>(),
        0
    );
    assert_eq!(
        (again.revision, database.dump().await),
        (Some(5), before),
        "the same call again changes nothing"
    );
    let john = client.unassign(JOHN, &["SN-001"]).await.ok();
    assert_eq!(john.identifiers("skipped"), ["SN-001"]);
    server.stop().await;
}

async fn creates(database: &TestDatabase, api: Api) {
    let (server, client) = client_of(database, api).await;
    let request = json!({
        "customerEmail": "buyer@example.com",
        "deviceIdentifiers": ["NEW-1", "SN-001"],
        "autoCreateDevices": true,
        "deviceType": "sensor",
    });
    let answer = client.call_at(TRANSFER_PATH, &request).await.ok();
    assert_eq!(answer.body["customerWasCreated"], true);
    assert_eq!(lost(&answer, "assignedDevices"), pairs(&[("NEW-1", 0), ("SN-001", 1)]));
    assert_eq!(answer.body["assignedDevices"][0]["wasCreated"], true);
    server.stop().await;
}

async fn expected_owner(database: &TestDatabase, api: Api) {
    let (server, client) = client_of(database, api).await;
    let all = ["SN-001", "SN-002", "SN-003", "SN-004", "SN-005", "X"];
    let answer = transfer(&client, "buyer@example.com", &all, Some(" JOHN.doe@example.com "))
        .await
        .ok();
    assert_eq!(
        lost(&answer, "assignedDevices"),
        pairs(&[("SN-001", 1), ("SN-002", 2), ("SN-005", 2)])
    );
    assert_eq!(answer.identifiers("skipped"), ["SN-003", "SN-004", "X"]);
    // A repeated call finds its work done, although the devices are no longer the seller's.
    let again = transfer(&client, "buyer@example.com", &all, Some(JOHN)).await.ok();
    assert_eq!(again.identifiers("alreadyAssigned"), ["SN-001", "SN-002", "SN-005"]);
    assert_eq!(again.revision, answer.revision);
    // By id; unknown devices are skipped even if they could be created.
    let bob = client.assign(BOB, &["SN-003"]).await.ok().body["customerId"].take();
    let request = json!({
        "customerEmail": "buyer@example.com",
        "deviceIdentifiers": ["SN-003", "SN-004", "NEW"],
        "expectedOwner": bob,
        "autoCreateDevices": true,
        "deviceType": "sensor",
    });
    let answer = client.call_at(TRANSFER_PATH, &request).await.ok();
    assert_eq!(lost(&answer, "assignedDevices"), pairs(&[("SN-003", 1)]));
    assert_eq!(answer.identifiers("skipped"), ["SN-004", "NEW"]);
    server.stop().await;
}

async fn rejected(database: &TestDatabase, api: Api) {
    let (server, client) = client_of(database, api).await;
    let before = database.dump().await;
    let with = |member: &str, value: Value| {
        let mut request = json!({ "customerEmail": "new@example.com", "deviceIdentifiers": ["SN-001"] });
        request[member] = value;
        request
    };
    let of_expected = "None of the devices belongs to expectedOwner";
    let invalid_owner = "expectedOwner must be a valid email address or the id of a customer";
    let cases = [
        (
            json!({}),
            "INVALID_REQUEST",
            "customerEmail is required (the first of 2 problems)",
        ),
        (
            with("customerEmail", "x".into()),
            "INVALID_REQUEST",
            "customerEmail must be a valid email address",
        ),
        (
            with("deviceIdentifiers", json!(["SN-001", " "])),
            "INVALID_REQUEST",
            "deviceIdentifiers[1] must not be empty",
        ),
        (
            with("autoCreateDevices", true.into()),
            "INVALID_REQUEST",
            "deviceType is required when autoCreateDevices is true",
        ),
        (with("expectedOwner", "".into()), "INVALID_REQUEST", invalid_owner),
        (with("expectedOwner", "cust_1".into()), "INVALID_REQUEST", invalid_owner),
        (
            with("deviceIdentifiers", json!(["SN-OTHER", "sn-001"])),
            "NO_VALID_DEVICES",
            "No valid devices: none of the 2 device identifiers exist in your organization; set autoCreateDevices to \
             create them",
        ),
        (with("expectedOwner", BOB.into()), "NOT_ASSIGNED", of_expected),
        (
            with("expectedOwner", "nobody@example.com".into()),
            "NOT_ASSIGNED",
            of_expected,
        ),
        (
            with("expectedOwner", "cust_01m835zmv6e3ts9whpry4tgqhh".into()),
            "NOT_ASSIGNED",
            of_expected,
        ),
    ];
    for (request, reason, error) in cases {
        let answer = client.call_at(TRANSFER_PATH, &request).await.in_json_names();
        assert_eq!(
            (answer.reason.as_deref(), answer.error.as_str()),
            (Some(reason), error),
            "{request}"
        );
        assert!(answer.http.is_none_or(|(status, _)| status == 400));
    }
    assert_eq!(database.dump().await, before, "a call that fails changes nothing");
    server.stop().await;
}

async fn most_owners(database: &TestDatabase, api: Api) {
    let (server, client) = client_of(database, api).await;
    let emails: Vec<String> = (0..101)
        .map(|number| format!("owner-{number:03}@example.com"))
        .collect();
    let owners = json!({ "deviceIdentifier": "SN-004", "customerEmails": emails });
    client.call_at(ASSIGN_ONE_PATH, &owners).await.ok();
    let before = database.dump().await;
    let answer = transfer(&client, JOHN, &["SN-001", "SN-004"], None).await;
    assert_eq!(
        (answer.code.as_str(), answer.reason.as_deref()),
        ("FAILED_PRECONDITION", Some("TOO_MANY_OWNERS"))
    );
    assert_eq!(database.dump().await, before);
    // 100 others, and the new owner.
    let answer = transfer(&client, &emails[0], &["SN-004"], None).await.ok();
    assert_eq!(lost(&answer, "alreadyAssigned"), pairs(&[("SN-004", 100)]));
    server.stop().await;
}

async fn most_devices(database: &TestDatabase, api: Api) {
    let (server, client) = client_of(database, api).await;
    let identifiers: Vec<String> = (0..10_000).map(|number| format!("NEW-{number:05}")).collect();
    let identifiers: Vec<&str> = identifiers.iter().map(String::as_str).collect();
    client.create(JOHN, &identifiers).await.ok();
    let answer = transfer(&client, JANE, &identifiers, Some(JOHN)).await.ok();
    let lost = lost(&answer, "assignedDevices");
    assert_eq!(lost.len(), 10_000);
    assert!(lost.iter().all(|(_, count)| *count == 1));
    // One more owner than one call removes.
    client.assign(JOHN, &identifiers[..1]).await.ok();
    client.assign(BOB, &identifiers).await.ok();
    let answer = transfer(&client, "new@example.com", &identifiers, None).await;
    assert_eq!(answer.reason.as_deref(), Some("TOO_MANY_OWNERS"));
    server.stop().await;
}

/// Many callers sell the same device for its owner: each sale names the owner that its seller saw, so of those who saw the same
/// one exactly one succeeds, and the device always has one owner.
async fn at_once(database: &'static TestDatabase) {
    const ROUNDS: usize = 30;
    let key = organization(database, "acme").await;
    devices(database, "acme", &["SN-1"]).await;
    let servers = [TestServer::start(database).await, TestServer::start(database).await];
    let clients = servers.each_ref().map(|server| server.client(Api::Grpc, &key));
    let mut owner = "owner@example.com".to_owned();
    clients[0].assign(&owner, &["SN-1"]).await.ok();
    for round in 0..ROUNDS {
        let sales = (0..8_usize).map(|caller| {
            let (client, seller) = (clients[caller % 2].clone(), owner.clone());
            tokio::spawn(async move {
                let buyer = format!("buyer-{round}-{caller}@example.com");
                let answer = if caller == 7 {
                    client.unassign("nobody@example.com", &["SN-1"]).await
                } else {
                    transfer(&client, &buyer, &["SN-1"], Some(&seller)).await
                };
                (buyer, answer)
            })
        });
        let mut sold = Vec::new();
        for sale in join_all(sales.collect::<Vec<_>>()).await {
            let (buyer, answer) = sale.expect("finished");
            match answer.code.as_str() {
                "OK" => sold.push(buyer),
                _ => assert!(
                    ["NOT_ASSIGNED", "CUSTOMER_NOT_FOUND"].contains(&answer.reason.as_deref().expect("a reason"))
                ),
            }
        }
        assert_eq!(sold.len(), 1, "{sold:?} in round {round}");
        assert_eq!(database.count("device_assignment").await, 1);
        owner = sold.remove(0);
    }
    for server in servers {
        server.stop().await;
    }
}

async fn observed(database: &'static TestDatabase) {
    let key = world(database).await;
    let mut serve = command(&["serve", "--database-url", database.url()]);
    serve.args(["--log-format", "json"]);
    let program = Program::spawn(serve).await;
    let client = program.client(Api::Rest, &key);
    transfer(&client, JANE, &["SN-001", "SN-002", "CANARY-SN"], None)
        .await
        .ok();
    transfer(&client, JANE, &["SN-001"], None).await.ok();
    let metrics = Metrics::of(program.admin).await;
    let devices = |outcome: &str| metrics.get(&format!("device_assignment_devices_total{{outcome=\"{outcome}\"}}"));
    let counts = ["assigned", "already_assigned", "unassigned", "skipped"].map(devices);
    assert_eq!(counts, [1.0, 2.0, 2.0, 1.0], "{}", metrics.text);
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("CANARY-SN") && !log.contains(JANE), "{log}");
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let audited: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "devices.transferred")
        .collect();
    assert_eq!(audited.len(), 1, "a call that changes nothing is not there: {log}");
    assert_eq!(
        (&audited[0]["assigned"], &audited[0]["unassigned"]),
        (&json!(1), &json!(2))
    );
    let calls = lines
        .iter()
        .filter(|line| line["method"] == "TransferDevicesToOwner" && line["message"] == "call");
    let calls: Vec<_> = calls
        .map(|line| [&line["assigned"], &line["unassigned"], &line["skipped"]])
        .collect();
    assert_eq!(
        calls,
        [[&json!(1), &json!(2), &json!(1)], [&json!(0), &json!(0), &json!(0)]]
    );
}
