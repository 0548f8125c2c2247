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
use crate::pb::{AssignDevicesToOwnerRequest, ListCustomersRequest};

const LIST: BoundedList = BoundedList {
    member: "deviceIdentifiers",
    max: 3,
};
const OPERATION: Operation = Operation {
    name: "AssignDevicesToOwner",
    list: Some(LIST),
    answer_list_bytes: 0,
};
const VALID: &str = r#"{"customerEmail":"ann@example.com","deviceIdentifiers":["SN-1"]}"#;

/// Sends a body and returns the status and the envelope, or `null` for a valid body.
async fn send(content_type: Option<&'static str>, body: impl Into<Body>) -> (u16, Value) {
    let handle = async |headers: HeaderMap, body: Bytes| {
        check_type(&headers)?;
        let read = read::<AssignDevicesToOwnerRequest>(&body, OPERATION);
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

/// The sentence about an invalid body.
async fn refusal(body: impl Into<Body>) -> String {
    let (status, envelope) = send(Some("application/json"), body).await;
    assert_eq!((status, &envelope["code"]), (400, &json!("INVALID_ARGUMENT")));
    envelope["error"].as_str().expect("a sentence").to_owned()
}

fn understood(body: &'static str) -> AssignDevicesToOwnerRequest {
    read(body.as_bytes(), OPERATION).unwrap_or_else(|refused| panic!("{body}: {refused:?}"))
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
        validate_only: false,
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
async fn a_body_that_is_not_an_object_is_an_error() {
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
async fn a_syntax_error_is_explained() {
    let cases: [(&[u8], &str); 12] = [
        (b"{", "the body ends too early (line 1, column 1)"),
        (b"{\"deviceType\":\"a", "the body ends too early (line 1, column 16)"),
        (b"{} x", "unexpected character x (line 1, column 4)"),
        (b"{}{}", "unexpected character { (line 1, column 3)"),
        (b"{\"deviceType\":\"a\",}", "unexpected character } (line 1, column 19)"),
        (b"{'deviceType':1}", "unexpected character ' (line 1, column 2)"),
        (
            b"{\n\"autoCreateDevices\":NaN}",
            "unexpected character N (line 2, column 21)",
        ),
        (
            b"{\"deviceType\":\"\\ud800\"}",
            "unexpected character \" (line 1, column 22)",
        ),
        (
            b"{\"deviceType\":\"a\nb\"}",
            "unexpected control character (line 2, column 0)",
        ),
        (b"{\"deviceType\":\"\xff\"}", "unexpected byte 0xff (line 1, column 16)"),
        ("{ü}".as_bytes(), "unexpected character ü (line 1, column 2)"),
        (
            b"{\"deviceType\":\x00}",
            "unexpected control character (line 1, column 15)",
        ),
    ];
    for (body, problem) in cases {
        assert_eq!(refusal(body).await, format!("Invalid JSON: {problem}"));
    }
}

/// The envelope of a body with one wrong member, which must name it.
async fn mismatch(body: &str, field: &str) -> String {
    let (status, envelope) = send(Some("application/json"), body.to_owned()).await;
    assert_eq!((status, &envelope["reason"]), (400, &json!("INVALID_JSON")), "{body}");
    let sentence = envelope["error"].as_str().expect("a sentence");
    let violation = json!([{ "field": field, "description": sentence }]);
    assert_eq!(envelope["fieldViolations"], violation, "{body}");
    sentence.to_owned()
}

#[tokio::test]
async fn a_member_of_another_type_is_an_error() {
    let (text, texts, flag) = (
        "must be a string",
        "must be an array of strings",
        "must be true or false",
    );
    let cases = [
        (r#"{"customerEmail":1}"#, "customerEmail", text, 18),
        (r#"{"customerEmail":["a"]}"#, "customerEmail", text, 18),
        (r#"{"customerEmail":{"a":[1]}}"#, "customerEmail", text, 26),
        (r#"{"deviceIdentifiers":"SN-1"}"#, "deviceIdentifiers", texts, 27),
        (r#"{"deviceIdentifiers":true}"#, "deviceIdentifiers", texts, 25),
        (r#"{"deviceIdentifiers":{"0":"a"}}"#, "deviceIdentifiers", texts, 30),
        (r#"{"deviceIdentifiers":["a",null]}"#, "deviceIdentifiers[1]", text, 30),
        (r#"{"deviceIdentifiers":["a","b",3]}"#, "deviceIdentifiers[2]", text, 31),
        (r#"{"deviceIdentifiers":["a",["b"]]}"#, "deviceIdentifiers[1]", text, 27),
        (r#"{"autoCreateDevices":"true"}"#, "autoCreateDevices", flag, 27),
        (r#"{"autoCreateDevices":1}"#, "autoCreateDevices", flag, 22),
        (r#"{"autoCreateDevices":-1.5}"#, "autoCreateDevices", flag, 25),
        // Even where it is ignored.
        (r#"{"autoCreateDevices":false,"deviceType":5}"#, "deviceType", text, 41),
    ];
    for (body, field, rule, column) in cases {
        let expected = format!("{field} {rule} (line 1, column {column})");
        assert_eq!(mismatch(body, field).await, expected, "{body}");
    }
}

#[tokio::test]
async fn an_unknown_member_is_an_error() {
    for member in ["autoCreateDevice", "customer_email", "CustomerEmail", "success"] {
        let sentence = mismatch(&json!({ member: true }).to_string(), member).await;
        let column = member.len() + 3;
        let expected = format!(
            "{member} is not a member of this request; the members are customerEmail, deviceIdentifiers, \
             autoCreateDevices, deviceType, validateOnly (line 1, column {column})"
        );
        assert_eq!(sentence, expected);
    }
    // Only its beginning is quoted.
    let long = "x".repeat(100_000);
    let sentence = refusal(json!({ long: true }).to_string()).await;
    assert!(sentence.len() < 400, "{} bytes", sentence.len());
}

#[tokio::test]
async fn a_repeated_member_is_an_error() {
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
        let sentence = mismatch(body, member).await;
        let expected = format!("{member} is repeated; send it once (line 1, column ");
        assert!(sentence.starts_with(&expected), "{sentence}");
    }
}

/// How many elements a list has, or an object in its place.
fn elements(list: &str) -> usize {
    match serde_json::from_str(list) {
        Ok(Value::Array(elements)) => elements.len(),
        Ok(Value::Object(members)) => members.len(),
        _ => 0,
    }
}

proptest! {
    /// The derived deserializer and the explanation agree on what is wrong, and serde's words never show.
    #[test]
    fn every_problem_has_an_explanation(
        members in proptest::collection::vec(
            (
                prop_oneof![
                    Just("customerEmail"), Just("deviceIdentifiers"), Just("autoCreateDevices"), Just("deviceType"),
                    Just("other"),
                ],
                prop_oneof![
                    Just("null"), Just("true"), Just("1"), Just("-7"), Just("1.5"), Just("\"a\""), Just("[]"),
                    Just("[\"a\"]"), Just("[\"a\",1]"), Just("[null]"), Just("{}"), Just("{\"a\":{}}"), Just("1e999"),
                    Just("nul"),
                ],
            ),
            0..4,
        ),
    ) {
        // A repeated list counts whole, and is too long before it is repeated.
        let lists = members.iter().filter(|(name, _)| *name == LIST.member);
        let is_too_long = lists.map(|(_, list)| elements(list)).sum::<usize>() > LIST.max;
        let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        let body = format!("{{{}}}", members.join(", "));
        if let Err(rejected) = read::<AssignDevicesToOwnerRequest>(body.as_bytes(), OPERATION) {
            let sentence = rejected.problem.sentence().to_owned();
            if sentence.starts_with("Too many devices") {
                prop_assert!(is_too_long, "{}: {}", body, sentence);
            } else {
                prop_assert!(sentence.ends_with(')') && !sentence.starts_with("Invalid JSON ("), "{}: {}", body, sentence);
            }
            for word in ["expected a", "sequence", "invalid type", "unknown field", "duplicate", "mismatch"] {
                prop_assert!(!sentence.contains(word), "{}: {}", body, sentence);
            }
        }
    }
}

#[tokio::test]
async fn the_content_type_is_json_or_missing() {
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

/// The number of identifiers, if it is too large.
fn too_many(body: &str) -> Option<usize> {
    match read::<AssignDevicesToOwnerRequest>(body.as_bytes(), OPERATION) {
        Err(RejectedRequest { devices, .. }) if devices > 0 => Some(devices),
        _ => None,
    }
}

#[tokio::test]
async fn a_list_that_is_too_long_is_an_error_with_the_limit() {
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
        // Rejected for their length before they take memory, whatever else is wrong.
        (r#"{"deviceIdentifiers":["1","2","3","4","5""#, Some(5)),
        (r#"{"deviceIdentifiers":["1","2","3","4",nonsense"#, Some(4)),
        // Other members do not count.
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

#[test]
fn a_whole_number_may_be_written_as_a_decimal() {
    const LISTS: Operation = Operation {
        name: "ListCustomers",
        list: None,
        answer_list_bytes: 0,
    };
    let read = |body: &str| read::<ListCustomersRequest>(body.as_bytes(), LISTS);
    let message = read(r#"{"pageSize":2.0,"minRevision":71.0}"#).expect("a message");
    assert_eq!((message.page_size, message.min_revision), (2, 71));
    for (body, sentence) in [
        (
            r#"{"minRevision":71.0,"pageSize":2.5}"#,
            "pageSize must be an integer (line 1, column 34)",
        ),
        (
            r#"{"pageSize":2147483648.0}"#,
            "pageSize must be an integer (line 1, column 24)",
        ),
        (
            r#"{"minRevision":-1.0}"#,
            "minRevision must be a number of 0 to 18446744073709551615, as a string of digits (line 1, column 19)",
        ),
    ] {
        let rejected = read(body).expect_err("a mistake");
        assert!(format!("{rejected:?}").contains(sentence), "{rejected:?}");
    }
}
