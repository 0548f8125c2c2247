//! What the descriptions of all operations have in common: the headers of successful responses, and how bodies are sent.

use utoipa::{
    Modify,
    openapi::{
        ObjectBuilder, OpenApi, RefOr, Required, Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
    },
};

use super::super::error_responses::header;
use crate::{
    grpc::{MAX_KEY_CHARS, REVISION_HEADER, is_write},
    request_id,
};

/// Adds what all operations have in common.
pub(super) struct Common;

/// The tag of operations that neither depend on the revision of the organization nor count toward the device limit.
const ORGANIZATION: &str = "Organization";

const BODY: &str =
    "`application/json` or a type that ends in `+json`. A request without a Content-Type is read as JSON.";
const POLICY: &str = "The limits of the key (draft-ietf-httpapi-ratelimit-headers). Absent if the key has no limits";
const REVISION: &str = "The revision of the organization: after a write that of its change, otherwise the one that the \
                        answer was read at. Every change has the next number";

const REPLAYED: &str =
    "`true` if this is the answer of an earlier call with the same `Idempotency-Key`; otherwise absent";
const KEY: &str = "A key of your choice for this call, for example a UUID. A repeated call with the same key and the same request \
                   returns the answer of the first, without changing anything again. Kept for 24 hours after a success";

impl Modify for Common {
    fn modify(&self, document: &mut OpenApi) {
        for path in document.paths.paths.values_mut() {
            for (operation, may_write) in [(&mut path.get, false), (&mut path.post, true)] {
                if let Some(operation) = operation {
                    add_to(operation, may_write);
                }
            }
        }
    }
}

fn add_to(operation: &mut Operation, may_write: bool) {
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        body.description = Some(BODY.to_owned());
    }
    let is_write = may_write && operation.operation_id.as_deref().is_some_and(|id| is_write(&rpc(id)));
    if is_write {
        operation
            .parameters
            .get_or_insert_default()
            .push(idempotency_key().into());
    } else {
        operation.responses.responses.remove("422");
    }
    let is_of_organization = operation.tags.iter().flatten().any(|tag| tag == ORGANIZATION);
    let Some(RefOr::T(success)) = operation.responses.responses.get_mut("200") else {
        return;
    };
    let mut add = |name: &str, description, of_type| {
        success
            .headers
            .insert(name.to_owned(), header(description, of_type).into());
    };
    add(request_id::HEADER.as_str(), "The id of the request", Type::String);
    add("RateLimit-Policy", POLICY, Type::String);
    if !is_of_organization {
        add("RateLimit", "What is left of these limits", Type::String);
        add(REVISION_HEADER.as_str(), REVISION, Type::Integer);
    }
    if is_write {
        add("Idempotency-Replayed", REPLAYED, Type::String);
    }
}

/// The RPC of an operation.
fn rpc(operation_id: &str) -> String {
    let mut chars = operation_id.chars();
    let first = chars.next().map(|char| char.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

/// The request header with the idempotency key.
fn idempotency_key() -> Parameter {
    let key = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(MAX_KEY_CHARS))
        .pattern(Some("^[ -~]+$"));
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(KEY))
        .schema(Some(key))
        .build()
}
