//! Calls that must fail: one table, each row a call that must not change the database.

use serde_json::{Value, json};

use super::{long_email, world};
use crate::support::{Api, Client, TestDatabase, TestServer};

/// A call that must fail.
struct Refusal {
    name: &'static str,
    request: Value,
    code: &'static str,
    reason: &'static str,
    error: String,
    violations: Vec<(String, String)>,
}

/// `http` is the status that belongs to `code`.
const HTTP: [(&str, u16); 4] = [
    ("OK", 200),
    ("INVALID_ARGUMENT", 400),
    ("FAILED_PRECONDITION", 400),
    ("UNAUTHENTICATED", 401),
];

fn refusals() -> Vec<Refusal> {
    let mut table = Vec::new();
    let mut invalid = |name, request: Value, violations: &[(&str, &str)]| {
        let error = match violations {
            [(_, only)] => (*only).to_owned(),
            [(_, first), ..] => format!("{first} (the first of {} problems)", violations.len()),
            [] => unreachable!("a refusal has a reason"),
        };
        let owned = violations
            .iter()
            .map(|(field, text)| ((*field).to_owned(), (*text).to_owned()));
        table.push(Refusal {
            name,
            request,
            code: "INVALID_ARGUMENT",
            reason: "INVALID_REQUEST",
            error,
            violations: owned.collect(),
        });
    };
    let email = |email: &str| json!({ "customerEmail": email, "deviceIdentifiers": ["SN-001"] });
    let ids = |ids: &[&str]| json!({ "customerEmail": "john.doe@example.com", "deviceIdentifiers": ids });
    let required = [("customerEmail", "customerEmail is required")];
    let not_valid = [("customerEmail", "customerEmail must be a valid email address")];
    let empty = [("deviceIdentifiers", "deviceIdentifiers must not be empty")];

    invalid("nothing", json!({}), &[required[0], empty[0]]);
    invalid("email_missing", json!({ "deviceIdentifiers": ["SN-001"] }), &required);
    invalid("email_empty", email(""), &required);
    invalid("email_blank", email(" \t\u{a0} "), &required);
    invalid("email_no_at", email("john.doe"), &not_valid);
    invalid("email_no_dot", email("john@localhost"), &not_valid);
    invalid("email_display_name", email("John <john.doe@example.com>"), &not_valid);
    invalid("email_brackets", email("<john.doe@example.com>"), &not_valid);
    invalid("email_domain_literal", email("john@[127.0.0.1]"), &not_valid);
    invalid("email_two", email("a@example.com,b@example.com"), &not_valid);
    invalid("email_nul", email("john\0@example.com"), &not_valid);
    invalid("email_255_bytes", email(&long_email(255)), &not_valid);
    invalid(
        "identifiers_missing",
        json!({ "customerEmail": "john.doe@example.com" }),
        &empty,
    );
    invalid("identifiers_empty", ids(&[]), &empty);
    invalid(
        "identifier_blank",
        ids(&["SN-001", " \n "]),
        &[("deviceIdentifiers[1]", "deviceIdentifiers[1] must not be empty")],
    );
    invalid(
        "identifier_256_characters",
        ids(&["SN-001", "SN-002", &"ä".repeat(256)]),
        &[(
            "deviceIdentifiers[2]",
            "deviceIdentifiers[2] must be at most 255 characters",
        )],
    );
    invalid(
        "identifier_nul",
        ids(&["SN\0-001"]),
        &[(
            "deviceIdentifiers[0]",
            "deviceIdentifiers[0] must not contain control characters",
        )],
    );
    invalid(
        "identifier_delete",
        ids(&["SN\u{7f}-001"]),
        &[(
            "deviceIdentifiers[0]",
            "deviceIdentifiers[0] must not contain control characters",
        )],
    );
    let create = |device_type: Value| {
        json!({
            "customerEmail": "john.doe@example.com",
            "deviceIdentifiers": ["SN-003"],
            "autoCreateDevices": true,
            "deviceType": device_type,
        })
    };
    let type_required = [("deviceType", "deviceType is required when autoCreateDevices is true")];
    invalid("type_null", create(Value::Null), &type_required);
    invalid("type_empty", create(json!("")), &type_required);
    invalid("type_blank", create(json!("  ")), &type_required);
    invalid(
        "type_101_characters",
        create(json!("t".repeat(101))),
        &[("deviceType", "deviceType must be at most 100 characters")],
    );
    invalid(
        "type_control_character",
        create(json!("sen\0sor")),
        &[("deviceType", "deviceType must not contain control characters")],
    );
    invalid(
        "every_field_at_once",
        json!({ "customerEmail": "x", "deviceIdentifiers": ["", "\u{1}"], "autoCreateDevices": true }),
        &[
            not_valid[0],
            ("deviceIdentifiers[0]", "deviceIdentifiers[0] must not be empty"),
            (
                "deviceIdentifiers[1]",
                "deviceIdentifiers[1] must not contain control characters",
            ),
            type_required[0],
        ],
    );

    // No sentence repeats a text of the caller, in which the gateway would replace the names of fields.
    invalid(
        "values_that_are_names_of_fields",
        json!({
            "customerEmail": "device_identifiers",
            "deviceIdentifiers": ["customer_email\u{1}", "auto_create_devices"],
            "autoCreateDevices": true,
            "deviceType": "device_type\u{1}",
        }),
        &[
            not_valid[0],
            (
                "deviceIdentifiers[0]",
                "deviceIdentifiers[0] must not contain control characters",
            ),
            ("deviceType", "deviceType must not contain control characters"),
        ],
    );

    let too_many: Vec<String> = (0..10_001).map(|number| format!("SN-{}", number % 10)).collect();
    table.push(Refusal {
        name: "10001_identifiers_with_repetitions",
        request: json!({ "customerEmail": "john.doe@example.com", "deviceIdentifiers": too_many }),
        code: "INVALID_ARGUMENT",
        reason: "INVALID_REQUEST",
        error: "Too many devices. Maximum 10000 per request".into(),
        violations: vec![(
            "deviceIdentifiers".into(),
            "Too many devices. Maximum 10000 per request".into(),
        )],
    });
    table.push(Refusal {
        name: "more_violations_than_are_listed",
        request: json!({ "customerEmail": "john.doe@example.com", "deviceIdentifiers": vec![""; 100] }),
        code: "INVALID_ARGUMENT",
        reason: "INVALID_REQUEST",
        error: "deviceIdentifiers[0] must not be empty (the first of 100 problems)".into(),
        violations: (0..16)
            .map(|index| {
                let field = format!("deviceIdentifiers[{index}]");
                (field.clone(), format!("{field} must not be empty"))
            })
            .collect(),
    });
    let no_devices = |name, count: usize, request| Refusal {
        name,
        request,
        code: "FAILED_PRECONDITION",
        reason: "NO_VALID_DEVICES",
        error: format!(
            "No valid devices: none of the {count} device identifiers exist in your organization; \
             set autoCreateDevices to create them"
        ),
        violations: Vec::new(),
    };
    table.push(no_devices(
        "no_valid_devices_of_a_new_customer",
        2,
        json!({ "customerEmail": "new@example.com", "deviceIdentifiers": ["X-1", "X-2", " X-1 "] }),
    ));
    table.push(no_devices(
        "no_valid_devices_when_cases_differ",
        1,
        json!({ "customerEmail": "john.doe@example.com", "deviceIdentifiers": ["sn-001"] }),
    ));
    table.push(no_devices(
        "no_valid_devices_in_this_organization",
        1,
        json!({ "customerEmail": "john.doe@example.com", "deviceIdentifiers": ["OTHER-1"], "deviceType": "ignored" }),
    ));
    table
}

/// Makes every call of the table on one database.
pub async fn are_refused(database: &TestDatabase, api: Api) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let before = database.dump().await;
    for refusal in refusals() {
        is_refused(&client, api, &refusal).await;
        let after = database.dump().await;
        assert_eq!(after, before, "{}: a call that fails changes nothing", refusal.name);
    }
    server.stop().await;
}

async fn is_refused(client: &Client, api: Api, refusal: &Refusal) {
    let name = refusal.name;
    let answer = client.call(&refusal.request).await;

    // Each API has its own names of the fields.
    let sentences = answer.violations.iter().map(|(_, description)| description);
    let sentences: Vec<&String> = sentences.chain([&answer.error]).collect();
    let names = match api {
        Api::Grpc => ["customerEmail", "deviceIdentifiers", "deviceType", "autoCreateDevices"],
        Api::Rest | Api::RemoteRest => [
            "customer_email",
            "device_identifiers",
            "device_type",
            "auto_create_devices",
        ],
    };
    for field in names {
        assert!(
            !sentences.iter().any(|text| text.contains(field)),
            "{name}: {sentences:?}"
        );
    }
    let answer = answer.in_json_names();
    assert_eq!(answer.code, refusal.code, "{name}: {answer:?}");
    assert_eq!(answer.error, refusal.error, "{name}");
    assert_eq!(answer.violations, refusal.violations, "{name}");
    assert!(!answer.request_id.is_empty(), "{name}");
    assert_eq!(answer.reason.as_deref(), Some(refusal.reason), "{name}");
    if let Some((status, _)) = &answer.http {
        let expected = HTTP.iter().find(|(code, _)| *code == refusal.code).expect("a status");
        assert_eq!(*status, expected.1, "{name}");
    }
}
