//! Look-ups and lists of devices and customers.

use serde_json::{Value, json};

use super::{
    JANE, JOHN, Read, Rules,
    lists::{all_pages, texts},
    read,
};
use crate::support::{Answer, Api, Client, Suite, TestDatabase, TestServer, organization};

pub fn register(rules: &mut Rules<'_>) {
    rules.rule("device_the_documented_answer", |client, _, _| Box::pin(device(client)));
    rules.rule("customer_the_documented_answer", |client, other, _| {
        Box::pin(customer(client, other))
    });
    rules.rule("devices_with_filters", |client, other, _| {
        Box::pin(devices(client, other))
    });
    rules.rule("customers_by_prefix", |client, other, _| {
        Box::pin(customers(client, other))
    });
}

pub fn register_once(suite: &mut Suite) {
    suite.on_each("reads::many_customers_with_one_prefix", many_customers);
    suite.on_each("reads::customer_with_many_devices", many_devices);
}

async fn device(client: Client) {
    let request = json!({ "identifier": " SN-002 " });
    let answer = read(&client, Read::GetDevice, &request).await.ok();
    let expected = json!({
        "deviceId": answer.body["deviceId"],
        "identifier": "SN-002",
        "type": "imported",
        "properties": {},
        "ownersCount": 2,
        "createdAt": answer.body["createdAt"],
        "revision": "3",
    });
    assert_eq!(in_json(&answer), expected);
    assert!(
        answer.body["createdAt"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z'))
    );
}

/// The body with the JSON objects that gRPC has as text.
fn in_json(answer: &Answer) -> Value {
    let mut body = answer.body.clone();
    for member in ["properties", "metadata"] {
        if let Some(Value::String(text)) = body.get(member) {
            body[member] = serde_json::from_str(text).expect("JSON");
        }
    }
    body
}

async fn customer(client: Client, other: Client) {
    let answer = read(
        &client,
        Read::QueryCustomer,
        &json!({ "email": " John.Doe@Example.com" }),
    )
    .await
    .ok();
    let id = answer.body["id"].as_str().expect("an id");
    let expected = json!({
        "id": id,
        "organizationId": answer.body["organizationId"],
        "name": "john.doe",
        "email": JOHN,
        "phone": "",
        "address": "",
        "devices": ["SN-001", "SN-002"],
        "devicesCount": 2,
        "orders": [],
        "metadata": {},
        "createdAt": answer.body["createdAt"],
        "revision": "3",
    });
    assert_eq!(in_json(&answer), expected);
    assert!(
        answer.body["organizationId"]
            .as_str()
            .is_some_and(|id| id.starts_with("org_"))
    );
    let by_id = json!({ "telemetronCustomerId": id, "minRevision": "3" });
    let answer = read(&client, Read::GetCustomer, &by_id).await.ok();
    assert_eq!(in_json(&answer), expected);
    let answer = read(&other, Read::GetCustomer, &json!({ "telemetronCustomerId": id })).await;
    assert_eq!(answer.code, "NOT_FOUND", "another organization");
    let future = json!({ "telemetronCustomerId": id, "minRevision": "4" });
    let answer = read(&client, Read::GetCustomer, &future).await;
    assert_eq!(answer.reason.as_deref(), Some("REVISION_IN_FUTURE"));
    client.unassign(JOHN, &["SN-001", "SN-002"]).await.ok();
    let answer = read(&client, Read::QueryCustomer, &json!({ "email": JOHN })).await.ok();
    assert_eq!(
        (&answer.body["devices"], &answer.body["devicesCount"]),
        (&json!([]), &json!(0))
    );
}

async fn devices(client: Client, other: Client) {
    client.create(JANE, &["ZZ-1", "ZZ-2", "Z"]).await.ok();
    client.unassign(JANE, &["ZZ-1", "Z"]).await.ok();
    let list = async |client: &Client, request: Value| {
        let (all, _) = all_pages(client, Read::ListDevices, &request, 2, ("devices", "identifier")).await;
        all
    };
    for (request, expected) in [
        (json!({}), vec!["SN-001", "SN-002", "SN-003", "Z", "ZZ-1", "ZZ-2"]),
        (json!({ "type": "imported" }), vec!["SN-001", "SN-002", "SN-003"]),
        (json!({ "type": " sensor " }), vec!["Z", "ZZ-1", "ZZ-2"]),
        (json!({ "type": "other" }), vec![]),
        (json!({ "prefix": "ZZ" }), vec!["ZZ-1", "ZZ-2"]),
        (json!({ "prefix": "sn" }), vec![]),
        (json!({ "unassigned": true }), vec!["SN-003", "Z", "ZZ-1"]),
        (
            json!({ "unassigned": true, "type": "sensor", "prefix": "ZZ" }),
            vec!["ZZ-1"],
        ),
        (
            json!({ "unassigned": false, "prefix": "SN-00" }),
            vec!["SN-001", "SN-002", "SN-003"],
        ),
    ] {
        assert_eq!(list(&client, request.clone()).await, expected, "{request}");
    }
    assert_eq!(list(&other, json!({})).await, ["OTHER-1", "SN-001"]);
    let answer = read(&client, Read::ListDevices, &json!({ "prefix": "SN-001" }))
        .await
        .ok();
    let entry = &answer.body["devices"][0];
    let expected = json!({
        "identifier": "SN-001",
        "deviceId": entry["deviceId"],
        "type": "imported",
        "createdAt": entry["createdAt"],
    });
    assert_eq!(answer.body["devices"], json!([expected]));
    // A token belongs to its filters.
    let first = read(
        &client,
        Read::ListDevices,
        &json!({ "pageSize": 1, "type": "imported" }),
    )
    .await
    .ok();
    let token = &first.body["nextPageToken"];
    for other in [
        json!({}),
        json!({ "type": "imported", "unassigned": true }),
        json!({ "prefix": "imported" }),
    ] {
        let mut request = other;
        request["pageToken"] = token.clone();
        let answer = read(&client, Read::ListDevices, &request).await;
        assert_eq!(answer.reason.as_deref(), Some("INVALID_PAGE_TOKEN"), "{request}");
    }
}

async fn customers(client: Client, other: Client) {
    client.create("johnny@example.com", &["SN-001"]).await.ok();
    let list = async |request: Value| {
        let (mut all, _) = all_pages(&client, Read::ListCustomers, &request, 2, ("customers", "email")).await;
        all.sort();
        all
    };
    let all = [JANE, JOHN, "johnny@example.com"];
    for (request, expected) in [
        (json!({}), &all[..]),
        (json!({ "emailPrefix": null }), &all),
        (json!({ "emailPrefix": "JOHN" }), &all[1..]),
        (json!({ "emailPrefix": "john." }), &all[1..2]),
        (json!({ "emailPrefix": "x" }), &[]),
        (json!({ "emailPrefix": "%" }), &[]),
    ] {
        // REST sends null as it is.
        let request = if client.api == Api::Grpc && request["emailPrefix"].is_null() {
            json!({})
        } else {
            request
        };
        assert_eq!(list(request.clone()).await, expected, "{request}");
    }
    let answer = read(&client, Read::ListCustomers, &json!({})).await.ok();
    let ids = texts(&answer, "customers", "id");
    assert!(ids.is_sorted() && ids.len() == 3, "{ids:?}");
    let entry = &answer.body["customers"][0];
    let expected = json!({
        "id": entry["id"],
        "name": entry["name"],
        "email": entry["email"],
        "phone": "",
        "createdAt": entry["createdAt"],
    });
    assert_eq!(*entry, expected);
    let others = read(&other, Read::ListCustomers, &json!({})).await.ok();
    assert_eq!(texts(&others, "customers", "email"), [JOHN]);
    assert_ne!(texts(&others, "customers", "id"), ids);
}

/// Customers with one prefix, too many to sort them for each page.
async fn many_customers(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, &key);
    client.create("a@example.com", &["SN-1"]).await.ok();
    let count = 10_002;
    let insert = match database.kind {
        crate::support::Kind::Sqlite => format!(
            "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             INSERT INTO customer (organization_id, id, email, name, created_at) \
             SELECT c.organization_id, unhex(printf('%032x', i)), 'b' || printf('%05d', i) || '@example.com', 'b', c.created_at \
             FROM n, customer AS c WHERE c.email = 'a@example.com'"
        ),
        crate::support::Kind::Postgres => format!(
            "INSERT INTO customer (organization_id, id, email, name, created_at) \
             SELECT c.organization_id, lpad(to_hex(i), 32, '0')::uuid, 'b' || lpad(i::text, 5, '0') || '@example.com', 'b', \
             c.created_at FROM generate_series(1, {count}) AS i, customer AS c WHERE c.email = 'a@example.com'"
        ),
    };
    let connection = database.connect().await;
    sea_orm::ConnectionTrait::execute_unprepared(&connection, &insert)
        .await
        .expect("many customers");
    connection.close().await.expect("closed");
    for (prefix, expected) in [("b", count), ("b0", 9_999), ("b10002", 1), ("a", 1), ("c", 0)] {
        let request = json!({ "emailPrefix": prefix });
        let (all, pages) = all_pages(&client, Read::ListCustomers, &request, 1_000, ("customers", "email")).await;
        assert_eq!(all.len(), expected, "{prefix}");
        assert!(all.iter().all(|email| email.starts_with(prefix)));
        assert!(pages <= expected / 1_000 + 3, "{prefix}: {pages}");
    }
    server.stop().await;
}

/// A customer with more devices than are listed with it.
async fn many_devices(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Rest, &key);
    let names: Vec<String> = (0..10_001).map(|number| format!("SN-{number:05}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    client.create(JOHN, &names[1..]).await.ok();
    client.create(JOHN, &names[..1]).await.ok();
    let answer = read(&client, Read::QueryCustomer, &json!({ "email": JOHN })).await.ok();
    let listed = answer.body["devices"].as_array().expect("a list");
    assert_eq!((listed.len(), &answer.body["devicesCount"]), (10_000, &json!(10_001)));
    assert!(listed.is_sorted_by_key(|identifier| identifier.as_str()));
    server.stop().await;
}
