//! The parameters that every operation takes, for the OpenAPI description.

use utoipa::IntoParams;

/// The request header that names the request.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) struct RequestIdHeader {
    /// An id for this request, returned with the response and written to the log: 1 to 64 of `[A-Za-z0-9._-]`. The service
    /// replaces any other value by an id of its own.
    #[param(rename = "x-request-id", required = false)]
    id: String,
}
