//! The OpenAPI 3.1 description of the REST API, generated from the same types as the JSON itself.

mod common;
mod links;
mod parameters;

use serde_json::{Value, json};
use tonic::Code;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Document,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
    },
};

use self::common::Common;
use super::{
    GatewaySettings, assign_device, assign_devices, batch_get_device_owners, bulk_update_metadata, changes,
    check_credentials, create_or_update_customer, create_or_update_device, delete_customer, delete_device, fields,
    get_customer, get_device, list_customers, list_device_owners, list_devices, list_owner_devices, problem,
    transfer_devices, unassign_devices,
};
use crate::{
    code::code_name,
    key_headers::X_API_KEY,
    pb::{GetCustomerRequest, GetDeviceRequest, ListDeviceOwnersRequest, ListDevicesRequest},
    reason::Reason,
};

const INTRODUCTION: &str = "\
Assigns devices to customers and removes them, in bulk; keeps what is known of devices and customers, and erases it.

Authentication: send your organization's API key in the header `x-api-key`, or as `Authorization: Bearer`. A call sees and \
changes only the customers and devices of that organization.

Requests: white space around a value is removed, `null` is the same as an absent member, and an unknown member is an error. \
Send bodies uncompressed. Responses are compressed with gzip if the request has `Accept-Encoding: gzip`.

Retries: calls are idempotent, except unassignDeviceFromOwner, deleteDevice, deleteCustomer and the creation of a customer: they fail if an \
earlier attempt succeeded. After a timeout, a lost connection, 503 or 504, repeat the call. \
After 429, 503, and 409 with `Retry-After`, wait for the number of seconds in `Retry-After` first.";

const NO_CONTROL_CHARACTER: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";

/// The same for text of several lines.
const NO_CONTROL_CHARACTER_BUT_LINES: &str = r"^[^\u0000-\u0009\u000b\u000c\u000e-\u001f\u007f-\u009f]*$";

/// The form of a customer's id: 128 bits in Crockford's base32, so the first character has three of them.
const CUSTOMER_ID: &str = "^cust_[0-7][0-9a-hjkmnp-tv-z]{25}$";

#[derive(OpenApi)]
#[openapi(
    info(title = "Device assignment", description = INTRODUCTION),
    paths(
        assign_devices::handle,
        assign_device::handle,
        transfer_devices::handle,
        unassign_devices::many,
        unassign_devices::one,
        batch_get_device_owners::handle,
        create_or_update_device::handle,
        bulk_update_metadata::handle,
        delete_device::handle,
        create_or_update_customer::handle,
        delete_customer::handle,
        list_owner_devices::by_body,
        list_owner_devices::by_query,
        list_device_owners::handle,
        get_device::handle,
        list_devices::handle,
        get_customer::by_email,
        get_customer::by_id,
        list_customers::by_body,
        list_customers::by_query,
        check_credentials::handle,
        changes::handle,
    ),
    components(schemas(
        problem::Envelope,
        GetCustomerRequest,
        GetDeviceRequest,
        ListDeviceOwnersRequest,
        ListDevicesRequest
    )),
    tags(
        (name = "Devices", description = "Assign devices to customers and remove them, and keep what is known of devices"),
        (name = "Customers", description = "Keep what is known of customers, and erase it"),
        (name = "Changes", description = "Follow the changes of your organization"),
        (name = "Organization", description = "Your organization and API key"),
    ),
    modifiers(&Keys, &License, &Common),
)]
struct Api;

/// Adds the security schemes.
struct Keys;

/// Corrects the license entry.
struct License;

impl Modify for License {
    fn modify(&self, document: &mut Document) {
        if let Some(license) = &mut document.info.license {
            // The name is the SPDX expression already. The page would turn an identifier into a broken link.
            license.identifier = None;
        }
    }
}

impl Modify for Keys {
    fn modify(&self, document: &mut Document) {
        let description = "Your organization's API key: `tlm_` and 49 letters and digits.";
        let key = ApiKey::Header(ApiKeyValue::with_description(X_API_KEY, description));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("apiKey", SecurityScheme::ApiKey(key));
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.description = Some("The same API key, as generated clients often send it.".to_owned());
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// The description of a REST API with these settings.
pub fn document(settings: &GatewaySettings) -> Value {
    let mut document = json!(Api::openapi());
    merge(&mut document, rules(settings.max_devices_per_request));
    allow_numbers(&mut document);
    parameters::add(&mut document);
    links::add(&mut document);
    give_json_names(&mut document);
    document
}

/// The rules that depend on a setting or that the derived schema cannot express.
fn rules(max_devices: usize) -> Value {
    let devices = json!({ "items": { "pattern": NO_CONTROL_CHARACTER }, "maxItems": max_devices });
    let device_type = json!({ "type": "string", "minLength": 1, "maxLength": 100, "pattern": NO_CONTROL_CHARACTER });
    let unassign = json!({ "properties": { "deviceIdentifiers": devices } });
    let looked_up = json!({ "items": { "pattern": NO_CONTROL_CHARACTER }, "maxItems": max_devices.min(1_000) });
    let batch_get = json!({ "properties": { "deviceIdentifiers": looked_up } });
    let only = |member: &str, other: &str| {
        json!({
            "properties": { member: { "type": "string" }, other: { "type": "null" } },
            "required": [member],
        })
    };
    let list_owned = json!({
        "oneOf": [only("customerEmail", "customerId"), only("customerId", "customerEmail")],
    });
    let text = json!({ "pattern": NO_CONTROL_CHARACTER });
    let list_devices = json!({ "properties": { "type": text, "prefix": text } });
    let list_customers = json!({ "properties": { "emailPrefix": text } });
    let unassign_one = json!({ "properties": { "deviceIdentifier": { "pattern": NO_CONTROL_CHARACTER } } });
    let assign_one = json!({
        "properties": { "deviceIdentifier": { "pattern": NO_CONTROL_CHARACTER }, "customerEmails": { "maxItems": 1_000 } },
        "if": { "properties": { "autoCreateDevice": { "const": true } }, "required": ["autoCreateDevice"] },
        "then": { "properties": { "deviceType": device_type }, "required": ["deviceType"] },
    });
    let assign = json!({
        "properties": { "deviceIdentifiers": devices },
        "if": { "properties": { "autoCreateDevices": { "const": true } }, "required": ["autoCreateDevices"] },
        "then": { "properties": { "deviceType": device_type }, "required": ["deviceType"] },
    });
    let mut transfer = assign.clone();
    let owner = [
        json!({ "type": "string", "format": "email" }),
        json!({ "type": "string", "pattern": CUSTOMER_ID }),
        json!({ "type": "null" }),
    ];
    merge(
        &mut transfer,
        json!({ "properties": { "expectedOwner": { "anyOf": owner } } }),
    );
    let identifier = json!({ "properties": { "identifier": { "pattern": NO_CONTROL_CHARACTER } } });
    let mut device = identifier.clone();
    merge(
        &mut device,
        json!({ "properties": { "type": { "pattern": NO_CONTROL_CHARACTER } } }),
    );
    let metadata = json!({ "properties": { "devices": {
        "minProperties": 1,
        "maxProperties": 1_000,
        "propertyNames": { "minLength": 1, "maxLength": 255, "pattern": NO_CONTROL_CHARACTER },
    } } });
    let text = json!({ "pattern": NO_CONTROL_CHARACTER });
    let customer = json!({ "properties": {
        "name": text,
        "phone": text,
        "address": { "pattern": NO_CONTROL_CHARACTER_BUT_LINES },
        "telemetronCustomerId": { "pattern": CUSTOMER_ID },
    } });
    let delete_customer = json!({
        "properties": { "telemetronCustomerId": { "type": "string", "pattern": CUSTOMER_ID } },
        "oneOf": [{ "required": ["email"] }, { "required": ["telemetronCustomerId"] }],
    });
    let codes: Vec<&str> = (1..=16).map(|code| code_name(Code::from_i32(code))).collect();
    let reasons: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    let error = json!({ "properties": { "code": { "enum": codes }, "reason": { "enum": reasons } } });
    json!({ "components": { "schemas": {
        "AssignDevicesToOwnerRequest": assign,
        "AssignDeviceToOwnersRequest": assign_one,
        "TransferDevicesToOwnerRequest": transfer,
        "UnassignDevicesFromOwnerRequest": unassign,
        "UnassignDeviceFromOwnerRequest": unassign_one,
        "BatchGetDeviceOwnersRequest": batch_get,
        "CreateOrUpdateDeviceRequest": device,
        "BulkUpdateDeviceMetadataRequest": metadata,
        "DeleteDeviceRequest": identifier,
        "CreateOrUpdateCustomerRequest": customer,
        "DeleteCustomerRequest": delete_customer,
        "ListOwnerDevicesRequest": list_owned,
        "ListDeviceOwnersRequest": unassign_one,
        "GetDeviceRequest": identifier,
        "ListDevicesRequest": list_devices,
        "ListCustomersRequest": list_customers,
        "Error": error,
    } } })
}

/// Describes that requests may have 64-bit integers as numbers, too (ProtoJSON).
fn allow_numbers(document: &mut Value) {
    let schemas = document
        .pointer_mut("/components/schemas")
        .and_then(Value::as_object_mut);
    for schema in schemas.into_iter().flat_map(|schemas| schemas.values_mut()) {
        if let Some(revision) = schema.pointer_mut("/properties/minRevision") {
            merge(
                revision,
                json!({ "type": ["string", "integer", "null"], "minimum": 0, "maximum": u64::MAX }),
            );
        }
    }
}

/// Merges `more` into `value`, member by member.
fn merge(value: &mut Value, more: Value) {
    match (value, more) {
        (Value::Object(members), Value::Object(more)) => {
            for (name, more) in more {
                merge(members.entry(name).or_insert(Value::Null), more);
            }
        }
        (value, more) => *value = more,
    }
}

/// Replaces proto field names in descriptions, which come from proto comments, by JSON names.
pub(crate) fn give_json_names(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "description" => *text = with_json_names(text),
                    member => give_json_names(member),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(give_json_names),
        _ => {}
    }
}

fn with_json_names(text: &str) -> String {
    let parts = text.split('`').enumerate().map(|(index, part)| {
        // Every other part is between two backticks.
        if index % 2 == 1 && is_name(part) {
            fields::with_json_names(part)
        } else {
            part.to_owned()
        }
    });
    parts.collect::<Vec<_>>().join("`")
}

/// Whether this is the name of a field. `cust_` is not: it is the prefix of an id.
fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && !text.ends_with('_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_get_their_json_names_and_nothing_else_does() {
        let text =
            "Required when `auto_create_devices` is true; `cust_` and 26 characters, snake_case, `[A-Za-z0-9._-]`";
        let expected =
            "Required when `autoCreateDevices` is true; `cust_` and 26 characters, snake_case, `[A-Za-z0-9._-]`";
        assert_eq!(with_json_names(text), expected);
    }
}
