//! The answer to a call, in the form in which it leaves: its bytes, and what the call holds until they are gone.

use std::future::ready;

use axum::{body::HttpBody, response::Response};
use http_body_util::{BodyExt, Full};
use tonic::Status;

use crate::body::hold_until_sent;

/// Turns the message that a handler answered with into its bytes, and keeps `held` until they are gone.
///
/// Bytes take less memory than the message, their number is known, and a caller that does not read its answer goes on
/// holding what the call held.
///
/// # Errors
/// When the message cannot be encoded.
pub(super) async fn encoded<H: Send + Unpin + 'static>(response: Response, held: H) -> Result<Response, Status> {
    if response.body().is_end_stream() {
        // A refusal is in the head alone, and must stay there: clients take a frame of data after it for a broken stream.
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = body.collect().await;
    let body = body.map_err(|error| Status::internal(error.to_string()))?;
    let trailers = body.trailers().cloned();
    let body = Full::new(body.to_bytes()).with_trailers(ready(trailers.map(Ok)));
    Ok(hold_until_sent(Response::from_parts(parts, body), held))
}
