//! Encodes the answer to a call before it is sent.

use std::future::ready;

use axum::{body::HttpBody, response::Response};
use http_body_util::{BodyExt, Full};
use tonic::Status;

use crate::{
    body::hold_until_sent,
    service::InFlightPermit,
    shares::{Holder, Share},
};

/// Encodes the message of a handler, and keeps `permit` and `share` until its bytes have been sent. The share grows to the length
/// of the answer if less was reserved.
///
/// The bytes take less memory than the message, and their length is known. A caller that does not read its answer keeps
/// holding its permits and its share.
///
/// # Errors
/// When the message cannot be encoded.
pub(super) async fn encoded(
    response: Response,
    (permit, mut share): (InFlightPermit, Share<Holder>),
) -> Result<Response, Status> {
    if response.body().is_end_stream() {
        // An error is in the headers alone. A data frame after them would be a broken stream for clients.
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let body = body.collect().await;
    let body = body.map_err(|error| Status::internal(error.to_string()))?;
    let trailers = body.trailers().cloned();
    let bytes = body.to_bytes();
    share.cover(bytes.len());
    let body = Full::new(bytes).with_trailers(ready(trailers.map(Ok)));
    Ok(hold_until_sent(Response::from_parts(parts, body), (permit, share)))
}
