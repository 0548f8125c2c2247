//! The answer to a call, in the form in which it leaves: its bytes, and what the call holds until they are gone.

use std::{
    future::ready,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tonic::Status;

/// Turns the message that a handler answered with into its bytes, and keeps `held` until they are gone.
///
/// Bytes take less memory than the message, their number is known, and a caller that does not read its answer goes on
/// holding what the call held.
///
/// # Errors
/// When the message cannot be encoded.
pub(super) async fn encoded<H: Send + Unpin + 'static>(response: Response, held: H) -> Result<Response, Status> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await;
    let body = body.map_err(|error| Status::internal(error.to_string()))?;
    let trailers = body.trailers().cloned();
    let body = Full::new(body.to_bytes()).with_trailers(ready(trailers.map(Ok)));
    Ok(holding(Response::from_parts(parts, body), held))
}

/// Keeps `held` for as long as the body of `response` lasts.
pub(super) fn holding<B, H>(response: Response<B>, held: H) -> Response
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
    H: Send + Unpin + 'static,
{
    response.map(|body| {
        Body::new(Holding {
            body: Box::pin(body),
            _held: held,
        })
    })
}

struct Holding<B, H> {
    body: Pin<Box<B>>,
    _held: H,
}

impl<B: HttpBody<Data = Bytes>, H: Unpin> HttpBody for Holding<B, H> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.body.as_mut().poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
