//! Every rule of `AssignDeviceToOwners`, through gRPC, REST and a remote gateway, on both databases.

use serde_json::{Value, json};

use crate::{
    openapi::{description, without_ids},
    support::{ASSIGN_ONE_PATH, Api, Client, Suite, TestDatabase, TestServer, devices, organization},
};

const JOHN: &str = "john.doe@example.com";
const JANE: &str = "jane.smith@example.com";

pub fn register(suite: &mut Suite) {
    for api in Api::ALL {
        let name = |test: &str| format!("assign_device::{test}::{}", api.name());
        suite.on_each(&name("the_documented_example"), move |db| documented_example(db, api));
        suite.on_each(&name("it_creates_what_is_missing"), move |db| creates(db, api));
        suite.on_each(&name("what_is_invalid_is_rejected"), move |db| rejected(db, api));
        suite.on_each(&name("1000_customers_and_no_more"), move |db| most_customers(db, api));
    }
}

/// An organization in which John owns SN-12345-ABCDE and Jane nothing; and another one, in which there is SN-OTHER.
async fn world(database: &TestDatabase) -> String {
    let key = organization(database, "acme").await;
    organization(database, "other").await;
    devices(database, "acme", &["SN-12345-ABCDE", "SN-2"]).await;
    devices(database, "other", &["SN-OTHER"]).await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, &key);
    client.assign(JOHN, &["SN-12345-ABCDE"]).await.ok();
    server.stop().await;
    key
}

async fn client_of(database: &TestDatabase, api: Api) -> (TestServer, Client) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    (server, client)
}

fn emails(list: &Value) -> Vec<(&str, bool)> {
    let list = list.as_array().expect("a list").iter();
    list.map(|customer| {
        (
            customer["email"].as_str().expect("text"),
            customer["wasCreated"] == true,
        )
    })
    .collect()
}

async fn documented_example(database: &TestDatabase, api: Api) {
    let (server, client) = client_of(database, api).await;
    let request = json!({ "deviceIdentifier": "SN-12345-ABCDE", "customerEmails": [JOHN, JANE] });
    let answer = client.call_at(ASSIGN_ONE_PATH, &request).await.ok();
    let documented = description()["paths"][ASSIGN_ONE_PATH]["post"].take();
    let example = documented["responses"]["200"]["content"]["application/json"]["example"].clone();
    assert_eq!(without_ids(answer.body.clone()), without_ids(example));
    let example = &documented["requestBody"]["content"]["application/json"]["examples"]["customers"]["value"];
    assert_eq!(*example, request);
    for (path, prefix) in [
        ("/deviceId", "dev_"),
        ("/assignedCustomers/0/customerId", "cust_"),
        ("/assignedCustomers/1/customerId", "cust_"),
        ("/alreadyAssigned/0/customerId", "cust_"),
    ] {
        let id = answer.body.pointer(path).and_then(Value::as_str).expect("an id");
        assert!(id.starts_with(prefix) && id.len() == prefix.len() + 26, "{id}");
    }
    let before = database.dump().await;
    let again = client.call_at(ASSIGN_ONE_PATH, &request).await.ok();
    assert_eq!(emails(&again.body["alreadyAssigned"]), [(JOHN, false), (JANE, false)]);
    assert_eq!(again.body["message"], "Successfully assigned device to 2 customer(s)");
    assert_eq!(database.dump().await, before, "the same call again changes nothing");
    server.stop().await;
}

async fn creates(database: &TestDatabase, api: Api) {
    let (server, client) = client_of(database, api).await;
    let request = json!({
        "deviceIdentifier": " NEW-1 ",
        "customerEmails": [" Ann@Example.com", JOHN, "ann@example.com"],
        "autoCreateDevice": true,
        "deviceType": " sensor ",
    });
    let answer = client.call_at(ASSIGN_ONE_PATH, &request).await.ok();
    assert_eq!(answer.body["deviceWasCreated"], true);
    assert_eq!(
        emails(&answer.body["assignedCustomers"]),
        [("ann@example.com", true), (JOHN, false)]
    );
    assert_eq!(answer.body["alreadyAssigned"], json!([]));
    assert_eq!(answer.revision, Some(3), "one change for all customers");
    assert_eq!(database.count("device_assignment").await, 3);
    // One customer takes the path of a single statement.
    let one = json!({ "deviceIdentifier": "SN-2", "customerEmails": [JOHN] });
    let answer = client.call_at(ASSIGN_ONE_PATH, &one).await.ok();
    assert_eq!(answer.revision, Some(4));
    assert_eq!(answer.body["alreadyAssigned"], json!([]));
    server.stop().await;
}

async fn rejected(database: &TestDatabase, api: Api) {
    let (server, client) = client_of(database, api).await;
    let before = database.dump().await;
    let invalid = |fields: &[&str]| {
        (
            "INVALID_ARGUMENT",
            "INVALID_REQUEST",
            fields.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>(),
        )
    };
    let device_not_found = || ("NOT_FOUND", "DEVICE_NOT_FOUND", Vec::new());
    let cases = [
        (json!({}), invalid(&["deviceIdentifier", "customerEmails"])),
        (
            json!({ "deviceIdentifier": null, "customerEmails": [], "autoCreateDevice": true }),
            invalid(&["deviceIdentifier", "customerEmails", "deviceType"]),
        ),
        (
            json!({ "deviceIdentifier": "a\u{1}", "customerEmails": [JOHN, "", "x", "y@localhost"] }),
            invalid(&[
                "deviceIdentifier",
                "customerEmails[1]",
                "customerEmails[2]",
                "customerEmails[3]",
            ]),
        ),
        (
            json!({ "deviceIdentifier": "x".repeat(256), "customerEmails": [JOHN] }),
            invalid(&["deviceIdentifier"]),
        ),
        (
            json!({ "deviceIdentifier": "NEW", "customerEmails": [JOHN] }),
            device_not_found(),
        ),
        (
            json!({ "deviceIdentifier": "sn-2", "customerEmails": [JOHN] }),
            device_not_found(),
        ),
        (
            json!({ "deviceIdentifier": "SN-OTHER", "customerEmails": ["new@example.com"] }),
            device_not_found(),
        ),
    ];
    for (request, (code, reason, fields)) in cases {
        let answer = client.call_at(ASSIGN_ONE_PATH, &request).await;
        assert_eq!(
            (answer.code.as_str(), answer.reason.as_deref()),
            (code, Some(reason)),
            "{request}"
        );
        let answered: Vec<_> = answer.violations.iter().map(|(field, _)| field.clone()).collect();
        assert_eq!(answered, fields, "{request}");
        if let Some((status, _)) = answer.http {
            assert_eq!(status, if code == "NOT_FOUND" { 404 } else { 400 });
        }
    }
    if api != Api::Grpc {
        let typing_error = json!({ "deviceIdentifier": "SN-2", "customerEmails": [JOHN], "autoCreateDevices": true });
        let answer = client.call_at(ASSIGN_ONE_PATH, &typing_error).await;
        assert_eq!(answer.reason.as_deref(), Some("INVALID_JSON"));
    }
    assert_eq!(database.dump().await, before, "a call that fails changes nothing");
    server.stop().await;
}

async fn most_customers(database: &TestDatabase, api: Api) {
    let (server, client) = client_of(database, api).await;
    let emails: Vec<String> = (0..1_001)
        .map(|number| format!("customer-{number:04}@example.com"))
        .collect();
    let request = json!({ "deviceIdentifier": "SN-2", "customerEmails": &emails[..1_000] });
    let answer = client.call_at(ASSIGN_ONE_PATH, &request).await.ok();
    assert_eq!(
        answer.body["message"],
        "Successfully assigned device to 1000 customer(s)"
    );
    let again = client.call_at(ASSIGN_ONE_PATH, &request).await.ok();
    assert_eq!(again.body["alreadyAssigned"].as_array().map(Vec::len), Some(1_000));
    let too_many = json!({ "deviceIdentifier": "SN-2", "customerEmails": emails });
    let answer = client.call_at(ASSIGN_ONE_PATH, &too_many).await;
    assert_eq!(answer.error, "Too many customers. Maximum 1000 per request");
    assert_eq!(answer.metadata["customerCount"], "1001");
    assert_eq!(answer.violations[0].0, "customerEmails");
    server.stop().await;
}
