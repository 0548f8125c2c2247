//! What must be rejected: one table, each row a call that must not change the database.

use serde_json::{Value, json};

use super::{JANE, JOHN, World, call::Call};
use crate::support::{Api, TestDatabase, TestServer};

/// A call that must be rejected.
struct Rejection {
    name: &'static str,
    call: Call,
    /// The request, given the id of John.
    request: fn(&str) -> Value,
    status: Status,
    error: &'static str,
    /// The invalid fields.
    fields: &'static [&'static str],
}

/// Code, HTTP status and reason.
type Status = (&'static str, u16, &'static str);

const INVALID: Status = ("INVALID_ARGUMENT", 400, "INVALID_REQUEST");
const NO_CUSTOMER: Status = ("NOT_FOUND", 404, "CUSTOMER_NOT_FOUND");
const NO_DEVICE: Status = ("NOT_FOUND", 404, "DEVICE_NOT_FOUND");
const TAKEN: Status = ("ALREADY_EXISTS", 409, "CUSTOMER_EXISTS");

/// An id of no customer.
const NOBODY: &str = "cust_01h455vb4pex5vsknk084sn02q";

macro_rules! rejections {
    ($($name:literal, $call:ident, $request:expr, $status:expr, $error:literal, [$($field:literal),*];)*) => {
        vec![$(Rejection {
            name: $name,
            call: Call::$call,
            request: $request,
            status: $status,
            error: $error,
            fields: &[$($field),*],
        }),*]
    };
}

fn nested(depth: usize) -> Value {
    (1..depth).fold(json!({}), |inner, _| json!({ "a": inner }))
}

fn rejections() -> Vec<Rejection> {
    rejections![
        "device_nothing", SaveDevice, |_| json!({}), INVALID, "identifier is required", ["identifier"];
        "device_blank", SaveDevice, |_| json!({ "identifier": " ", "type": "sensor" }), INVALID,
            "identifier is required", ["identifier"];
        "device_control_character", SaveDevice, |_| json!({ "identifier": "SN\0", "type": "sensor" }), INVALID,
            "identifier must not contain control characters", ["identifier"];
        "device_256_characters", SaveDevice, |_| json!({ "identifier": "x".repeat(256), "type": "sensor" }), INVALID,
            "identifier must be at most 255 characters", ["identifier"];
        "device_new_without_type", SaveDevice, |_| json!({ "identifier": "NEW" }), INVALID,
            "type is required for a new device", ["type"];
        "device_of_another_organization_without_type", SaveDevice, |_| json!({ "identifier": "OTHER-1" }), INVALID,
            "type is required for a new device", ["type"];
        "device_empty_type", SaveDevice, |_| json!({ "identifier": "SN-001", "type": "" }), INVALID,
            "type must not be empty", ["type"];
        "device_101_characters_of_type", SaveDevice, |_| json!({ "identifier": "SN-001", "type": "x".repeat(101) }), INVALID,
            "type must be at most 100 characters", ["type"];
        "device_properties_no_object", SaveDevice, |_| json!({ "identifier": "SN-001", "properties": [1] }), INVALID,
            "properties must be a JSON object", ["properties"];
        "device_properties_too_deep", SaveDevice,
            |_| json!({ "identifier": "SN-001", "properties": nested(33) }), INVALID,
            "properties must have at most 32 levels of objects and arrays", ["properties"];
        "device_properties_too_large", SaveDevice,
            |_| json!({ "identifier": "SN-001", "properties": { "a": "x".repeat(65_536) } }), INVALID,
            "properties must be at most 65536 bytes", ["properties"];
        "device_properties_null_character", SaveDevice,
            |_| json!({ "identifier": "SN-001", "properties": { "a": "\0" } }), INVALID,
            "properties must not contain the character U+0000 (byte 6)", ["properties"];
        "device_every_field", SaveDevice, |_| json!({ "identifier": "", "type": "\0", "properties": 1 }), INVALID,
            "identifier is required (the first of 3 problems)", ["identifier", "type", "properties"];
        "metadata_no_entries", SaveMetadata, |_| json!({ "devices": {} }), INVALID,
            "devices must contain at least one entry", ["devices"];
        "metadata_1001_entries", SaveMetadata, |_| {
            let devices = (0..1_001).map(|number| (format!("SN-{number}"), json!({})));
            json!({ "devices": devices.collect::<serde_json::Map<_, _>>() })
        }, INVALID, "Too many devices. Maximum 1000 per request", ["devices"];
        "metadata_no_object", SaveMetadata, |_| json!({ "devices": { "SN-001": {}, "SN-002": "x" } }), INVALID,
            "devices[1].metadata must be a JSON object", ["devices[1].metadata"];
        "metadata_blank_identifier", SaveMetadata, |_| json!({ "devices": { "SN-001": {}, " ": {} } }), INVALID,
            "devices[1].identifier must not be empty", ["devices[1].identifier"];
        "metadata_equal_after_the_trim", SaveMetadata, |_| json!({ "devices": { "SN-001": {}, "SN-001 ": {} } }), INVALID,
            "devices[1].identifier is repeated; send it once", ["devices[1].identifier"];
        "metadata_too_deep", SaveMetadata, |_| json!({ "devices": { "SN-001": nested(33) } }), INVALID,
            "devices[0].metadata must have at most 32 levels of objects and arrays", ["devices[0].metadata"];
        "delete_device_nothing", DeleteDevice, |_| json!({}), INVALID, "identifier is required", ["identifier"];
        "delete_device_unknown", DeleteDevice, |_| json!({ "identifier": "SN-999" }), NO_DEVICE,
            "There is no device with this identifier in your organization", [];
        "delete_device_of_another_organization", DeleteDevice, |_| json!({ "identifier": "OTHER-1" }), NO_DEVICE,
            "There is no device with this identifier in your organization", [];
        "delete_device_in_other_letters", DeleteDevice, |_| json!({ "identifier": "sn-001" }), NO_DEVICE,
            "There is no device with this identifier in your organization", [];
        "customer_nothing", SaveCustomer, |_| json!({}), INVALID, "email is required", ["email"];
        "customer_no_email_address", SaveCustomer, |_| json!({ "email": "john" }), INVALID,
            "email must be a valid email address", ["email"];
        "customer_empty_name", SaveCustomer, |_| json!({ "email": "new@example.com", "name": " " }), INVALID,
            "name must not be empty", ["name"];
        "customer_long_values", SaveCustomer, |_| json!({
            "email": "new@example.com",
            "name": "x".repeat(256),
            "phone": "1".repeat(65),
            "address": "x".repeat(1_001),
        }), INVALID, "name must be at most 255 characters (the first of 3 problems)", ["name", "phone", "address"];
        "customer_metadata_no_object", SaveCustomer, |_| json!({ "email": "new@example.com", "metadata": "x" }), INVALID,
            "metadata must be a JSON object", ["metadata"];
        "customer_no_id", SaveCustomer, |_| json!({ "email": JOHN, "telemetronCustomerId": "4711" }), INVALID,
            "telemetronCustomerId must be the id of a customer: cust_ and 26 characters", ["telemetronCustomerId"];
        "customer_empty_id", SaveCustomer, |_| json!({ "email": "new@example.com", "telemetronCustomerId": "" }), INVALID,
            "telemetronCustomerId must be the id of a customer: cust_ and 26 characters", ["telemetronCustomerId"];
        "customer_unknown_id", SaveCustomer, |_| json!({ "email": "new@example.com", "telemetronCustomerId": NOBODY }),
            NO_CUSTOMER, "There is no customer with this telemetronCustomerId in your organization", [];
        "customer_email_taken", SaveCustomer, |_| json!({ "email": "John.Doe@example.com" }), TAKEN,
            "Another customer of your organization has this email address", [];
        "customer_new_email_taken", SaveCustomer, |john| json!({ "email": JANE, "telemetronCustomerId": john }), TAKEN,
            "Another customer of your organization has this email address", [];
        "delete_customer_nothing", DeleteCustomer, |_| json!({}), INVALID,
            "email or telemetronCustomerId is required", ["email"];
        "delete_customer_both", DeleteCustomer, |john| json!({ "email": JOHN, "telemetronCustomerId": john }), INVALID,
            "Send email or telemetronCustomerId, not both", ["email"];
        "delete_customer_no_email_address", DeleteCustomer, |_| json!({ "email": "john" }), INVALID,
            "email must be a valid email address", ["email"];
        "delete_customer_no_id", DeleteCustomer, |_| json!({ "telemetronCustomerId": "dev_x" }), INVALID,
            "telemetronCustomerId must be the id of a customer: cust_ and 26 characters", ["telemetronCustomerId"];
        "delete_customer_unknown", DeleteCustomer, |_| json!({ "email": "stranger@example.com" }), NO_CUSTOMER,
            "There is no customer with this email in your organization", [];
        "delete_customer_unknown_id", DeleteCustomer, |_| json!({ "telemetronCustomerId": NOBODY }), NO_CUSTOMER,
            "There is no customer with this telemetronCustomerId in your organization", [];
        "delete_customer_of_another_organization", DeleteCustomer, |_| json!({ "email": "other@example.com" }), NO_CUSTOMER,
            "There is no customer with this email in your organization", [];
    ]
}

/// Makes every call of the table that is of this kind, on one database.
pub async fn are_rejected(database: &TestDatabase, api: Api, call: Call) {
    let world = World::new(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &world.key);
    let before = database.dump().await;
    for rejection in rejections().iter().filter(|rejection| rejection.call == call) {
        let name = rejection.name;
        let request = (rejection.request)(&world.john);
        let answer = call.make(&client, &request).await;
        let (code, http, reason) = rejection.status;
        assert_eq!(
            (answer.code.as_str(), answer.error.as_str(), answer.reason.as_deref()),
            (code, rejection.error, Some(reason)),
            "{name}"
        );
        let fields: Vec<&str> = answer.violations.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, rejection.fields, "{name}");
        assert!(answer.http.is_none_or(|(status, _)| status == http), "{name}");
        assert_eq!(database.dump().await, before, "{name}: a rejected call changes nothing");
    }
    server.stop().await;
}
