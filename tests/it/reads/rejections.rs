//! What must be rejected: one table, each row a call.

use serde_json::{Value, json};

use super::{JOHN, Read, World, read};
use crate::support::{Api, TestDatabase, TestServer};

/// A call that must be rejected.
struct Rejection {
    name: &'static str,
    read: Read,
    request: Value,
    code: &'static str,
    http: u16,
    reason: &'static str,
    error: &'static str,
    /// The invalid fields.
    fields: &'static [&'static str],
}

fn rejections() -> Vec<Rejection> {
    let mut table = Vec::new();
    let mut invalid = |name, read, request, error, fields| {
        table.push(Rejection {
            name,
            read,
            request,
            code: "INVALID_ARGUMENT",
            http: 400,
            reason: "INVALID_REQUEST",
            error,
            fields,
        });
    };
    let batch = |ids: &[&str]| json!({ "deviceIdentifiers": ids });
    invalid(
        "batch_nothing",
        Read::BatchGetDeviceOwners,
        json!({}),
        "deviceIdentifiers must not be empty",
        &["deviceIdentifiers"],
    );
    invalid(
        "batch_blank",
        Read::BatchGetDeviceOwners,
        batch(&["SN-001", " ", "SN\0-1"]),
        "deviceIdentifiers[1] must not be empty (the first of 2 problems)",
        &["deviceIdentifiers[1]", "deviceIdentifiers[2]"],
    );
    invalid(
        "batch_1001",
        Read::BatchGetDeviceOwners,
        batch(&["SN-001"; 1_001]),
        "Too many devices. Maximum 1000 per request",
        &["deviceIdentifiers"],
    );
    invalid(
        "owner_devices_of_nobody",
        Read::ListOwnerDevices,
        json!({ "pageSize": -1 }),
        "customerEmail or customerId is required (the first of 2 problems)",
        &["customerEmail", "pageSize"],
    );
    invalid(
        "owner_devices_of_two",
        Read::ListOwnerDevices,
        json!({ "customerEmail": JOHN, "customerId": "cust_01m835zmv6e3ts9whpry4tgqhh" }),
        "Send customerEmail or customerId, not both",
        &["customerEmail"],
    );
    invalid(
        "owner_devices_of_two_one_of_them_empty",
        Read::ListOwnerDevices,
        json!({ "customerEmail": JOHN, "customerId": "" }),
        "Send customerEmail or customerId, not both",
        &["customerEmail"],
    );
    invalid(
        "owner_devices_of_no_address",
        Read::ListOwnerDevices,
        json!({ "customerEmail": "john" }),
        "customerEmail must be a valid email address",
        &["customerEmail"],
    );
    for id in [
        "cust_x",
        "dev_01m835zmv6e3ts9whpry4tgqhh",
        "CUST_01M835ZMV6E3TS9WHPRY4TGQHH",
    ] {
        invalid(
            Box::leak(format!("owner_devices_of_{}", id.split('_').next().unwrap_or(id)).into_boxed_str()),
            Read::ListOwnerDevices,
            json!({ "customerId": id }),
            "customerId must be the id of a customer: cust_ and 26 characters",
            &["customerId"],
        );
    }
    invalid(
        "device_owners_of_nothing",
        Read::ListDeviceOwners,
        json!({ "deviceIdentifier": " ", "pageSize": -1 }),
        "deviceIdentifier is required (the first of 2 problems)",
        &["deviceIdentifier", "pageSize"],
    );
    invalid(
        "device_owners_of_256_characters",
        Read::ListDeviceOwners,
        json!({ "deviceIdentifier": "ä".repeat(256) }),
        "deviceIdentifier must be at most 255 characters",
        &["deviceIdentifier"],
    );
    invalid(
        "device_blank",
        Read::GetDevice,
        json!({ "identifier": " " }),
        "identifier is required",
        &["identifier"],
    );
    invalid(
        "devices_of_bad_filters",
        Read::ListDevices,
        json!({ "type": "a\0", "prefix": "ä".repeat(256), "pageSize": -1 }),
        "type must not contain control characters (the first of 3 problems)",
        &["type", "prefix", "pageSize"],
    );
    invalid(
        "query_customer_nothing",
        Read::QueryCustomer,
        json!({}),
        "email is required",
        &["email"],
    );
    invalid(
        "query_customer_no_address",
        Read::QueryCustomer,
        json!({ "email": "john" }),
        "email must be a valid email address",
        &["email"],
    );
    invalid(
        "get_customer_no_id",
        Read::GetCustomer,
        json!({ "telemetronCustomerId": "cust_x" }),
        "telemetronCustomerId must be the id of a customer: cust_ and 26 characters",
        &["telemetronCustomerId"],
    );
    invalid(
        "customers_with_control_character",
        Read::ListCustomers,
        json!({ "emailPrefix": "jo\0hn", "pageSize": -1 }),
        "emailPrefix must not contain control characters (the first of 2 problems)",
        &["emailPrefix", "pageSize"],
    );
    let mut not_found = |name, read, request, reason, error| {
        table.push(Rejection {
            name,
            read,
            request,
            code: "NOT_FOUND",
            http: 404,
            reason,
            error,
            fields: &[],
        });
    };
    not_found(
        "owner_devices_of_a_stranger",
        Read::ListOwnerDevices,
        json!({ "customerEmail": "stranger@example.com" }),
        "CUSTOMER_NOT_FOUND",
        "There is no customer with this customerEmail in your organization",
    );
    not_found(
        "owner_devices_of_a_strange_id",
        Read::ListOwnerDevices,
        json!({ "customerId": "cust_01m835zmv6e3ts9whpry4tgqhh" }),
        "CUSTOMER_NOT_FOUND",
        "There is no customer with this customerId in your organization",
    );
    not_found(
        "query_customer_stranger",
        Read::QueryCustomer,
        json!({ "email": "stranger@example.com" }),
        "CUSTOMER_NOT_FOUND",
        "There is no customer with this email in your organization",
    );
    not_found(
        "get_customer_stranger",
        Read::GetCustomer,
        json!({ "telemetronCustomerId": "cust_01m835zmv6e3ts9whpry4tgqhh" }),
        "CUSTOMER_NOT_FOUND",
        "There is no customer with this telemetronCustomerId in your organization",
    );
    for device in ["SN-999", "sn-001", "OTHER-1"] {
        not_found(
            Box::leak(format!("device_{device}").into_boxed_str()),
            Read::GetDevice,
            json!({ "identifier": device }),
            "DEVICE_NOT_FOUND",
            "There is no device with this identifier in your organization",
        );
        not_found(
            Box::leak(format!("device_owners_of_{device}").into_boxed_str()),
            Read::ListDeviceOwners,
            json!({ "deviceIdentifier": device }),
            "DEVICE_NOT_FOUND",
            "There is no device with this identifier in your organization",
        );
    }
    // The sequence of changes in `World`: one import, two assignments.
    for read in Read::ALL {
        let mut request = example(read);
        request["minRevision"] = json!("4");
        table.push(Rejection {
            name: Box::leak(format!("future_revision_{read:?}").into_boxed_str()),
            read,
            request,
            code: "INVALID_ARGUMENT",
            http: 400,
            reason: "REVISION_IN_FUTURE",
            error: "The organization's current revision is 3; the request names a later one",
            fields: &[],
        });
    }
    table
}

/// A request that succeeds in a [`World`].
pub fn example(read: Read) -> Value {
    match read {
        Read::BatchGetDeviceOwners => json!({ "deviceIdentifiers": ["SN-001"] }),
        Read::ListOwnerDevices => json!({ "customerEmail": JOHN }),
        Read::ListDeviceOwners => json!({ "deviceIdentifier": "SN-001" }),
        Read::GetDevice => json!({ "identifier": "SN-001" }),
        Read::ListDevices | Read::ListCustomers => json!({}),
        Read::QueryCustomer => json!({ "email": JOHN }),
        Read::GetCustomer => json!({ "telemetronCustomerId": "cust_01m835zmv6e3ts9whpry4tgqhh" }),
    }
}

/// Makes every call of the table on one database.
pub async fn are_rejected(database: &TestDatabase, api: Api) {
    let World { key, .. } = World::new(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    for rejection in rejections() {
        let name = rejection.name;
        let answer = read(&client, rejection.read, &rejection.request).await.in_json_names();
        assert_eq!(
            (answer.code.as_str(), answer.error.as_str(), answer.reason.as_deref()),
            (rejection.code, rejection.error, Some(rejection.reason)),
            "{name}"
        );
        let fields: Vec<&str> = answer.violations.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, rejection.fields, "{name}");
        assert!(answer.http.is_none_or(|(status, _)| status == rejection.http), "{name}");
    }
    server.stop().await;
}
