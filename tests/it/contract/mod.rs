//! Every rule of `AssignDevicesToOwner`, through gRPC, REST and a remote gateway, on both databases, from one table.

mod refusals;

use refusals::are_refused;
use serde_json::{Value, json};

use crate::support::{Api, Client, Suite, TestDatabase, TestServer, devices, organization};

/// An address of exactly this many bytes, of which each part has a legal length.
fn long_email(bytes: usize) -> String {
    let tail = format!("@{}.{}.{}.com", "b".repeat(63), "c".repeat(63), "d".repeat(57));
    format!("{}{tail}", "a".repeat(bytes - tail.len()))
}

/// An organization in which SN-001 is known, SN-002 is john.doe@example.com's, and SN-003 is unknown; and another one that
/// has the device OTHER-1.
pub async fn world(database: &TestDatabase) -> String {
    let key = organization(database, "acme").await;
    organization(database, "other").await;
    devices(database, "acme", &["SN-001", "SN-002"]).await;
    devices(database, "other", &["OTHER-1"]).await;
    let server = TestServer::start(database).await;
    server
        .client(Api::Grpc, &key)
        .assign("john.doe@example.com", &["SN-002"])
        .await
        .ok();
    server.stop().await;
    key
}

pub fn register(suite: &mut Suite) {
    for api in Api::ALL {
        let name = format!("contract::refused::{}", api.name());
        suite.on_each(&name, move |database| are_refused(database, api));
        let mut rule = |name: &str, test: Rule| {
            let name = format!("contract::{name}::{}", api.name());
            suite.on_each(&name, move |database| async move {
                let key = world(database).await;
                let server = TestServer::start(database).await;
                test(server.client(api, &key), database).await;
                server.stop().await;
            });
        };
        rule("the_documented_example", |client, _| {
            Box::pin(documented_example(client))
        });
        rule("creates_what_is_missing", |client, db| {
            Box::pin(creates_what_is_missing(client, db))
        });
        rule("a_second_time_changes_nothing", |client, db| {
            Box::pin(idempotent(client, db))
        });
        rule("values_are_trimmed_and_folded", |client, db| {
            Box::pin(trimmed_and_folded(client, db))
        });
        rule("emails_are_lowered_identifiers_are_not", |client, db| {
            Box::pin(letter_case(client, db))
        });
        rule("a_device_may_have_several_owners", |client, db| {
            Box::pin(several_owners(client, db))
        });
        rule("an_existing_device_keeps_its_type", |client, db| {
            Box::pin(keeps_type(client, db))
        });
        rule("the_longest_values_are_taken", |client, _| {
            Box::pin(longest_values(client))
        });
        rule("the_most_identifiers_are_taken", |client, db| {
            Box::pin(most_identifiers(client, db))
        });
        rule("lists_keep_the_order_of_the_request", |client, _| {
            Box::pin(keeps_order(client))
        });
    }
}

type Rule = fn(Client, &'static TestDatabase) -> std::pin::Pin<Box<dyn Future<Output = ()>>>;

async fn documented_example(client: Client) {
    let answer = client
        .assign("john.doe@example.com", &["SN-001", "SN-002", "SN-003"])
        .await
        .ok();
    // Member for member the documented answer, but for the ids.
    let id = |value: &Value, prefix: &str| {
        let id = value.as_str().expect("an id");
        let digits = id
            .strip_prefix(prefix)
            .unwrap_or_else(|| panic!("{id} starts with {prefix}"));
        assert_eq!(digits.len(), 26, "{id}");
        assert!(
            digits
                .bytes()
                .all(|digit| b"0123456789abcdefghjkmnpqrstvwxyz".contains(&digit)),
            "{id}"
        );
    };
    let body = &answer.body;
    id(&body["customerId"], "cust_");
    id(&body["assignedDevices"][0]["deviceId"], "dev_");
    id(&body["alreadyAssigned"][0]["deviceId"], "dev_");
    let expected = json!({
        "success": true,
        "message": "Successfully assigned 2 device(s) to customer",
        "customerId": body["customerId"],
        "customerWasCreated": false,
        "assignedDevices": [
            { "identifier": "SN-001", "deviceId": body["assignedDevices"][0]["deviceId"], "wasCreated": false }
        ],
        "alreadyAssigned": [
            { "identifier": "SN-002", "deviceId": body["alreadyAssigned"][0]["deviceId"], "wasCreated": false }
        ],
        "skipped": ["SN-003"]
    });
    assert_eq!(*body, expected);
}

async fn creates_what_is_missing(client: Client, database: &TestDatabase) {
    let answer = client
        .create("new.customer@example.com", &["SN-001", "SN-003", "SN-004"])
        .await
        .ok();
    assert_eq!(answer.body["customerWasCreated"], true);
    assert_eq!(answer.body["message"], "Successfully assigned 3 device(s) to customer");
    let created: Vec<_> = answer.body["assignedDevices"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|device| {
            (
                device["identifier"].as_str().expect("text"),
                device["wasCreated"].as_bool(),
            )
        })
        .collect();
    assert_eq!(
        created,
        [("SN-001", Some(false)), ("SN-003", Some(true)), ("SN-004", Some(true))]
    );
    assert_eq!(answer.body["alreadyAssigned"], json!([]));
    assert_eq!(answer.body["skipped"], json!([]));
    let dump = database.dump().await;
    assert!(
        dump.contains(" new.customer@example.com new.customer\n"),
        "the name is the part before the @: {dump}"
    );
    assert!(dump.contains(" SN-003 sensor\n"), "{dump}");
}

async fn idempotent(client: Client, database: &TestDatabase) {
    let first = client.create("new@example.com", &["SN-001", "SN-003"]).await.ok();
    let before = database.dump().await;
    let second = client.create("new@example.com", &["SN-001", "SN-003"]).await.ok();
    assert_eq!(second.body["customerId"], first.body["customerId"]);
    assert_eq!(second.body["customerWasCreated"], false);
    assert_eq!(second.identifiers("assignedDevices"), [""; 0]);
    assert_eq!(second.identifiers("alreadyAssigned"), ["SN-001", "SN-003"]);
    assert!(
        second.body["alreadyAssigned"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|device| device["wasCreated"] == false)
    );
    assert_eq!(second.body["message"], first.body["message"]);
    assert_eq!(database.dump().await, before, "the same call again changes no row");
}

async fn trimmed_and_folded(client: Client, database: &TestDatabase) {
    let answer = client
        .call(&json!({
            "customerEmail": "\t john.doe@example.com\u{2003}",
            "deviceIdentifiers": [" SN-003", "SN-001 ", "SN-003\n", "SN-001", "\u{a0}SN-002"],
            "autoCreateDevices": true,
            "deviceType": "  Smart Thermostat ",
        }))
        .await
        .ok();
    assert_eq!(answer.body["customerWasCreated"], false);
    assert_eq!(answer.identifiers("assignedDevices"), ["SN-003", "SN-001"]);
    assert_eq!(answer.identifiers("alreadyAssigned"), ["SN-002"]);
    assert!(database.dump().await.contains(" SN-003 Smart Thermostat\n"));
}

async fn letter_case(client: Client, database: &TestDatabase) {
    let answer = client.create("John.DOE@Example.COM", &["sn-001", "SN-001"]).await.ok();
    assert_eq!(answer.body["customerWasCreated"], false);
    assert_eq!(answer.identifiers("assignedDevices"), ["sn-001", "SN-001"]);
    assert_eq!(answer.body["assignedDevices"][0]["wasCreated"], true);
    // Only ASCII letters have one form: these are two customers.
    let lower = client.create("ärzte@example.com", &["SN-001"]).await.ok();
    let upper = client.create("Ärzte@EXAMPLE.com", &["SN-001"]).await.ok();
    assert_ne!(lower.body["customerId"], upper.body["customerId"]);
    assert!(database.dump().await.contains(" Ärzte@example.com Ärzte\n"));
}

async fn several_owners(client: Client, database: &TestDatabase) {
    let second = client.assign("jane.doe@example.com", &["SN-002"]).await.ok();
    assert_eq!(second.identifiers("assignedDevices"), ["SN-002"]);
    let first = client.assign("john.doe@example.com", &["SN-002"]).await.ok();
    assert_eq!(
        first.identifiers("alreadyAssigned"),
        ["SN-002"],
        "nobody lost the device"
    );
    assert_eq!(database.count("device_assignment").await, 2);
}

async fn keeps_type(client: Client, database: &TestDatabase) {
    client.create("john.doe@example.com", &["SN-001"]).await.ok();
    assert!(database.dump().await.contains(" SN-001 imported\n"));
}

async fn longest_values(client: Client) {
    let identifier = "ü".repeat(255);
    let answer = client
        .call(&json!({
            "customerEmail": long_email(254),
            "deviceIdentifiers": [identifier, "quote\"backslash\\", "😀 emoji and spaces"],
            "autoCreateDevices": true,
            "deviceType": "T".repeat(100),
        }))
        .await
        .ok();
    assert_eq!(
        answer.identifiers("assignedDevices"),
        [identifier.as_str(), "quote\"backslash\\", "😀 emoji and spaces"]
    );
    let again = client
        .assign(&long_email(254), &[&identifier, "quote\"backslash\\"])
        .await
        .ok();
    assert_eq!(
        again.identifiers("alreadyAssigned"),
        [identifier.as_str(), "quote\"backslash\\"]
    );
}

async fn most_identifiers(client: Client, database: &TestDatabase) {
    for count in [9_999, 10_000] {
        let identifiers: Vec<String> = (0..count).map(|number| format!("{number:0>255}")).collect();
        let identifiers: Vec<&str> = identifiers.iter().map(String::as_str).collect();
        let answer = client.create("many@example.com", &identifiers).await.ok();
        let listed = answer.identifiers("assignedDevices").len() + answer.identifiers("alreadyAssigned").len();
        assert_eq!(listed, count);
        assert_eq!(
            database.count("device_assignment").await,
            1 + i64::try_from(count).expect("a count")
        );
    }
}

async fn keeps_order(client: Client) {
    client.create("john.doe@example.com", &["B", "A"]).await.ok();
    let answer = client
        .assign("john.doe@example.com", &["Z", "B", "SN-002", "Y", "SN-001", "A"])
        .await
        .ok();
    assert_eq!(answer.identifiers("assignedDevices"), ["SN-001"]);
    assert_eq!(answer.identifiers("alreadyAssigned"), ["B", "SN-002", "A"]);
    assert_eq!(answer.identifiers("skipped"), ["Z", "Y"]);
}
