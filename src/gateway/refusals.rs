//! What the description says of each answer but 200. What callers are really answered is in `problem.rs` and the service; the
//! tests hold this to it.

use serde_json::{Value, json};
use tonic::Code;
use utoipa::openapi::Type;

use super::problem::{Envelope, FieldViolation};
use crate::code::code_name;

/// One status, and what it means.
pub(super) struct Refusal {
    pub(super) http: u16,
    pub(super) description: &'static str,
    pub(super) examples: &'static [Example],
    /// Name, description and type of each header that other answers do not have.
    pub(super) headers: &'static [(&'static str, &'static str, Type)],
}

/// An envelope as a caller may see it.
pub(super) struct Example {
    pub(super) name: &'static str,
    code: Code,
    error: &'static str,
    /// Field and description.
    violations: &'static [(&'static str, &'static str)],
}

impl Example {
    const fn new(name: &'static str, code: Code, error: &'static str) -> Self {
        let violations = &[];
        Self {
            name,
            code,
            error,
            violations,
        }
    }

    pub(super) fn envelope(&self) -> Value {
        let violations = self.violations.iter().map(|&(field, description)| FieldViolation {
            field: field.to_owned(),
            description: description.to_owned(),
        });
        json!(Envelope {
            error: self.error,
            code: code_name(self.code),
            request_id: "0190163d-8694-739b-aea5-966c26f8ad91",
            field_violations: &violations.collect::<Vec<_>>(),
        })
    }
}

const RETRY_AFTER: (&str, &str, Type) = ("Retry-After", "Seconds to wait before trying again", Type::Integer);

pub(super) const REFUSALS: &[Refusal] = &[
    Refusal {
        http: 400,
        description: "INVALID_ARGUMENT: the body is not the JSON that is described, or fields break their rules: all of them \
                      are counted, and the first 16 listed; or `x-api-key` is given twice; or `Host` is missing, given twice or \
                      not valid. FAILED_PRECONDITION: no identifier leads to a device",
        examples: &[
            Example {
                violations: &[
                    ("customerEmail", "customerEmail must be a valid email address"),
                    ("deviceIdentifiers[2]", "deviceIdentifiers[2] must not be empty"),
                ],
                ..Example::new(
                    "fields",
                    Code::InvalidArgument,
                    "customerEmail must be a valid email address (the first of 2 problems)",
                )
            },
            Example::new(
                "no valid devices",
                Code::FailedPrecondition,
                "No valid devices: none of the 3 device identifiers exist in your organization; set autoCreateDevices to \
                 create them",
            ),
            Example::new(
                "two keys",
                Code::InvalidArgument,
                "x-api-key is given twice; send it once",
            ),
        ],
        headers: &[],
    },
    Refusal {
        http: 401,
        description: "No API key, or one that is malformed, unknown, expired or revoked. Judged before anything of the body",
        examples: &[
            Example::new("no key", Code::Unauthenticated, "Missing API key"),
            Example::new("wrong key", Code::Unauthenticated, "Invalid API key"),
        ],
        headers: &[],
    },
    Refusal {
        http: 404,
        description: "There is no such path",
        examples: &[Example::new("path", Code::NotFound, "There is nothing at this path")],
        headers: &[],
    },
    Refusal {
        http: 405,
        description: "The path takes another method",
        examples: &[Example::new("method", Code::Unimplemented, "This path takes POST only")],
        headers: &[("Allow", "The methods that the path takes", Type::String)],
    },
    Refusal {
        http: 408,
        description: "The body did not arrive in time",
        examples: &[Example::new(
            "slow",
            Code::DeadlineExceeded,
            "The request body did not arrive in time",
        )],
        headers: &[],
    },
    Refusal {
        http: 413,
        description: "The body is too large",
        examples: &[Example::new(
            "large",
            Code::InvalidArgument,
            "Request too large. Maximum 8388608 bytes",
        )],
        headers: &[],
    },
    Refusal {
        http: 415,
        description: "The Content-Type is given, and is not JSON",
        examples: &[Example::new(
            "type",
            Code::InvalidArgument,
            "Content-Type must be application/json",
        )],
        headers: &[],
    },
    Refusal {
        http: 429,
        description: "Too many calls; nothing was changed. Wait as long as `Retry-After` says, and call again",
        examples: &[
            Example::new(
                "queue",
                Code::ResourceExhausted,
                "Too many calls are waiting; try again in 1 s",
            ),
            Example::new(
                "limit",
                Code::ResourceExhausted,
                "Too many calls with this API key; try again in 1 s",
            ),
        ],
        headers: &[
            RETRY_AFTER,
            ("RateLimit-Policy", "The limits that the key is held to", Type::String),
            ("RateLimit", "Where the key stands now", Type::String),
        ],
    },
    Refusal {
        http: 499,
        description: "The caller went away",
        examples: &[Example::new("gone", Code::Cancelled, "Cancelled")],
        headers: &[],
    },
    Refusal {
        http: 500,
        description: "A fault of the service; tell whoever runs it the request id",
        examples: &[Example::new("fault", Code::Internal, "Internal error")],
        headers: &[],
    },
    Refusal {
        http: 503,
        description: "The service is stopping, or its database is out of reach or cannot be written; the outcome may be unknown. \
                      Wait as long as `Retry-After` says, and call again",
        examples: &[Example::new(
            "unavailable",
            Code::Unavailable,
            "Service temporarily unavailable; try again shortly",
        )],
        headers: &[RETRY_AFTER],
    },
    Refusal {
        http: 504,
        description: "The call took too long, and its outcome is unknown: call again",
        examples: &[Example::new("deadline", Code::DeadlineExceeded, "Deadline exceeded")],
        headers: &[],
    },
];
