//! Why a tool failed, as the assistant reads it.

use serde_json::{Map, Value, json};
use tonic::Status;
use tonic_types::StatusExt;

use crate::{client::answer, code::code_name, duration::ceil_seconds, gateway::with_json_names};

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
            members.insert("retryAfterSeconds".into(), ceil_seconds(delay).into());
        }
        if let Some(id) = status.metadata().get("x-request-id").and_then(|id| id.to_str().ok()) {
            members.insert("requestId".into(), id.into());
        }
        Value::Object(members)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn an_error_has_what_the_service_says_with_the_names_of_arguments() {
        let mut details = ErrorDetails::new();
        details.set_error_info("RATE_LIMITED", "telemetron.ai", []);
        details.set_retry_info(Some(Duration::from_millis(1_001)));
        details.add_bad_request_violation("device_identifiers[2]", "device_identifiers[2] must not be empty");
        let status = Status::with_error_details(Code::ResourceExhausted, "Too many customer_email", details);
        let expected = json!({
            "code": "RESOURCE_EXHAUSTED",
            "reason": "RATE_LIMITED",
            "message": "Too many customerEmail",
            "fieldViolations": [{
                "field": "deviceIdentifiers[2]",
                "description": "deviceIdentifiers[2] must not be empty",
            }],
            "retryAfterSeconds": 2,
        });
        assert_eq!(Failure::from(status).to_json(), expected);
    }
}
