//! What the descriptions of all operations have in common: the headers of successful responses, and how bodies are sent.

use utoipa::{
    Modify,
    openapi::{OpenApi, RefOr, Type, path::Operation},
};

use super::super::error_responses::header;
use crate::{grpc::REVISION_HEADER, request_id};

/// Adds what all operations have in common.
pub(super) struct Common;

/// The tag of operations that neither depend on the revision of the organization nor count toward the device limit.
const ORGANIZATION: &str = "Organization";

const BODY: &str =
    "`application/json` or a type that ends in `+json`. A request without a Content-Type is read as JSON.";
const POLICY: &str = "The limits of the key (draft-ietf-httpapi-ratelimit-headers). Absent if the key has no limits";
const REVISION: &str = "The revision of the organization: after a write that of its change, otherwise the one that the \
                        answer was read at. Every change has the next number";

impl Modify for Common {
    fn modify(&self, document: &mut OpenApi) {
        for path in document.paths.paths.values_mut() {
            for operation in [&mut path.get, &mut path.post].into_iter().flatten() {
                add_to(operation);
            }
        }
    }
}

fn add_to(operation: &mut Operation) {
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        body.description = Some(BODY.to_owned());
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
}
