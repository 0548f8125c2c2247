//! The error responses in the OpenAPI description. `problem.rs` and the service make the real ones; tests compare the two.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{ContentBuilder, Header, Object, Ref, RefOr, Response, ResponseBuilder, Type, example::ExampleBuilder},
};

use super::problem::{Envelope, FieldViolation};
use crate::{code::code_name, reason::Reason, request_id};

/// The error responses of every operation.
pub(super) struct ErrorResponses;

impl IntoResponses for ErrorResponses {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let responses = ERROR_RESPONSES.iter().map(|error| {
            let examples = error.examples.iter().map(|example| {
                let value = ExampleBuilder::new().value(Some(example.envelope()));
                (example.name, value.build())
            });
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name(Envelope::name())))
                .examples_from_iter(examples);
            let mut response = ResponseBuilder::new()
                .description(error.description)
                .content("application/json", content.build())
                .header(
                    request_id::HEADER.as_str(),
                    header("The id of the request", Type::String),
                );
            for (name, description, of_type) in error.headers {
                response = response.header(*name, header(description, of_type.clone()));
            }
            (error.http.to_string(), response.build().into())
        });
        responses.collect()
    }
}

/// A header of a response.
pub(super) fn header(description: &str, of_type: Type) -> Header {
    Header::builder()
        .schema(Some(Object::with_type(of_type)))
        .description(Some(description))
        .build()
}

/// One status and its meaning.
pub(super) struct ErrorResponse {
    pub(super) http: u16,
    pub(super) description: &'static str,
    pub(super) examples: &'static [Example],
    /// Name, description and type of each additional header.
    pub(super) headers: &'static [(&'static str, &'static str, Type)],
}

/// An example of the envelope.
pub(super) struct Example {
    pub(super) name: &'static str,
    reason: Reason,
    error: &'static str,
    /// Field and description.
    violations: &'static [(&'static str, &'static str)],
    metadata: &'static [(&'static str, &'static str)],
}

impl Example {
    const fn new(name: &'static str, reason: Reason, error: &'static str) -> Self {
        let (violations, metadata): (&[_], &[_]) = (&[], &[]);
        Self {
            name,
            reason,
            error,
            violations,
            metadata,
        }
    }

    const fn with_metadata(mut self, metadata: &'static [(&'static str, &'static str)]) -> Self {
        self.metadata = metadata;
        self
    }

    pub(super) fn envelope(&self) -> Value {
        let violations = self.violations.iter().map(|&(field, description)| FieldViolation {
            field: field.to_owned(),
            description: description.to_owned(),
        });
        let metadata = self.metadata.iter();
        let metadata = metadata.map(|&(name, value)| (name.to_owned(), value.to_owned()));
        json!(Envelope {
            error: self.error,
            code: code_name(self.reason.code()),
            reason: self.reason.name(),
            request_id: "0190163d-8694-739b-aea5-966c26f8ad91",
            field_violations: &violations.collect::<Vec<_>>(),
            metadata: &metadata.collect::<BTreeMap<_, _>>(),
        })
    }
}

const RETRY_AFTER: (&str, &str, Type) = ("Retry-After", "Seconds to wait before the next attempt", Type::Integer);

pub(super) const ERROR_RESPONSES: &[ErrorResponse] = &[
    ErrorResponse {
        http: 400,
        description: "INVALID_ARGUMENT: the body is not valid JSON of this operation, or fields are invalid (the first 16 are \
                      listed), or `x-api-key` is repeated, or `Host` is missing, repeated or invalid. FAILED_PRECONDITION: none \
                      of the devices exists (NO_VALID_DEVICES), or the device does not belong to the customer (NOT_ASSIGNED)",
        examples: &[
            Example {
                violations: &[
                    ("customerEmail", "customerEmail must be a valid email address"),
                    ("deviceIdentifiers[2]", "deviceIdentifiers[2] must not be empty"),
                ],
                metadata: &[("violationCount", "2")],
                ..Example::new(
                    "fields",
                    Reason::InvalidRequest,
                    "customerEmail must be a valid email address (the first of 2 problems)",
                )
            },
            Example::new(
                "no valid devices",
                Reason::NoValidDevices,
                "No valid devices: none of the 3 device identifiers exist in your organization; set autoCreateDevices to \
                 create them",
            )
            .with_metadata(&[("deviceCount", "3")]),
            Example::new(
                "not assigned",
                Reason::NotAssigned,
                "The device is not assigned to this customer",
            ),
            Example::new(
                "two keys",
                Reason::RepeatedApiKey,
                "The API key is given twice; send it once",
            ),
        ],
        headers: &[],
    },
    ErrorResponse {
        http: 401,
        description: "The API key is missing, malformed, unknown, expired or revoked, or `x-api-key` and `Authorization` carry \
                      different keys (CONFLICTING_API_KEYS). The key is checked before the body",
        examples: &[
            Example::new("no key", Reason::MissingApiKey, "Missing API key: send it in the x-api-key header"),
            Example::new("wrong key", Reason::InvalidApiKey, "Invalid API key: check that it is complete, not expired and not revoked"),
            Example::new(
                "conflicting keys",
                Reason::ConflictingApiKeys,
                "x-api-key and Authorization carry different API keys; send one",
            ),
        ],
        headers: &[("WWW-Authenticate", "How to authenticate", Type::String)],
    },
    ErrorResponse {
        http: 403,
        description: "PERMISSION_DENIED: the API key may only read (SCOPE_MISSING). The key is checked before the body",
        examples: &[Example::new(
            "scope",
            Reason::ScopeMissing,
            "This API key may only read; use a key with the scope write",
        )],
        headers: &[],
    },
    ErrorResponse {
        http: 404,
        description: "Unknown path, or your organization has no such customer (CUSTOMER_NOT_FOUND) or device (DEVICE_NOT_FOUND)",
        examples: &[
            Example::new("path", Reason::PathNotFound, "There is nothing at this path"),
            Example::new(
                "customer",
                Reason::CustomerNotFound,
                "There is no customer with this customerEmail in your organization",
            ),
            Example::new(
                "device",
                Reason::DeviceNotFound,
                "There is no device with this identifier in your organization",
            ),
        ],
        headers: &[],
    },
    ErrorResponse {
        http: 405,
        description: "Unsupported method; see `Allow`",
        examples: &[Example::new("method", Reason::MethodNotAllowed, "This path accepts POST only")],
        headers: &[("Allow", "The supported methods", Type::String)],
    },
    ErrorResponse {
        http: 408,
        description: "The body did not arrive in time",
        examples: &[Example::new(
            "slow",
            Reason::RequestTimeout,
            "The request body did not arrive in time",
        )],
        headers: &[],
    },
    ErrorResponse {
        http: 409,
        description: "The call changed nothing. ABORTED: other calls changed the organization each time that this call was tried. \
                      Wait for `Retry-After` seconds, then repeat it. ALREADY_EXISTS: another customer has the email address \
                      (CUSTOMER_EXISTS)",
        examples: &[
            Example::new(
                "contention",
                Reason::TooMuchContention,
                "Too many concurrent changes in this organization; try again shortly",
            )
            .with_metadata(&[("retryAfterSeconds", "1")]),
            Example::new(
                "email",
                Reason::CustomerExists,
                "Another customer of your organization has this email address",
            ),
        ],
        headers: &[RETRY_AFTER],
    },
    ErrorResponse {
        http: 410,
        description: "OUT_OF_RANGE: the changes after this revision are no longer available. List what you need again, and follow \
                      from the revision of that list",
        examples: &[Example::new(
            "expired",
            Reason::ChangesExpired,
            "These changes are no longer available; list what you need again, and follow from the revision of that list",
        )],
        headers: &[],
    },
    ErrorResponse {
        http: 413,
        description: "The body is too large",
        examples: &[Example::new(
            "large",
            Reason::RequestTooLarge,
            "Request too large. Maximum 8388608 bytes",
        )
        .with_metadata(&[("maxBytes", "8388608")])],
        headers: &[],
    },
    ErrorResponse {
        http: 415,
        description: "The Content-Type is not JSON, or the body is compressed",
        examples: &[
            Example::new(
                "type",
                Reason::UnsupportedMediaType,
                "Content-Type must be application/json",
            ),
            Example::new(
                "encoding",
                Reason::UnsupportedEncoding,
                "Content-Encoding is not supported; send the body uncompressed",
            ),
        ],
        headers: &[(
            "Accept-Encoding",
            "`identity`, if the body is compressed",
            Type::String,
        )],
    },
    ErrorResponse {
        http: 422,
        description: "FAILED_PRECONDITION: the `Idempotency-Key` was used for another request (IDEMPOTENCY_KEY_REUSED), or the call \
                      was carried out before and its response erased with a customer (ANSWER_ERASED)",
        examples: &[
            Example::new(
                "key reused",
                Reason::IdempotencyKeyReused,
                "The idempotency key was used for another request; use a new key",
            ),
            Example::new(
                "answer erased",
                Reason::AnswerErased,
                "This call was carried out before, and its response was erased when a customer that it names was deleted; do not \
                 repeat it",
            ),
        ],
        headers: &[],
    },
    ErrorResponse {
        http: 429,
        description: "Too many calls. The call changed nothing. Wait for `Retry-After` seconds, then repeat it",
        examples: &[
            Example::new(
                "queue",
                Reason::QueueFull,
                "Too many calls are waiting; try again in 1 s",
            )
            .with_metadata(&[("retryAfterSeconds", "1")]),
            Example::new(
                "limit",
                Reason::RateLimited,
                "Too many calls with this API key; try again in 1 s",
            )
            .with_metadata(&[("limit", "20000"), ("retryAfterSeconds", "1")]),
        ],
        headers: &[
            RETRY_AFTER,
            ("RateLimit-Policy", "The limits of the key", Type::String),
            ("RateLimit", "What is left of these limits", Type::String),
        ],
    },
    ErrorResponse {
        http: 499,
        description: "The client closed the connection",
        examples: &[Example::new("gone", Reason::Cancelled, "Cancelled")],
        headers: &[],
    },
    ErrorResponse {
        http: 500,
        description: "Internal error. Report the request id to the operator of the service",
        examples: &[Example::new("fault", Reason::Internal, "Internal error")],
        headers: &[],
    },
    ErrorResponse {
        http: 503,
        description: "The service is stopping, or its database is unavailable or read-only. The outcome of the call may be \
                      unknown. Wait for `Retry-After` seconds, then repeat it",
        examples: &[Example::new(
            "unavailable",
            Reason::Unavailable,
            "Service temporarily unavailable; try again shortly",
        )
        .with_metadata(&[("retryAfterSeconds", "1")])],
        headers: &[RETRY_AFTER],
    },
    ErrorResponse {
        http: 504,
        description: "The call took too long, and its outcome is unknown. Repeat it",
        examples: &[Example::new("deadline", Reason::DeadlineExceeded, "Deadline exceeded")],
        headers: &[],
    },
];
