//! What REST callers learn of an error: the only place where statuses become HTTP.

use std::time::Duration;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, Method, Response, StatusCode, header},
    middleware::Next,
    response::IntoResponse,
};
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use utoipa::ToSchema;

use super::{
    fields::with_json_names,
    json_line::JsonLine,
    rate_limits::{self, RateLimitValues},
};
use crate::{code::code_name, request_id};

/// How long a caller waits before trying again, when the service does not say.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// 499, "client closed request": nobody reads it, but logs of proxies do (google.rpc.Code, CANCELLED).
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// A request that is not answered with 200.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    http: StatusCode,
    code: Code,
    sentence: String,
    violations: Vec<FieldViolation>,
    retry_after: Option<Duration>,
    allow: Option<HeaderValue>,
    limits: Box<RateLimitValues>,
}

/// One field that breaks its rule.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct FieldViolation {
    /// The path of the field in the request.
    #[schema(example = "deviceIdentifiers[2]")]
    pub(super) field: String,
    /// What is wrong with it.
    #[schema(example = "deviceIdentifiers[2] must not be empty")]
    pub(super) description: String,
}

/// Why a request was refused.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Error)]
pub(super) struct Envelope<'a> {
    /// One sentence that says what to mend.
    #[schema(example = "Invalid API key")]
    pub(super) error: &'a str,
    /// The name of the gRPC code (google.rpc.Code).
    #[schema(example = "UNAUTHENTICATED")]
    pub(super) code: &'a str,
    /// The id of the request, as in the header `x-request-id`: what to tell whoever runs the service.
    pub(super) request_id: &'a str,
    /// The fields that break their rules, at most 16 of them; only where there are some.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(min_items = 1, max_items = 16)]
    pub(super) field_violations: &'a [FieldViolation],
}

impl Problem {
    fn new(http: StatusCode, code: Code, sentence: impl Into<String>) -> Self {
        Self {
            http,
            code,
            sentence: sentence.into(),
            violations: Vec::new(),
            retry_after: None,
            allow: None,
            limits: Box::default(),
        }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::NotFound, "There is nothing at this path")
    }

    pub(super) fn method_not_allowed(allowed: &[Method]) -> Self {
        let methods = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let sentence = format!("This path takes {methods} only");
        Self {
            allow: HeaderValue::try_from(methods).ok(),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, sentence)
        }
    }

    pub(super) fn unsupported_media_type() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::InvalidArgument,
            "Content-Type must be application/json",
        )
    }

    /// A host that is missing, given twice or invalid.
    pub(super) fn invalid_host(sentence: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, sentence)
    }

    /// A body that does not come to its end.
    pub(super) fn too_slow() -> Self {
        let sentence = "The request body did not arrive in time";
        Self::new(StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, sentence)
    }

    /// A body for which there is no room now.
    pub(super) fn no_room() -> Self {
        let sentence = "Too many bytes of requests and answers are in flight; try again shortly";
        Self {
            retry_after: Some(RETRY_AFTER),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted, sentence)
        }
    }

    pub(super) fn too_large(max_body_bytes: usize) -> Self {
        let sentence = format!("Request too large. Maximum {max_body_bytes} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Code::InvalidArgument, sentence)
    }

    /// A body that is not the JSON form of the message, by fault of `field` where it is known.
    pub(super) fn invalid_body(sentence: String, field: Option<String>) -> Self {
        let violation = field.map(|field| FieldViolation {
            field,
            description: sentence.clone(),
        });
        Self {
            violations: violation.into_iter().collect(),
            ..Self::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, sentence)
        }
    }

    pub(super) fn panicked() -> Response<Body> {
        Self::from(Status::internal("Internal error")).into_response()
    }

    /// A status that the service made has a reason. Any other is a framework's or a proxy's, and its words may tell of
    /// addresses and the like.
    pub(super) fn is_of_the_service(status: &Status) -> bool {
        status.get_details_error_info().is_some()
    }

    pub(super) fn code(&self) -> Code {
        self.code
    }

    /// This problem, which tells of the caller's limits too.
    pub(super) fn with_limits(self, limits: RateLimitValues) -> Self {
        let limits = Box::new(limits);
        Self { limits, ..self }
    }
}

impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let violations = details.bad_request().map(|bad_request| {
            let violations = bad_request.field_violations.iter();
            violations
                .map(|violation| FieldViolation {
                    field: with_json_names(&violation.field),
                    description: with_json_names(&violation.description),
                })
                .collect()
        });
        let asked = details.retry_info().and_then(|info| info.retry_delay);
        let code = match status.code() {
            // A connection that is lost before the answer is complete.
            Code::Unknown if !Self::is_of_the_service(&status) => Code::Unavailable,
            code => code,
        };
        let sentence = match code {
            _ if Self::is_of_the_service(&status) => with_json_names(status.message()),
            Code::Unavailable => "Service temporarily unavailable; try again shortly".into(),
            Code::DeadlineExceeded => "Deadline exceeded".into(),
            Code::Cancelled => "Cancelled".into(),
            _ => "Internal error".into(),
        };
        let may_retry = matches!(code, Code::ResourceExhausted | Code::Unavailable);
        Self {
            violations: violations.unwrap_or_default(),
            retry_after: may_retry.then(|| asked.unwrap_or(RETRY_AFTER)),
            limits: Box::new(rate_limits::read(status.metadata().as_ref())),
            ..Self::new(http_status(code), code, sentence)
        }
    }
}

impl IntoResponse for Problem {
    /// Leaves the body to [`render`], which knows the request's id.
    fn into_response(self) -> Response<Body> {
        let mut response = self.http.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the envelope of every problem, wherever it arose.
pub(super) async fn render(request: Request, next: Next) -> Response<Body> {
    let id = request_id::of(request.headers()).to_owned();
    let mut response = next.run(request).await;
    let Some(problem) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    let envelope = Envelope {
        error: &problem.sentence,
        code: code_name(problem.code),
        request_id: &id,
        field_violations: &problem.violations,
    };
    let mut response = (problem.http, JsonLine(envelope)).into_response();
    let headers = response.headers_mut();
    rate_limits::write(*problem.limits, headers);
    if let Some(delay) = problem.retry_after {
        // Whole seconds, never zero: zero means at once.
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if let Some(allow) = problem.allow {
        headers.insert(header::ALLOW, allow);
    }
    response
}

/// The HTTP status of each code.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Cancelled => StatusCode::from_u16(CLIENT_CLOSED_REQUEST).unwrap_or(StatusCode::BAD_REQUEST),
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::OutOfRange | Code::Unimplemented | Code::Internal | Code::DataLoss => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// The JSON name of a field's path: `device_identifiers[2]` is `deviceIdentifiers[2]` (proto3 JSON).
pub(super) fn json_path(path: &str) -> String {
    let mut after_underscore = false;
    let mut name = String::with_capacity(path.len());
    for char in path.chars() {
        if char == '_' {
            after_underscore = true;
        } else if std::mem::take(&mut after_underscore) {
            name.push(char.to_ascii_uppercase());
        } else {
            name.push(char);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_fields_get_their_json_names() {
        let cases = [
            ("", ""),
            ("customer_email", "customerEmail"),
            ("device_identifiers", "deviceIdentifiers"),
            ("device_identifiers[2]", "deviceIdentifiers[2]"),
            ("device_identifiers[10000]", "deviceIdentifiers[10000]"),
            ("auto_create_devices", "autoCreateDevices"),
            ("device_type", "deviceType"),
            ("a.b_c[0].d_e", "a.bC[0].dE"),
            ("part_2_of", "part2Of"),
        ];
        for (path, json) in cases {
            assert_eq!(json_path(path), json);
        }
    }

    /// Code and statuses of each row of a table in `docs/ERRORS.md`.
    fn documented(table: &str) -> Vec<(&'static str, Vec<u16>)> {
        let mut sections = include_str!("../../docs/ERRORS.md").split("\n## ");
        let section = sections.find(|section| section.starts_with(table)).expect("a section");
        let mut rows = section.lines().filter(|line| line.starts_with("| "));
        let cells = |row: &'static str| row.split('|').map(str::trim).collect::<Vec<_>>();
        let columns = cells(rows.next().expect("columns"));
        let column = columns.iter().position(|column| *column == "code").expect("a column");
        let row = |row| {
            let cells = cells(row);
            let statuses = cells[column + 1]
                .split(", ")
                .map(|status| status.parse().expect("a status"));
            (cells[column], statuses.collect())
        };
        rows.map(row).collect()
    }

    #[test]
    fn the_documented_status_of_a_code_is_its_own() {
        let codes = || (0..=16).map(Code::from_i32);
        for (documented, statuses) in documented("Reasons\n") {
            let code = codes().find(|code| code_name(*code) == documented).expect("a code");
            assert_eq!(statuses, [http_status(code).as_u16()], "{documented}");
        }
    }

    #[test]
    fn every_status_is_documented_and_no_other() {
        // Kept for later; a proxy's; the transport's.
        const OF_OTHERS: [u16; 3] = [409, 502, 431];
        let rows = ["Reasons\n", "Without a reason\n"].map(documented).concat();
        let documented: Vec<u16> = rows.into_iter().flat_map(|(_, statuses)| statuses).collect();
        let answered: Vec<u16> = crate::gateway::error_responses::ERROR_RESPONSES
            .iter()
            .map(|response| response.http)
            .collect();
        for status in &answered {
            assert!(documented.contains(status), "{status} is not documented");
        }
        for status in documented {
            let is_answered = answered.contains(&status) || OF_OTHERS.contains(&status);
            assert!(is_answered, "{status} is never answered");
        }
    }
}
