//! Sends responses in slices, with a timeout.
//!
//! The HTTP library copies a whole body into its buffers and drops it before it is sent. With slices, what the peer does not
//! read stays in the body, together with the permits that the body holds, and a stalled peer is noticed.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    response::Response,
};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::grpc::Unhurried;

/// The largest slice, in bytes: one HTTP/2 frame (RFC 9113, 6.5.2). A peer that reads less than this within the timeout has
/// stalled.
const SLICE: usize = 16 * 1024;

/// How much longer than others the response to a caller that reads at its own pace may stay unread.
const UNHURRIED: Duration = Duration::from_secs(5 * 60);

/// How often progress of a response is recorded.
const RECORD_EVERY: Duration = Duration::from_millis(100);

/// The responses of one connection that are being sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Responses(Arc<Mutex<Unread>>);

/// The responses that wait for the peer to read, with the time since when.
#[derive(Debug, Default)]
struct Unread {
    since: BTreeMap<u64, Instant>,
    next: u64,
    /// When a slice of any response was last taken.
    last_progress: Option<Instant>,
}

impl Unread {
    fn slice_taken(&mut self, id: u64, now: Instant, patience: Duration) {
        self.since.insert(id, now + patience);
        self.last_progress = Some(now);
    }
}

impl Responses {
    /// Sends `response` in slices.
    pub(super) fn send(&self, response: Response) -> Response {
        if response.body().is_end_stream() {
            return response;
        }
        let mut unread = self.unread();
        let id = unread.next;
        unread.next += 1;
        let patience = if response.extensions().get::<Unhurried>().is_some() {
            UNHURRIED
        } else {
            Duration::ZERO
        };
        let now = Instant::now();
        unread.since.insert(id, now + patience);
        drop(unread);
        response.map(|body| {
            Body::new(Sliced {
                body,
                rest: Bytes::new(),
                id,
                patience,
                recorded: Some(now),
                responses: self.clone(),
            })
        })
    }

    /// Returns when the peer has left a response unread for this time.
    pub(super) async fn stalled(&self, timeout: Duration) {
        loop {
            let oldest = self.unread().since.values().min().copied();
            let next = oldest.unwrap_or_else(Instant::now) + timeout;
            if next <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// Whether any response has made progress within this time.
    pub(super) fn make_progress(&self, time: Duration) -> bool {
        self.unread().last_progress.is_some_and(|last| last.elapsed() < time)
    }

    fn unread(&self) -> MutexGuard<'_, Unread> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Sliced {
    body: Body,
    /// Data of the body that is not sent yet.
    rest: Bytes,
    id: u64,
    /// How much longer than others it may stay unread.
    patience: Duration,
    /// When progress was last recorded; `None` while the service has nothing to send.
    recorded: Option<Instant>,
    responses: Responses,
}

impl Sliced {
    /// Records that the peer takes a slice, or that there is none to send. Not at each slice: most responses have only one.
    fn record(&mut self, has_slice: bool) {
        let now = Instant::now();
        match self.recorded {
            Some(recorded) if has_slice && now.duration_since(recorded) < RECORD_EVERY => return,
            None if !has_slice => return,
            _ => {}
        }
        self.recorded = has_slice.then_some(now);
        let mut unread = self.responses.unread();
        if has_slice {
            unread.slice_taken(self.id, now, self.patience);
        } else {
            unread.since.remove(&self.id);
        }
    }
}

impl HttpBody for Sliced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let polled = Pin::new(&mut self.body).poll_frame(context);
            self.record(polled.is_ready());
            match polled {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return other,
            }
        } else {
            self.record(true);
        }
        let length = self.rest.len().min(SLICE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    /// Never true early: the library must keep this body until the last slice is taken.
    fn is_end_stream(&self) -> bool {
        false
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest + body.lower());
        if let Some(upper) = body.upper() {
            hint.set_upper(rest + upper);
        }
        hint
    }
}

impl Drop for Sliced {
    fn drop(&mut self) {
        let mut unread = self.responses.unread();
        if unread.since.remove(&self.id).is_some() {
            unread.last_progress = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::BodyExt;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn sent(responses: &Responses, bytes: usize) -> Body {
        responses.send(Response::new(Body::from(vec![7; bytes]))).into_body()
    }

    #[tokio::test]
    async fn a_body_is_sent_in_slices_and_kept_until_its_end_is_read() {
        let mut body = sent(&Responses::default(), 2 * SLICE + 1);
        assert_eq!(body.size_hint().exact(), Some(2 * SLICE as u64 + 1));
        let mut slices = Vec::new();
        while let Some(frame) = body.frame().await {
            slices.push(frame.expect("no error").into_data().expect("data").len());
            assert!(!body.is_end_stream());
        }
        assert_eq!(slices, [SLICE, SLICE, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_stalls_only_while_it_is_not_read() {
        let responses = Responses::default();
        let mut body = sent(&responses, 3 * SLICE);
        let start = Instant::now();
        let reading = async {
            for _ in 0..3 {
                tokio::time::sleep(TIMEOUT / 2).await;
                body.frame().await.expect("a slice").expect("no error");
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = responses.stalled(TIMEOUT) => {}
            () = reading => {}
        }
        assert_eq!(start.elapsed(), TIMEOUT * 3 / 2 + TIMEOUT);
        assert!(!responses.make_progress(TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn an_unhurried_response_may_stay_unread_for_longer() {
        let responses = Responses::default();
        let mut response = Response::new(Body::from(vec![7; 3 * SLICE]));
        response.extensions_mut().insert(Unhurried);
        let mut body = responses.send(response).into_body();
        body.frame().await.expect("a slice").expect("no error");
        let start = Instant::now();
        responses.stalled(TIMEOUT).await;
        assert_eq!(start.elapsed(), UNHURRIED + TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn other_responses_make_progress_beside_a_stalled_one() {
        let responses = Responses::default();
        let _unread = sent(&responses, SLICE);
        let mut read = sent(&responses, 100 * SLICE);
        let reading = async {
            while read.frame().await.is_some() {
                tokio::time::sleep(TIMEOUT / 4).await;
            }
        };
        tokio::select! {
            () = responses.stalled(TIMEOUT) => {}
            () = reading => panic!("the other one stalls"),
        }
        assert!(responses.make_progress(TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_without_data_does_not_stall() {
        let responses = Responses::default();
        let quiet = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let mut quiet = responses.send(Response::new(quiet)).into_body();
        let waits = tokio::time::timeout(TIMEOUT * 10, async {
            tokio::select! {
                () = responses.stalled(TIMEOUT) => {}
                _ = quiet.frame() => {}
            }
        });
        assert!(waits.await.is_err(), "nothing ends it");
    }
}
