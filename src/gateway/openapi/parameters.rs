//! The parameters of a GET in the description: they are the members of its message, with the same descriptions and limits.

#![expect(
    clippy::indexing_slicing,
    reason = "the description is the program's own, and a member that is missing reads as null"
)]

use serde_json::{Value, json};

use crate::gateway::call::{NOT_IN_URLS, REQUIRED_IN_URLS};

/// Each GET with parameters, and the schema of its message.
const GETS: [(&str, &str); 6] = [
    ("/api/ext-v1/deviceAssignment/devices", "ListOwnerDevicesRequest"),
    ("/api/ext-v1/deviceAssignment/owners", "ListDeviceOwnersRequest"),
    ("/api/ext-v1/device", "GetDeviceRequest"),
    ("/api/ext-v1/devices", "ListDevicesRequest"),
    (
        "/api/ext-v1/customer/getCustomer/{telemetronCustomerId}",
        "GetCustomerRequest",
    ),
    ("/api/ext-v1/customers", "ListCustomersRequest"),
];

/// Adds the parameters, and removes schemas that no body has.
pub(super) fn add(document: &mut Value) {
    for (path, schema) in GETS {
        let rpc = schema.trim_end_matches("Request");
        let schema = document["components"]["schemas"][schema].clone();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let members = schema["properties"].as_object().into_iter().flatten();
        let parameters = members.filter(|(name, _)| !NOT_IN_URLS.contains(&name.as_str()));
        let parameters = parameters.map(|(name, schema)| {
            let in_path = path.contains(&format!("{{{name}}}"));
            let is_alone = REQUIRED_IN_URLS.contains(&(rpc, name));
            let is_required = in_path || is_alone || required.contains(&json!(name));
            parameter(name, schema.clone(), in_path, is_required)
        });
        let parameters: Vec<Value> = parameters.collect();
        if let Some(known) = document["paths"][path]["get"]["parameters"].as_array_mut() {
            known.splice(0..0, parameters);
        }
    }
    let text = document["paths"].to_string();
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        for (_, schema) in GETS {
            if !text.contains(&format!("/schemas/{schema}\"")) {
                schemas.remove(schema);
            }
        }
    }
}

fn parameter(name: &str, mut schema: Value, in_path: bool, is_required: bool) -> Value {
    let mut take = |member| schema.as_object_mut().and_then(|schema| schema.remove(member));
    let (description, example) = (take("description"), take("example"));
    if let Some(types) = schema["type"].as_array() {
        // A parameter is never null. A revision may be a number or a string of digits, which is the same in a URL.
        let of_parameter = if types.contains(&json!("integer")) {
            "integer"
        } else {
            "string"
        };
        let of_parameter = if types.contains(&json!("boolean")) {
            "boolean"
        } else {
            of_parameter
        };
        schema["type"] = json!(of_parameter);
    }
    if schema["type"] == "integer"
        && let Some(schema) = schema.as_object_mut()
    {
        schema.remove("pattern");
    }
    let mut parameter = json!({
        "name": name,
        "in": if in_path { "path" } else { "query" },
        "required": is_required,
        "schema": schema,
    });
    for (member, value) in [("description", description), ("example", example)] {
        if let Some(value) = value {
            parameter[member] = value;
        }
    }
    parameter
}
