//! Why a tool failed, as the assistant reads it.

use serde_json::{Map, Value, json};
use tonic::Status;
use tonic_types::StatusExt;

use crate::{client::answer, code::code_name, gateway::with_json_names};

/// Why a tool failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The arguments cannot be sent; what to fix.
    Arguments(String),
    /// The service rejects the call or cannot be reached.
    Service(Box<Status>),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Service(Box::new(status))
    }
}

impl Failure {
    /// The code, the reason and the message of the service, and the arguments to fix, as the REST API names them.
    pub(super) fn to_json(&self) -> Value {
        let status = match self {
            Self::Arguments(message) => return json!({ "code": "INVALID_ARGUMENT", "message": message }),
            Self::Service(status) => status,
        };
        let mut members = Map::new();
        members.insert("code".into(), code_name(status.code()).into());
        match status.get_details_error_info() {
            Some(info) => {
                members.insert("reason".into(), info.reason.into());
                members.insert("message".into(), with_json_names(status.message()).into());
            }
            // The client library made the status.
            None => {
                members.insert("message".into(), answer(status).into());
            }
        }
        if let Some(details) = status.get_details_bad_request() {
            let violations = details.field_violations.iter().map(|violation| {
                json!({
                    "field": with_json_names(&violation.field),
                    "description": with_json_names(&violation.description),
                })
            });
            members.insert("fieldViolations".into(), violations.collect());
        }
        if let Some(delay) = status.get_details_retry_info().and_then(|info| info.retry_delay) {
            members.insert("retryAfterSeconds".into(), delay.as_secs_f64().ceil().into());
        }
        if let Some(id) = status.metadata().get("x-request-id").and_then(|id| id.to_str().ok()) {
            members.insert("requestId".into(), id.into());
        }
        Value::Object(members)
    }
}
