use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    middleware::from_fn,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{super::problem::render, *};
use crate::pb::AssignDevicesToOwnerRequest;

const LIST: BoundedList = BoundedList {
    member: "deviceIdentifiers",
    max: 3,
};
const VALID: &str = r#"{"customerEmail":"ann@example.com","deviceIdentifiers":["SN-1"]}"#;

/// Sends a body, and gives the status and the envelope; `null` when the body was understood.
async fn send(content_type: Option<&'static str>, body: impl Into<Body>) -> (u16, Value) {
    let handle = async |headers: HeaderMap, body: Bytes| {
        check_type(&headers)?;
        let read = read::<AssignDevicesToOwnerRequest>(&body, LIST);
        read.map(|_message| "null").map_err(|rejected| rejected.problem)
    };
    let router = Router::new().fallback(handle).layer(from_fn(render));
    let mut request = Request::new(body.into());
    if let Some(content_type) = content_type {
        let content_type = content_type.parse().expect("a header's value");
        request.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    let response = router.oneshot(request).await.expect("an answer");
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    (status, serde_json::from_slice(&body).expect("JSON"))
}

/// The sentence that a body is refused with.
async fn refusal(body: impl Into<Body>) -> String {
    let (status, envelope) = send(Some("application/json"), body).await;
    assert_eq!((status, &envelope["code"]), (400, &json!("INVALID_ARGUMENT")));
    envelope["error"].as_str().expect("a sentence").to_owned()
}

fn understood(body: &'static str) -> AssignDevicesToOwnerRequest {
    read(body.as_bytes(), LIST).unwrap_or_else(|refused| panic!("{body}: {refused:?}"))
}

#[test]
fn every_member_is_read() {
    let body = r#" {"deviceType":"sensor","autoCreateDevices":true,"deviceIdentifiers":["SN-1",""],"customerEmail":"\u00fc"}
"#;
    let expected = AssignDevicesToOwnerRequest {
        customer_email: "ü".into(),
        device_identifiers: vec!["SN-1".into(), String::new()],
        auto_create_devices: true,
        device_type: Some("sensor".into()),
    };
    assert_eq!(understood(body), expected);
}

#[test]
fn null_is_absent() {
    let nulls = r#"{"customerEmail":null,"deviceIdentifiers":null,"autoCreateDevices":null,"deviceType":null}"#;
    assert_eq!(understood("{}"), AssignDevicesToOwnerRequest::default());
    assert_eq!(understood(nulls), AssignDevicesToOwnerRequest::default());
}

#[tokio::test]
async fn what_is_no_object_is_refused() {
    let bodies = [
        "",
        " \n",
        "null",
        "true",
        "7",
        r#""{}""#,
        "[]",
        "[{}]",
        r#"["ann@example.com",["SN-1"],false,null]"#,
        "\u{feff}{}",
    ];
    for body in bodies {
        assert_eq!(
            refusal(body).await,
            "The request body must be a JSON object",
            "{body:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_json_is_refused() {
    let cases = [
        ("{", "EOF while parsing an object at line 1 column 1"),
        ("{} x", "trailing characters at line 1 column 4"),
        ("{}{}", "trailing characters at line 1 column 3"),
        (r#"{"deviceType":"a",}"#, "trailing comma at line 1 column 19"),
        ("{'deviceType':1}", "key must be a string at line 1 column 2"),
        ("{\n\"autoCreateDevices\":NaN}", "expected value at line 2 column 21"),
        (
            r#"{"deviceType":"\ud800"}"#,
            "unexpected end of hex escape at line 1 column 22",
        ),
        (
            "{\"deviceType\":\"a\nb\"}",
            "control character (\\u0000-\\u001F) found while parsing a string at line 2 column 0",
        ),
    ];
    for (body, problem) in cases {
        assert_eq!(refusal(body).await, format!("Invalid JSON: {problem}"), "{body}");
    }
    let not_utf_8 = b"{\"deviceType\":\"\xff\"}".to_vec();
    let problem = "Invalid JSON: invalid unicode code point at line 1 column 16";
    assert_eq!(refusal(not_utf_8).await, problem);
}

#[tokio::test]
async fn a_member_of_another_type_or_name_is_refused_by_its_name() {
    let cases = [
        (
            r#"{"customerEmail":1}"#,
            "customerEmail",
            "integer `1`, expected a string",
        ),
        (
            r#"{"customerEmail":["a"]}"#,
            "customerEmail",
            "sequence, expected a string",
        ),
        (
            r#"{"deviceIdentifiers":"SN-1"}"#,
            "deviceIdentifiers",
            r#"string "SN-1", expected a sequence"#,
        ),
        (
            r#"{"deviceIdentifiers":["a",null]}"#,
            "deviceIdentifiers[1]",
            "null, expected a string",
        ),
        (
            r#"{"deviceIdentifiers":["a","b",3]}"#,
            "deviceIdentifiers[2]",
            "integer `3`, expected a string",
        ),
        (
            r#"{"autoCreateDevices":"true"}"#,
            "autoCreateDevices",
            r#"string "true", expected a boolean"#,
        ),
        (
            r#"{"autoCreateDevices":1}"#,
            "autoCreateDevices",
            "integer `1`, expected a boolean",
        ),
        // Without a use for it, too.
        (
            r#"{"autoCreateDevices":false,"deviceType":5}"#,
            "deviceType",
            "integer `5`, expected a string",
        ),
    ];
    for (body, field, mismatch) in cases {
        let (status, envelope) = send(Some("application/json"), body).await;
        assert_eq!(status, 400, "{body}");
        let sentence = envelope["error"].as_str().expect("a sentence");
        assert!(
            sentence.starts_with(&format!("{field}: invalid type: {mismatch} at line 1")),
            "{sentence}"
        );
        let violation = json!([{ "field": field, "description": sentence }]);
        assert_eq!(envelope["fieldViolations"], violation, "{body}");
    }

    for member in ["autoCreateDevice", "customer_email", "CustomerEmail", "success"] {
        let (status, envelope) = send(None, json!({ member: true }).to_string()).await;
        assert_eq!(status, 400, "{member}");
        let sentence = envelope["error"].as_str().expect("a sentence");
        assert!(
            sentence.starts_with(&format!("{member}: unknown field `{member}`, expected one of")),
            "{sentence}"
        );
        let violation = json!([{ "field": member, "description": sentence }]);
        assert_eq!(envelope["fieldViolations"], violation, "{member}");
    }
}

#[tokio::test]
async fn a_member_may_stand_once() {
    let cases = [
        (r#"{"customerEmail":"a","customerEmail":"a"}"#, "customerEmail"),
        (r#"{"deviceType":null,"deviceType":"a"}"#, "deviceType"),
        (
            r#"{"deviceIdentifiers":["a"],"deviceIdentifiers":null}"#,
            "deviceIdentifiers",
        ),
        // The same name, written otherwise.
        (
            r#"{"autoCreateDevices":true,"auto\u0043reateDevices":false}"#,
            "autoCreateDevices",
        ),
    ];
    for (body, member) in cases {
        let (status, envelope) = send(None, body).await;
        assert_eq!(status, 400, "{body}");
        let sentence = envelope["error"].as_str().expect("a sentence");
        let expected = format!("Invalid JSON: duplicate field `{member}` at line 1");
        assert!(sentence.starts_with(&expected), "{sentence}");
        // The reader does not say which member it was in but in words.
        assert_eq!(envelope.get("fieldViolations"), None);
    }
}

#[tokio::test]
async fn a_body_says_that_it_is_json_or_nothing() {
    let json = [
        None,
        Some("application/json"),
        Some("Application/JSON"),
        Some("application/json; charset=utf-8"),
        Some("application/json;charset=\"UTF-8\""),
        Some("application/json ; charset=utf-8"),
        Some("application/problem+json"),
        Some("application/vnd.telemetron.v1+json; charset=utf-8"),
    ];
    for content_type in json {
        assert_eq!(send(content_type, VALID).await, (200, Value::Null), "{content_type:?}");
    }
    let others = [
        "",
        "json",
        "text/plain",
        "text/json",
        "text/vnd.api+json",
        "application/jsonx",
        "application/json, text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "*/*",
    ];
    for content_type in others {
        let (status, envelope) = send(Some(content_type), VALID).await;
        assert_eq!(status, 415, "{content_type}");
        assert_eq!(envelope["error"], "Content-Type must be application/json");
    }
}

/// How many identifiers a body is refused for; `None` when it is not.
fn too_many(body: &str) -> Option<usize> {
    match read::<AssignDevicesToOwnerRequest>(body.as_bytes(), LIST) {
        Err(RejectedRequest { devices, .. }) if devices > 0 => Some(devices),
        _ => None,
    }
}

#[tokio::test]
async fn a_list_that_is_too_long_is_refused_with_the_limit() {
    let (status, envelope) = send(None, r#"{"deviceIdentifiers":["1","2","3","4"]}"#).await;
    let sentence = "Too many devices. Maximum 3 per request";
    assert_eq!((status, &envelope["error"]), (400, &json!(sentence)));
    let violation = json!([{ "field": "deviceIdentifiers", "description": sentence }]);
    assert_eq!(envelope["fieldViolations"], violation);
}

#[test]
fn a_list_is_measured_whatever_is_around_it() {
    for (body, devices) in [
        (r#"{"deviceIdentifiers":["1","2","3"]}"#, None),
        (
            r#"{"customerEmail":"a,b,c,d,e,f","deviceIdentifiers":["1,2,3,4,5"]}"#,
            None,
        ),
        (r#"{"deviceIdentifiers":["1","2","3","4"]}"#, Some(4)),
        (r#"{"device\u0049dentifiers":["1","2","3","4"]}"#, Some(4)),
        (
            r#"{"deviceIdentifiers":["1"],"deviceIdentifiers":["2","3","4"]}"#,
            Some(4),
        ),
        // Refused for what is wrong with it, but not before it would have taken memory.
        (r#"{"deviceIdentifiers":["1","2","3","4","5""#, Some(5)),
        (r#"{"deviceIdentifiers":["1","2","3","4",nonsense"#, Some(4)),
        // Never read.
        (r#"{"deviceIdentifiers":7,"x":["1","2","3","4"]}"#, None),
        (r#"{"x":["1","2","3","4"]}"#, None),
    ] {
        assert_eq!(too_many(body), devices, "{body}");
    }
}

proptest! {
    #[test]
    fn a_list_is_measured_as_it_is_read(devices in proptest::collection::vec(".{0,5}", 0..12)) {
        let body = json!({ "customerEmail": "ann@example.com", "deviceIdentifiers": devices }).to_string();
        let expected = (devices.len() > LIST.max).then_some(devices.len());
        prop_assert_eq!(too_many(&body), expected);
    }
}
