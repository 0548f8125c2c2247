//! The REST API: bodies, errors of HTTP itself, and the JSON byte for byte.

use insta::{allow_duplicates, assert_snapshot};
use reqwest::Method;
use serde_json::json;

use crate::{
    contract::world,
    support::{Api, PATH, Suite, TestDatabase, TestServer},
};

pub fn register(suite: &mut Suite) {
    for api in [Api::Rest, Api::RemoteRest] {
        let name = |test: &str| format!("rest::{test}::{}", api.name());
        suite.on_each(&name("bodies_that_are_rejected"), move |db| refused_bodies(db, api));
        suite.on_each(&name("bodies_that_are_accepted"), move |db| accepted_bodies(db, api));
        suite.on_each(&name("errors_of_http_itself"), move |db| refused_by_http(db, api));
        suite.on_each(&name("the_json_byte_for_byte"), move |db| json_bytes(db, api));
    }
}

/// Replaces ids in snapshots by placeholders.
fn redacted(check: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\b(cust|dev)_[0-9a-hjkmnp-tv-z]{26}\b", "${1}_ID");
    settings.add_filter(r#""requestId":"[0-9a-f-]{36}""#, r#""requestId":"ID""#);
    settings.bind(check);
}

async fn refused_bodies(database: &TestDatabase, api: Api) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let before = database.dump().await;
    let mut answers = String::new();
    for body in [
        "",
        "   ",
        "null",
        "[]",
        "\"text\"",
        r#"["john.doe@example.com", ["SN-001"], false, null]"#,
        "{",
        r#"{"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001"]} x"#,
        r#"{"customerEmail": 5, "deviceIdentifiers": ["SN-001"]}"#,
        r#"{"customerEmail": "john.doe@example.com", "deviceIdentifiers": "SN-001"}"#,
        r#"{"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001", 7]}"#,
        r#"{"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001", null]}"#,
        r#"{"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001"], "autoCreateDevices": "true"}"#,
        r#"{"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001"], "autoCreateDevices": 1}"#,
        r#"{"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001"], "deviceType": 1}"#,
        r#"{"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001"], "autoCreateDevice": true}"#,
        r#"{"customer_email": "john.doe@example.com", "deviceIdentifiers": ["SN-001"]}"#,
        r#"{"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001"], "customerEmail": "jane@example.com"}"#,
        r#"{"customerEmail": "\ud800", "deviceIdentifiers": ["SN-001"]}"#,
    ] {
        let answer = client.post(body, Some("application/json")).await;
        assert_eq!(answer.http.as_ref().expect("REST").0, 400, "{body} {answer:?}");
        assert_eq!(answer.code, "INVALID_ARGUMENT", "{body}");
        answers.push_str(&format!("{body}\n  {}\n  {:?}\n", answer.error, answer.violations));
    }
    let long = format!(
        r#"{{"customerEmail": "a@example.com", "deviceIdentifiers": "{}"}}"#,
        "x".repeat(1_000_000)
    );
    let answer = client.post(long, Some("application/json")).await;
    assert!(
        answer.error.chars().count() <= 301,
        "an error does not quote a megabyte"
    );
    let answer = client.post(vec![b'{', 0xff, b'}'], Some("application/json")).await;
    answers.push_str(&format!("not UTF-8\n  {}\n", answer.error));
    allow_duplicates! { assert_snapshot!(answers, @r#"

      The request body must be a JSON object
      []
       
      The request body must be a JSON object
      []
    null
      The request body must be a JSON object
      []
    []
      The request body must be a JSON object
      []
    "text"
      The request body must be a JSON object
      []
    ["john.doe@example.com", ["SN-001"], false, null]
      The request body must be a JSON object
      []
    {
      Invalid JSON: the body ends too early (line 1, column 1)
      []
    {"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001"]} x
      Invalid JSON: unexpected character x (line 1, column 76)
      []
    {"customerEmail": 5, "deviceIdentifiers": ["SN-001"]}
      customerEmail must be a string (line 1, column 19)
      [("customerEmail", "customerEmail must be a string (line 1, column 19)")]
    {"customerEmail": "john.doe@example.com", "deviceIdentifiers": "SN-001"}
      deviceIdentifiers must be an array of strings (line 1, column 71)
      [("deviceIdentifiers", "deviceIdentifiers must be an array of strings (line 1, column 71)")]
    {"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001", 7]}
      deviceIdentifiers[1] must be a string (line 1, column 75)
      [("deviceIdentifiers[1]", "deviceIdentifiers[1] must be a string (line 1, column 75)")]
    {"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001", null]}
      deviceIdentifiers[1] must be a string (line 1, column 78)
      [("deviceIdentifiers[1]", "deviceIdentifiers[1] must be a string (line 1, column 78)")]
    {"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001"], "autoCreateDevices": "true"}
      autoCreateDevices must be true or false (line 1, column 102)
      [("autoCreateDevices", "autoCreateDevices must be true or false (line 1, column 102)")]
    {"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001"], "autoCreateDevices": 1}
      autoCreateDevices must be true or false (line 1, column 97)
      [("autoCreateDevices", "autoCreateDevices must be true or false (line 1, column 97)")]
    {"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001"], "deviceType": 1}
      deviceType must be a string (line 1, column 90)
      [("deviceType", "deviceType must be a string (line 1, column 90)")]
    {"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001"], "autoCreateDevice": true}
      autoCreateDevice is not a member of this request; the members are customerEmail, deviceIdentifiers, autoCreateDevices, deviceType, validateOnly (line 1, column 93)
      [("autoCreateDevice", "autoCreateDevice is not a member of this request; the members are customerEmail, deviceIdentifiers, autoCreateDevices, deviceType, validateOnly (line 1, column 93)")]
    {"customer_email": "john.doe@example.com", "deviceIdentifiers": ["SN-001"]}
      customer_email is not a member of this request; the members are customerEmail, deviceIdentifiers, autoCreateDevices, deviceType, validateOnly (line 1, column 17)
      [("customer_email", "customer_email is not a member of this request; the members are customerEmail, deviceIdentifiers, autoCreateDevices, deviceType, validateOnly (line 1, column 17)")]
    {"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001"], "customerEmail": "jane@example.com"}
      customerEmail is repeated; send it once (line 1, column 90)
      [("customerEmail", "customerEmail is repeated; send it once (line 1, column 90)")]
    {"customerEmail": "\ud800", "deviceIdentifiers": ["SN-001"]}
      Invalid JSON: unexpected character " (line 1, column 26)
      []
    not UTF-8
      Invalid JSON: unexpected byte 0xff (line 1, column 2)
    "#) };
    assert_eq!(database.dump().await, before);
    server.stop().await;
}

async fn accepted_bodies(database: &TestDatabase, api: Api) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let plain = r#"{"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001"]}"#;
    let nulls = r#" {"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001"],
                     "autoCreateDevices": null, "deviceType": null} "#;
    let ignored_type =
        r#"{"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001"], "deviceType": ""}"#;
    for (body, content_type) in [
        (plain, None),
        (plain, Some("application/json")),
        (plain, Some("application/json; charset=utf-8")),
        (plain, Some("Application/JSON")),
        (plain, Some("application/vnd.api+json")),
        (nulls, None),
        (ignored_type, None),
    ] {
        client.post(body, content_type).await.ok();
    }
    // 8 MiB is within the limit, white space included.
    let mut large = plain.to_owned().into_bytes();
    large.resize(8 * 1024 * 1024, b' ');
    client.post(large, None).await.ok();
    server.stop().await;
}

async fn refused_by_http(database: &TestDatabase, api: Api) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let mut answers = String::new();
    let mut note = |what: &str, answer: crate::support::Answer| {
        let (status, headers) = answer.http.expect("REST");
        assert_eq!(headers["content-type"], "application/json");
        let allow = headers
            .get("allow")
            .map(|allow| format!(" (Allow: {allow})"))
            .unwrap_or_default();
        let reason = answer.reason.expect("a reason");
        answers.push_str(&format!(
            "{what}: {status} {} {reason}: {}{allow}\n",
            answer.code, answer.error
        ));
    };
    note(
        "GET /nothing",
        client.send(client.request(Method::GET, "/nothing")).await,
    );
    note(
        "POST /nothing",
        client.send(client.request(Method::POST, "/nothing")).await,
    );
    note(
        "POST with a slash",
        client.send(client.request(Method::POST, &format!("{PATH}/"))).await,
    );
    note("GET", client.send(client.request(Method::GET, PATH)).await);
    note("PUT", client.send(client.request(Method::PUT, PATH)).await);
    note("OPTIONS", client.send(client.request(Method::OPTIONS, PATH)).await);
    note("text", client.post("{}", Some("text/plain")).await);
    note(
        "form",
        client.post("a=b", Some("application/x-www-form-urlencoded")).await,
    );
    note("nonsense", client.post("{}", Some("nonsense")).await);
    note(
        "8 MiB and a byte",
        client.post(vec![b' '; 8 * 1024 * 1024 + 1], None).await,
    );
    allow_duplicates! { assert_snapshot!(answers, @r#"
    GET /nothing: 404 NOT_FOUND PATH_NOT_FOUND: There is nothing at this path
    POST /nothing: 404 NOT_FOUND PATH_NOT_FOUND: There is nothing at this path
    POST with a slash: 404 NOT_FOUND PATH_NOT_FOUND: There is nothing at this path
    GET: 405 UNIMPLEMENTED METHOD_NOT_ALLOWED: This path accepts POST only (Allow: POST)
    PUT: 405 UNIMPLEMENTED METHOD_NOT_ALLOWED: This path accepts POST only (Allow: POST)
    OPTIONS: 405 UNIMPLEMENTED METHOD_NOT_ALLOWED: This path accepts POST only (Allow: POST)
    text: 415 INVALID_ARGUMENT UNSUPPORTED_MEDIA_TYPE: Content-Type must be application/json
    form: 415 INVALID_ARGUMENT UNSUPPORTED_MEDIA_TYPE: Content-Type must be application/json
    nonsense: 415 INVALID_ARGUMENT UNSUPPORTED_MEDIA_TYPE: Content-Type must be application/json
    8 MiB and a byte: 413 INVALID_ARGUMENT REQUEST_TOO_LARGE: Request too large. Maximum 8388608 bytes
    "#) };
    server.stop().await;
}

async fn json_bytes(database: &TestDatabase, api: Api) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let post = async |body: serde_json::Value| {
        let request = client.request(Method::POST, PATH).json(&body);
        request.send().await.expect("an answer").text().await.expect("text")
    };
    let email = "john.doe@example.com";
    let success = post(json!({ "customerEmail": email, "deviceIdentifiers": ["SN-001", "SN-002", "SN-003"] })).await;
    let refusal = post(json!({ "customerEmail": "john", "deviceIdentifiers": [""] })).await;
    let precondition = post(json!({ "customerEmail": email, "deviceIdentifiers": ["X"] })).await;
    redacted(|| {
        allow_duplicates! { assert_snapshot!(success, @r#"{"success":true,"message":"Successfully assigned 2 device(s) to customer","customerId":"cust_ID","customerWasCreated":false,"assignedDevices":[{"identifier":"SN-001","deviceId":"dev_ID","wasCreated":false}],"alreadyAssigned":[{"identifier":"SN-002","deviceId":"dev_ID","wasCreated":false}],"skipped":["SN-003"]}"#) };
        allow_duplicates! { assert_snapshot!(refusal, @r#"{"error":"customerEmail must be a valid email address (the first of 2 problems)","code":"INVALID_ARGUMENT","reason":"INVALID_REQUEST","requestId":"ID","fieldViolations":[{"field":"customerEmail","description":"customerEmail must be a valid email address"},{"field":"deviceIdentifiers[0]","description":"deviceIdentifiers[0] must not be empty"}],"metadata":{"violationCount":"2"}}"#) };
        allow_duplicates! { assert_snapshot!(precondition, @r#"{"error":"No valid devices: none of the 1 device identifiers exist in your organization; set autoCreateDevices to create them","code":"FAILED_PRECONDITION","reason":"NO_VALID_DEVICES","requestId":"ID","metadata":{"deviceCount":"1"}}"#) };
    });
    server.stop().await;
}
