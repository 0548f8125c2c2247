//! The response to a call that is a stream: its log line and its metrics come at its end.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use http::HeaderMap;
use http_body::Frame;
use tracing::Span;

use super::{call_log::CallLogEntry, panic, status::code_of};
use crate::{code::code_name, telemetry::metrics};

/// Marks a response that may stay unread for minutes: its caller reads at its own pace.
#[derive(Debug, Clone, Copy)]
pub struct Unhurried;

/// Finishes the log entry of a stream when it ends.
pub(super) fn logged(response: Response, entry: CallLogEntry) -> Response {
    if response.body().is_end_stream() {
        // An error is in the headers alone.
        ended(entry, response.headers());
        return response;
    }
    let mut response = response.map(|body| {
        Body::new(LoggedBody {
            body,
            span: entry.span(),
            entry: Some(entry),
        })
    });
    response.extensions_mut().insert(Unhurried);
    response
}

fn ended(entry: CallLogEntry, status: &HeaderMap) {
    metrics::stream_ended(code_name(code_of(status)));
    entry.finish(status);
}

struct LoggedBody {
    body: Body,
    /// For other log lines about the call.
    span: Span,
    /// None after the end.
    entry: Option<CallLogEntry>,
}

impl HttpBody for LoggedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.entry.is_none() {
            return Poll::Ready(None);
        }
        let Self { body, span, .. } = &mut *self;
        let polled = span.in_scope(|| catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(context))));
        // The end of the stream.
        let polled = polled.unwrap_or_else(|_message| {
            let mut trailers = HeaderMap::new();
            // Writing a status that the service made does not fail.
            let _ = panic::status().add_header(&mut trailers);
            Poll::Ready(Some(Ok(Frame::trailers(trailers))))
        });
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
            && let Some(entry) = self.entry.take()
        {
            ended(entry, trailers);
        }
        polled
    }
}

impl Drop for LoggedBody {
    fn drop(&mut self) {
        // The caller has left: the entry is that of a cancelled call.
        if self.entry.take().is_some() {
            metrics::stream_ended(code_name(tonic::Code::Cancelled));
        }
    }
}
