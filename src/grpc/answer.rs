//! Encodes the answer to a call before it is sent.

use std::future::ready;

use axum::{body::HttpBody, response::Response};
use http_body_util::{BodyExt, Full};
use tonic::Status;

use crate::body::hold_until_sent;

/// Encodes the message of a handler, and keeps `held` until its bytes have been sent.
///
/// The bytes take less memory than the message, and their length is known. A caller that does not read its answer keeps
/// holding its permits and its share.
///
/// # Errors
/// When the message cannot be encoded.
pub(super) async fn encoded<H: Send + Unpin + 'static>(response: Response, held: H) -> Result<Response, Status> {
    if response.body().is_end_stream() {
        // An error is in the headers alone. A data frame after them would be a broken stream for clients.
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = body.collect().await;
    let body = body.map_err(|error| Status::internal(error.to_string()))?;
    let trailers = body.trailers().cloned();
    let body = Full::new(body.to_bytes()).with_trailers(ready(trailers.map(Ok)));
    Ok(hold_until_sent(Response::from_parts(parts, body), held))
}
