//! The error responses of the REST API: the only place where statuses become HTTP.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header},
    middleware::Next,
    response::IntoResponse,
};
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::{ErrorInfo, StatusExt};
use utoipa::ToSchema;

use super::{
    fields::{self, with_json_names},
    json_line::JsonLine,
    passed_on::{self, PassedOn},
};
use crate::{
    code::code_name,
    duration::ceil_seconds,
    grpc::SCOPE_MISSING,
    reason::{DOMAIN, Reason},
    request_id,
};

/// How long a caller waits before it tries again, when the service does not say.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// 499, "client closed request": nobody reads it, but logs of proxies do (google.rpc.Code, CANCELLED).
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// How a caller without a valid key can authenticate (RFC 9110, 11.6.1; RFC 6750, 3).
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"device-assignment\"");
const CHALLENGE_AFTER_INVALID_KEY: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"device-assignment\", error=\"invalid_token\"");
/// For more than one way to send a key.
const CHALLENGE_AFTER_TWO_KEYS: HeaderValue =
    HeaderValue::from_static("Bearer realm=\"device-assignment\", error=\"invalid_request\"");

/// A request that is not answered with 200.
#[derive(Debug, Clone)]
pub(super) struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    http: StatusCode,
    code: Code,
    /// A service may be newer than its gateway, and have other reasons.
    reason: Cow<'static, str>,
    metadata: BTreeMap<String, String>,
    sentence: String,
    violations: Vec<FieldViolation>,
    headers: HeaderMap,
}

/// One invalid field.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct FieldViolation {
    /// The path of the field in the request.
    #[schema(example = "deviceIdentifiers[2]")]
    pub(super) field: String,
    /// What is wrong with it.
    #[schema(example = "deviceIdentifiers[2] must not be empty")]
    pub(super) description: String,
}

/// Why a request failed.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Error)]
pub(super) struct Envelope<'a> {
    /// One sentence for people: what is wrong, and what to do.
    #[schema(example = "Too many calls with this API key; try again in 3 s")]
    pub(super) error: &'a str,
    /// The name of the gRPC code (google.rpc.Code).
    #[schema(example = "RESOURCE_EXHAUSTED")]
    pub(super) code: &'a str,
    /// The reason, for programs. There may be new reasons: treat one that you do not know by its code.
    #[schema(example = "RATE_LIMITED")]
    pub(super) reason: &'a str,
    /// The id of the request, as in the header `x-request-id`. Report it to the operator of the service.
    pub(super) request_id: &'a str,
    /// The invalid fields, at most 16 of them. Absent if there are none.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(min_items = 1, max_items = 16)]
    pub(super) field_violations: &'a [FieldViolation],
    /// The numbers in the sentence, for programs. Absent if there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, String>, example = json!({ "limit": "20000", "retryAfterSeconds": "3" }))]
    pub(super) metadata: &'a BTreeMap<String, String>,
}

impl Problem {
    fn new(reason: Reason, sentence: impl Into<String>) -> Self {
        let problem = Self(Box::new(Parts {
            http: status_of(reason),
            code: reason.code(),
            reason: reason.name().into(),
            metadata: BTreeMap::new(),
            sentence: sentence.into(),
            violations: Vec::new(),
            headers: HeaderMap::new(),
        }));
        match reason.code() {
            Code::ResourceExhausted | Code::Aborted | Code::Unavailable => problem.with_retry_after(RETRY_AFTER),
            _ => problem,
        }
    }

    fn with_header(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    fn with_metadata(mut self, name: &str, number: usize) -> Self {
        self.0.metadata.insert(name.to_owned(), number.to_string());
        self
    }

    fn with_retry_after(mut self, delay: Duration) -> Self {
        // Zero would mean at once.
        let seconds = ceil_seconds(delay).max(1);
        let metadata = &mut self.0.metadata;
        metadata.insert("retryAfterSeconds".to_owned(), seconds.to_string());
        self.with_header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    fn with_violation(mut self, field: impl Into<String>) -> Self {
        let description = self.0.sentence.clone();
        let field = field.into();
        self.0.violations.push(FieldViolation { field, description });
        self
    }

    pub(super) fn not_found() -> Self {
        Self::new(Reason::PathNotFound, "There is nothing at this path")
    }

    pub(super) fn method_not_allowed(allowed: &[Method]) -> Self {
        let methods = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let problem = Self::new(Reason::MethodNotAllowed, format!("This path accepts {methods} only"));
        match HeaderValue::try_from(methods) {
            Ok(allow) => problem.with_header(header::ALLOW, allow),
            Err(_not_a_method) => problem,
        }
    }

    /// A write with a key that may only read, as the service says it.
    pub(super) fn scope_missing() -> Self {
        Self::new(Reason::ScopeMissing, SCOPE_MISSING)
    }

    pub(super) fn unsupported_media_type() -> Self {
        Self::new(Reason::UnsupportedMediaType, "Content-Type must be application/json")
    }

    /// A compressed body.
    pub(super) fn unsupported_encoding() -> Self {
        let sentence = "Content-Encoding is not supported; send the body uncompressed";
        Self::new(Reason::UnsupportedEncoding, sentence)
            .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"))
    }

    /// A host that is missing, repeated or invalid.
    pub(super) fn invalid_host(sentence: &str) -> Self {
        Self::new(Reason::InvalidHost, sentence)
    }

    /// A body that does not arrive in time.
    pub(super) fn too_slow() -> Self {
        Self::new(Reason::RequestTimeout, "The request body did not arrive in time")
    }

    /// A body that would exceed the bytes in flight.
    pub(super) fn no_room() -> Self {
        let sentence = "Too many bytes of requests and responses are in flight; try again shortly";
        Self::new(Reason::Overloaded, sentence)
    }

    pub(super) fn too_large(max_body_bytes: usize) -> Self {
        let sentence = format!("Request too large. Maximum {max_body_bytes} bytes");
        Self::new(Reason::RequestTooLarge, sentence).with_metadata("maxBytes", max_body_bytes)
    }

    /// A list of devices or customers that is too long, as the service says it.
    pub(super) fn too_many_devices(member: &str, count: usize, max: usize) -> Self {
        let (nouns, count_name, max_name) = match member {
            "customerEmails" => ("customers", "customerCount", "maxCustomers"),
            _ => ("devices", "deviceCount", "maxDevices"),
        };
        Self::new(
            Reason::InvalidRequest,
            format!("Too many {nouns}. Maximum {max} per request"),
        )
        .with_violation(member)
        .with_metadata(count_name, count)
        .with_metadata(max_name, max)
        .with_metadata("violationCount", 1)
    }

    /// A body that is not the JSON of the request, because of `field` where that is known.
    pub(super) fn invalid_body(sentence: String, field: Option<String>) -> Self {
        let problem = Self::new(Reason::InvalidJson, sentence);
        match field {
            Some(field) => problem.with_violation(field),
            None => problem,
        }
    }

    /// An invalid parameter of a query string, or a member of the body that is missing, as the service says it.
    pub(super) fn invalid_field(sentence: String, name: &str) -> Self {
        Self::invalid_query(sentence)
            .with_violation(name)
            .with_metadata("violationCount", 1)
    }

    /// A query string that cannot be read.
    pub(super) fn invalid_query(sentence: String) -> Self {
        Self::new(Reason::InvalidRequest, sentence)
    }

    pub(super) fn panicked() -> Response<Body> {
        Self::new(Reason::Internal, "Internal error").into_response()
    }

    /// What the service itself says of its error. Any other status is a framework's or a proxy's, and its message may contain
    /// addresses and the like.
    fn info_of_the_service(status: &Status) -> Option<ErrorInfo> {
        status.get_details_error_info().filter(|info| info.domain == DOMAIN)
    }

    /// Whether the service made this status.
    pub(super) fn is_of_the_service(status: &Status) -> bool {
        Self::info_of_the_service(status).is_some()
    }

    pub(super) fn code(&self) -> Code {
        self.0.code
    }

    #[cfg(test)]
    pub(super) fn sentence(&self) -> &str {
        &self.0.sentence
    }

    /// The members of the error, for an event that ends a stream.
    pub(super) fn members(&self) -> impl Serialize {
        serde_json::json!({
            "error": self.0.sentence,
            "code": code_name(self.0.code),
            "reason": self.0.reason,
            "metadata": self.0.metadata,
        })
    }

    /// The reason.
    pub(super) fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The paths of the invalid fields, for the log. An unknown member has a name of the caller's, and is left out.
    pub(super) fn known_fields(&self, rpc: &str) -> Option<String> {
        let paths = self.0.violations.iter().map(|violation| violation.field.as_str());
        let known: Vec<&str> = paths.filter(|path| fields::has_member(rpc, path)).collect();
        (!known.is_empty()).then(|| known.join(","))
    }

    /// This problem with the headers that the service answered.
    pub(super) fn with_passed_on(mut self, headers: PassedOn) -> Self {
        passed_on::write(headers, &mut self.0.headers);
        self
    }

    /// A status of something between the gateway and the service.
    fn of_another(code: Code) -> Self {
        match code {
            // Unknown: the connection was lost before the response was complete.
            Code::Unavailable | Code::Unknown => Self::new(
                Reason::Unavailable,
                "Service temporarily unavailable; try again shortly",
            ),
            Code::ResourceExhausted => Self::new(Reason::Overloaded, "Too many calls are in flight; try again shortly"),
            Code::DeadlineExceeded => Self::new(Reason::DeadlineExceeded, "Deadline exceeded"),
            Code::Cancelled => Self::new(Reason::Cancelled, "Cancelled"),
            _ => Self::new(Reason::Internal, "Internal error"),
        }
    }

    /// A status of the service.
    fn of_the_service(status: &Status, info: ErrorInfo) -> Self {
        let violations = status.get_details_bad_request().map(|details| details.field_violations);
        let violations = violations.unwrap_or_default().into_iter();
        let violations = violations.map(|violation| FieldViolation {
            field: with_json_names(&violation.field),
            description: with_json_names(&violation.description),
        });
        let code = status.code();
        let problem = Self(Box::new(Parts {
            http: Reason::named(&info.reason).map_or_else(|| status_of_code(code), status_of),
            code,
            metadata: info.metadata.into_iter().collect(),
            sentence: with_json_names(status.message()),
            violations: violations.collect(),
            headers: HeaderMap::new(),
            reason: info.reason.into(),
        }));
        let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
        match code {
            Code::ResourceExhausted | Code::Aborted | Code::Unavailable => {
                problem.with_retry_after(delay.unwrap_or(RETRY_AFTER))
            }
            Code::Unauthenticated if problem.reason() == Reason::MissingApiKey.name() => {
                problem.with_header(header::WWW_AUTHENTICATE, CHALLENGE)
            }
            Code::Unauthenticated if problem.reason() == Reason::ConflictingApiKeys.name() => {
                problem.with_header(header::WWW_AUTHENTICATE, CHALLENGE_AFTER_TWO_KEYS)
            }
            Code::Unauthenticated => problem.with_header(header::WWW_AUTHENTICATE, CHALLENGE_AFTER_INVALID_KEY),
            _ => problem,
        }
    }
}

impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        let problem = match Self::info_of_the_service(&status) {
            Some(info) => Self::of_the_service(&status, info),
            None => Self::of_another(status.code()),
        };
        problem.with_passed_on(passed_on::read(status.metadata().as_ref()))
    }
}

impl IntoResponse for Problem {
    /// Leaves the body to [`render`], which knows the id of the request.
    fn into_response(self) -> Response<Body> {
        let mut response = self.0.http.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the envelope of every problem.
pub(super) async fn render(request: Request, next: Next) -> Response<Body> {
    let id = request_id::of(request.headers()).to_owned();
    let mut response = next.run(request).await;
    let Some(Problem(problem)) = response.extensions_mut().remove::<Problem>() else {
        return response;
    };
    let envelope = Envelope {
        error: &problem.sentence,
        code: code_name(problem.code),
        reason: &problem.reason,
        request_id: &id,
        field_violations: &problem.violations,
        metadata: &problem.metadata,
    };
    let mut response = (problem.http, JsonLine(envelope)).into_response();
    response.headers_mut().extend(problem.headers);
    response
}

/// The HTTP status of an error with this reason.
pub(super) fn status_of(reason: Reason) -> StatusCode {
    match reason {
        Reason::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Reason::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Reason::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::UnsupportedMediaType | Reason::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Reason::IdempotencyKeyReused | Reason::AnswerErased => StatusCode::UNPROCESSABLE_ENTITY,
        _ => status_of_code(reason.code()),
    }
}

/// The HTTP status of each code.
fn status_of_code(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::OutOfRange => StatusCode::GONE,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Cancelled => StatusCode::from_u16(CLIENT_CLOSED_REQUEST).unwrap_or(StatusCode::BAD_REQUEST),
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests;
