//! The JSON Schemas of arguments and results: those of the messages in the OpenAPI description.

use rmcp::model::JsonObject;
use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

use crate::gateway::give_json_names;

/// Members of requests that are not arguments of a tool: the server sets `validateOnly`, and an assistant does not need `minRevision`.
const HIDDEN: [&str; 2] = ["minRevision", "validateOnly"];

/// The schema of the arguments that are read as `T`.
pub(super) fn arguments<T: ToSchema + PartialSchema>() -> JsonObject {
    let mut schema = of::<T>();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.retain(|name, _| !HIDDEN.contains(&name.as_str()));
    }
    schema.insert("additionalProperties".into(), false.into());
    schema
}

/// The schema of the arguments that are read as `T`, and a preview's token.
pub(super) fn arguments_with_token<T: ToSchema + PartialSchema>() -> JsonObject {
    let mut schema = arguments::<T>();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let description = "The previewToken of the preview with the same arguments.";
        properties.insert(
            "previewToken".into(),
            json!({ "type": "string", "description": description }),
        );
    }
    if let Value::Array(required) = schema.entry("required").or_insert(json!([])) {
        required.push("previewToken".into());
    }
    schema
}

/// The schema of a result.
pub(super) fn result<T: ToSchema + PartialSchema>() -> JsonObject {
    of::<T>()
}

/// The schema of the preview of a result.
pub(super) fn preview<T: ToSchema + PartialSchema>() -> JsonObject {
    let mut result = of::<T>();
    let definitions = result.remove("$defs");
    let mut schema = Map::from_iter([
        ("type".to_owned(), json!("object")),
        (
            "properties".to_owned(),
            json!({
                "preview": result,
                "previewToken": { "type": "string", "description": "Makes this change, for ten minutes." },
            }),
        ),
        ("required".to_owned(), json!(["preview", "previewToken"])),
    ]);
    schema.extend(definitions.map(|definitions| ("$defs".to_owned(), definitions)));
    schema
}

/// The schema of `T`, with the schemas that it refers to in `$defs`.
fn of<T: ToSchema + PartialSchema>() -> JsonObject {
    let mut schema = json!(T::schema());
    let mut named = Vec::new();
    T::schemas(&mut named);
    let definitions: Map<_, _> = named.into_iter().map(|(name, schema)| (name, json!(schema))).collect();
    if let (false, Value::Object(members)) = (definitions.is_empty(), &mut schema) {
        members.insert("$defs".into(), Value::Object(definitions));
    }
    give_json_names(&mut schema);
    localize(&mut schema);
    match schema {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Makes references to components of the OpenAPI description references to `$defs`.
fn localize(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(reference) if name == "$ref" => {
                        *reference = reference.replace("#/components/schemas/", "#/$defs/");
                    }
                    member => localize(member),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(localize),
        _ => {}
    }
}
