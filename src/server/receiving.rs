//! Reads what handlers leave unread of request bodies.
//!
//! A peer whose request is rejected may still be sending. On HTTP/1.1 it may never see the response if its connection is closed
//! meanwhile (RFC 9112, 9.6). On HTTP/2, what arrives for a stream that has ended counts as an error of its connection, and the
//! connection of a proxy or gateway carries the requests of many.

use std::{
    net::IpAddr,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::{Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::runtime::Handle;

use crate::shares::Shares;

/// The largest rest of a body that is read, in bytes, and the longest time for it.
const MAX_REST: usize = 16 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(1);
/// The most bodies of a listener that are read at a time, because each takes memory.
const MAX_BODIES: usize = 1_024;

/// The requests of one connection.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    /// The bodies of the listener whose rest is being read, by network; `None` stands for all proxies.
    rests: Shares<Option<IpAddr>>,
    network: Option<IpAddr>,
}

/// Counts the bodies of a listener whose rest is being read.
pub(super) fn rests() -> Shares<Option<IpAddr>> {
    Shares::new(MAX_BODIES)
}

impl Requests {
    /// The requests of a connection from `network`.
    pub(super) fn from(network: Option<IpAddr>, rests: &Shares<Option<IpAddr>>) -> Self {
        let rests = rests.clone();
        Self { rests, network }
    }

    /// Reads the rest of `body` in the background when a handler drops it.
    pub(super) fn receive<B>(&self, body: B) -> RequestBody<B>
    where
        B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
    {
        RequestBody {
            body: Some(body),
            requests: self.clone(),
        }
    }
}

/// A request body whose rest is read when it is dropped.
#[derive(Debug)]
pub(super) struct RequestBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
{
    /// `None` after its end.
    body: Option<B>,
    requests: Requests,
}

impl<B> HttpBody for RequestBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl<B> Drop for RequestBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin + Send + 'static,
{
    fn drop(&mut self) {
        let unread = self.body.take().filter(|body| !body.is_end_stream());
        if let Some(body) = unread
            && body.size_hint().lower() <= MAX_REST as u64
            && let Some(share) = self.requests.rests.take(self.requests.network, 1)
            // There is none while the process ends.
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                // A body that takes longer is cut off.
                let _ = tokio::time::timeout(TIMEOUT, discard(body)).await;
                drop(share);
            });
        }
    }
}

async fn discard<B: HttpBody<Data = Bytes>>(body: B) {
    let mut body = pin!(body);
    let mut length = 0;
    while length <= MAX_REST
        && let Some(Ok(frame)) = body.frame().await
    {
        length += frame.data_ref().map_or(0, Bytes::len);
    }
}
