//! What must be rejected: one table, each row a call that must not change the database.

use serde_json::{Value, json};

use super::{JOHN, World};
use crate::support::{Api, TestDatabase, TestServer};

/// A call that must be rejected: for many devices, or for one.
struct Rejection {
    name: &'static str,
    is_one: bool,
    request: Value,
    code: &'static str,
    http: u16,
    reason: &'static str,
    error: &'static str,
    /// The invalid fields.
    fields: &'static [&'static str],
}

fn rejections() -> Vec<Rejection> {
    const REQUIRED: &str = "customerEmail is required";
    let mut table = Vec::new();
    let mut invalid = |name, is_one, request, error, fields| {
        table.push(Rejection {
            name,
            is_one,
            request,
            code: "INVALID_ARGUMENT",
            http: 400,
            reason: "INVALID_REQUEST",
            error,
            fields,
        });
    };
    let many = |ids: &[&str]| json!({ "customerEmail": JOHN, "deviceIdentifiers": ids });
    let one = |id: &str| json!({ "customerEmail": JOHN, "deviceIdentifier": id });
    invalid(
        "many_nothing",
        false,
        json!({}),
        "customerEmail is required (the first of 2 problems)",
        &["customerEmail", "deviceIdentifiers"],
    );
    invalid(
        "many_no_email",
        false,
        json!({ "deviceIdentifiers": ["SN-001"] }),
        REQUIRED,
        &["customerEmail"],
    );
    invalid(
        "many_no_devices",
        false,
        many(&[]),
        "deviceIdentifiers must not be empty",
        &["deviceIdentifiers"],
    );
    invalid(
        "many_blank",
        false,
        many(&["SN-001", " "]),
        "deviceIdentifiers[1] must not be empty",
        &["deviceIdentifiers[1]"],
    );
    let too_many: Vec<String> = (0..10_001).map(|number| format!("SN-{}", number % 10)).collect();
    let too_many: Vec<&str> = too_many.iter().map(String::as_str).collect();
    invalid(
        "many_10001_with_repetitions",
        false,
        many(&too_many),
        "Too many devices. Maximum 10000 per request",
        &["deviceIdentifiers"],
    );
    invalid(
        "one_nothing",
        true,
        json!({}),
        "customerEmail is required (the first of 2 problems)",
        &["customerEmail", "deviceIdentifier"],
    );
    invalid(
        "one_blank",
        true,
        one(" \t"),
        "deviceIdentifier is required",
        &["deviceIdentifier"],
    );
    invalid(
        "one_control_character",
        true,
        one("SN\0-001"),
        "deviceIdentifier must not contain control characters",
        &["deviceIdentifier"],
    );
    invalid(
        "one_256_characters",
        true,
        one(&"ä".repeat(256)),
        "deviceIdentifier must be at most 255 characters",
        &["deviceIdentifier"],
    );
    invalid(
        "one_no_email_address",
        true,
        json!({ "customerEmail": "john", "deviceIdentifier": "SN-001" }),
        "customerEmail must be a valid email address",
        &["customerEmail"],
    );
    let mut other = |name, is_one, request, (code, http, reason), error| {
        table.push(Rejection {
            name,
            is_one,
            request,
            code,
            http,
            reason,
            error,
            fields: &[],
        });
    };
    let unknown = "There is no customer with this customerEmail in your organization";
    let not_found = ("NOT_FOUND", 404, "CUSTOMER_NOT_FOUND");
    let stranger = "stranger@example.com";
    other(
        "many_unknown_customer",
        false,
        json!({ "customerEmail": stranger, "deviceIdentifiers": ["SN-001"] }),
        not_found,
        unknown,
    );
    other(
        "one_unknown_customer",
        true,
        json!({ "customerEmail": stranger, "deviceIdentifier": "SN-001" }),
        not_found,
        unknown,
    );
    let not_assigned = ("FAILED_PRECONDITION", 400, "NOT_ASSIGNED");
    let sentence = "The device is not assigned to this customer";
    for (name, device) in [
        ("one_unknown_device", "SN-999"),
        ("one_of_another_customer", "SN-002"),
        ("one_of_nobody", "SN-005"),
        ("one_of_another_organization", "OTHER-1"),
        ("one_in_other_letters", "sn-001"),
    ] {
        other(name, true, one(device), not_assigned, sentence);
    }
    table
}

/// Makes every call of the table for many devices, or every one for one device, on one database.
pub async fn are_rejected(database: &TestDatabase, api: Api, is_one: bool) {
    let World { key, .. } = World::new(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let before = database.dump().await;
    for rejection in rejections().iter().filter(|rejection| rejection.is_one == is_one) {
        let name = rejection.name;
        let answer = if is_one {
            client.call_unassign_one(&rejection.request).await
        } else {
            client.call_unassign(&rejection.request).await
        };
        let answer = answer.in_json_names();
        assert_eq!(
            (answer.code.as_str(), answer.error.as_str(), answer.reason.as_deref()),
            (rejection.code, rejection.error, Some(rejection.reason)),
            "{name}"
        );
        let fields: Vec<&str> = answer.violations.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, rejection.fields, "{name}");
        assert!(answer.http.is_none_or(|(status, _)| status == rejection.http), "{name}");
        assert_eq!(database.dump().await, before, "{name}: a rejected call changes nothing");
    }
    server.stop().await;
}
