//! The description of the REST face for programs (OpenAPI 3.1), made from the types that the wire is made from.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::{
    IntoParams, IntoResponses, Modify, OpenApi, ToSchema,
    openapi::{
        ContentBuilder, Header, Object, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder, Type,
        example::ExampleBuilder,
        security::{ApiKey, ApiKeyValue, SecurityScheme},
    },
};

use super::{
    API_KEY, GatewaySettings, assign_devices, check_credentials,
    problem::{self, json_path},
    refusals::REFUSALS,
};
use crate::request_id;

const INTRODUCTION: &str = "\
Tells the platform which customer owns which device, in bulk.

Every call carries an organization's API key in the header `x-api-key`, and sees and changes the customers and devices of \
that organization only. White space around a value is dropped, `null` is the same as absent, and a member that is not \
described is refused.

Calls are idempotent: after a time-out, a lost connection, 503 or 504 make the call again. After 429 and 503 wait as long as \
`Retry-After` says.";

const NO_CONTROL_CHARACTER: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";

#[derive(OpenApi)]
#[openapi(
    info(title = "Device assignment", description = INTRODUCTION),
    paths(assign_devices::handle, check_credentials::handle),
    components(schemas(problem::Envelope)),
    tags(
        (name = "Devices", description = "Which customer owns which device"),
        (name = "Organization", description = "The caller's own organization and API key"),
    ),
    modifiers(&Keys, &License),
)]
struct Api;

/// How callers show who they are.
struct Keys;

/// Under which terms.
struct License;

impl Modify for License {
    fn modify(&self, document: &mut Document) {
        if let Some(license) = &mut document.info.license {
            // The name is the expression already, and of an identifier the page would make a link that leads nowhere.
            license.identifier = None;
        }
    }
}

impl Modify for Keys {
    fn modify(&self, document: &mut Document) {
        let description = "A key of an organization: `tlm_` and 49 letters and digits.";
        let key = ApiKey::Header(ApiKeyValue::with_description(API_KEY.as_str(), description));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("apiKey", SecurityScheme::ApiKey(key));
    }
}

/// The header that every request may carry.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "its description is all that is wanted of it")]
pub(super) struct RequestId {
    /// The id by which the answer and the log name the request: 1 to 64 of `[A-Za-z0-9._-]`. Any other is replaced by a new
    /// one.
    #[param(rename = "x-request-id", required = false)]
    id: String,
}

/// Every answer but 200, as each operation may give it.
pub(super) struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let responses = REFUSALS.iter().map(|refusal| {
            let examples = refusal.examples.iter().map(|example| {
                let value = ExampleBuilder::new().value(Some(example.envelope()));
                (example.name, value.build())
            });
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name(problem::Envelope::name())))
                .examples_from_iter(examples);
            let mut response = ResponseBuilder::new()
                .description(refusal.description)
                .content("application/json", content.build())
                .header(
                    request_id::HEADER.as_str(),
                    header("The id of the request", Type::String),
                );
            for (name, description, of_type) in refusal.headers {
                response = response.header(*name, header(description, of_type.clone()));
            }
            (refusal.http.to_string(), response.build().into())
        });
        responses.collect()
    }
}

fn header(description: &str, of_type: Type) -> Header {
    Header::builder()
        .schema(Some(Object::with_type(of_type)))
        .description(Some(description))
        .build()
}

/// The document, for a face with these settings.
pub fn document(settings: &GatewaySettings) -> Value {
    let mut document = json!(Api::openapi());
    merge(&mut document, rules(settings.max_devices_per_request));
    give_json_names(&mut document);
    document
}

/// What hangs on a setting, or the derived schema has no words for.
fn rules(max_devices: usize) -> Value {
    let devices = json!({ "items": { "pattern": NO_CONTROL_CHARACTER }, "maxItems": max_devices });
    let device_type = json!({ "type": "string", "minLength": 1, "maxLength": 100, "pattern": NO_CONTROL_CHARACTER });
    let request = json!({
        "properties": { "deviceIdentifiers": devices },
        "if": { "properties": { "autoCreateDevices": { "const": true } }, "required": ["autoCreateDevices"] },
        "then": { "properties": { "deviceType": device_type }, "required": ["deviceType"] },
    });
    json!({ "components": { "schemas": { "AssignDevicesToOwnerRequest": request } } })
}

/// Puts the members of `more` where they belong.
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

/// The comments of the proto name fields as the proto does; here they have their JSON names.
fn give_json_names(value: &mut Value) {
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
        // Between two backticks is every other part.
        if index % 2 == 1 && is_name(part) {
            json_path(part)
        } else {
            part.to_owned()
        }
    });
    parts.collect::<Vec<_>>().join("`")
}

/// Whether this is the name of a field: `cust_` is the beginning of an id.
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
