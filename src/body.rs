//! Receives request bodies within their limits of size, time and total memory, and keeps permits until a response is sent.
//! Used by gRPC and REST.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

use crate::shares::{Holder, Share};

/// The limits of one body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BodyLimits {
    /// Its largest size, in bytes.
    pub(crate) max_bytes: usize,
    /// How long it may take to arrive.
    pub(crate) timeout: Duration,
}

/// Why a body was not received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It is larger than it may be.
    TooLarge,
    /// It did not arrive in time.
    TooSlow,
    /// The bodies in flight hold too many bytes in total.
    NoRoom,
    /// The connection failed, or what arrived is not HTTP.
    Broken,
}

/// Receives all of `body`. The bytes are taken from `share` as they arrive.
///
/// A body of one chunk is returned without a copy. Several chunks are copied into one buffer: kept as they are, chunks of one
/// byte would take 36 times their size.
///
/// # Errors
/// See [`BodyError`]. A body whose announced length is too large is rejected before it is read.
pub(crate) async fn receive<B>(body: B, limits: BodyLimits, share: &mut Share<Holder>) -> Result<Bytes, BodyError>
where
    B: HttpBody<Data = Bytes>,
{
    if body.size_hint().lower() > limits.max_bytes as u64 {
        return Err(BodyError::TooLarge);
    }
    let received = tokio::time::timeout(limits.timeout, collect(body, limits.max_bytes, share)).await;
    received.unwrap_or(Err(BodyError::TooSlow))
}

async fn collect<B>(body: B, max_bytes: usize, share: &mut Share<Holder>) -> Result<Bytes, BodyError>
where
    B: HttpBody<Data = Bytes>,
{
    let mut body = pin!(body);
    let mut buffer = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        // Trailers of a request are ignored.
        let Ok(chunk) = frame.into_data() else {
            continue;
        };
        let length = buffer.len() + chunk.len();
        if length > max_bytes {
            return Err(BodyError::TooLarge);
        }
        if buffer.is_empty() && body.is_end_stream() {
            return if share.grow(chunk.len()) {
                Ok(chunk)
            } else {
                Err(BodyError::NoRoom)
            };
        }
        if length > buffer.capacity() {
            let capacity = length.max(buffer.capacity() * 2).min(max_bytes);
            if !share.grow(capacity - buffer.capacity()) {
                return Err(BodyError::NoRoom);
            }
            buffer.reserve_exact(capacity - buffer.len());
        }
        buffer.extend_from_slice(&chunk);
    }
    Ok(buffer.into())
}

/// Keeps `held` until the body of `response` is dropped.
pub(crate) fn hold_until_sent<B, H>(response: Response<B>, held: H) -> Response
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
    H: Send + Unpin + 'static,
{
    response.map(|body| {
        Body::new(HoldingBody {
            body: Box::pin(body),
            _held: held,
        })
    })
}

struct HoldingBody<B, H> {
    body: Pin<Box<B>>,
    _held: H,
}

impl<B: HttpBody<Data = Bytes>, H: Unpin> HttpBody for HoldingBody<B, H> {
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use proptest::prelude::*;

    use super::*;
    use crate::shares::Shares;

    const HOLDER: Holder = Holder::Network(None);

    fn limits(max_bytes: usize) -> BodyLimits {
        let timeout = Duration::from_secs(60);
        BodyLimits { max_bytes, timeout }
    }

    fn in_chunks(bytes: &[u8], size: usize) -> Body {
        let chunks: Vec<_> = bytes
            .chunks(size)
            .map(|chunk| Ok::<_, Infallible>(Bytes::copy_from_slice(chunk)))
            .collect();
        Body::from_stream(stream::iter(chunks))
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime")
            .block_on(future)
    }

    proptest! {
        #[test]
        fn every_body_arrives_unchanged_and_is_counted(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            size in 1_usize..40,
            max in 1_usize..300,
            room in 0_usize..700,
        ) {
            let shares = Shares::new(room);
            let mut share = shares.empty(HOLDER);
            let received = run(receive(in_chunks(&bytes, size), limits(max), &mut share));
            match received {
                Ok(received) => {
                    prop_assert_eq!(&received[..], &bytes[..]);
                    prop_assert!(bytes.len() <= max);
                    prop_assert!((bytes.len()..=max.max(bytes.len())).contains(&shares.total()));
                }
                Err(BodyError::TooLarge) => prop_assert!(bytes.len() > max),
                Err(error) => {
                    prop_assert_eq!(error, BodyError::NoRoom);
                    prop_assert!(bytes.len() * 4 > room);
                }
            }
            prop_assert!(shares.total() <= room);
            drop(share);
            prop_assert_eq!(shares.total(), 0);
        }
    }

    #[tokio::test]
    async fn a_body_with_too_large_a_length_is_rejected_unread() {
        let body = Body::from(vec![0; 11]);
        let mut share = Shares::new(0).empty(HOLDER);
        assert_eq!(receive(body, limits(10), &mut share).await, Err(BodyError::TooLarge));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_is_too_slow() {
        let body = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let mut share = Shares::new(0).empty(HOLDER);
        assert_eq!(receive(body, limits(10), &mut share).await, Err(BodyError::TooSlow));
    }
}
