//! Answers on their way out: handed on in slices, counted among the bytes in flight, and not for ever.
//!
//! The HTTP library takes a body into its own buffers as soon as it gets one, and lets go of it before it has left. In
//! slices, what the peer does not read stays here, where it is counted, and where it shows that nothing moves.

use std::{
    collections::HashMap,
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

use crate::shares::{Holder, Share, Shares};

/// The largest slice, in bytes: a frame of HTTP/2 (RFC 9113, 6.5.2). A peer that reads less within the time-out counts as
/// one that reads nothing.
const SLICE: usize = 16 * 1024;

/// The answers of one connection that are on their way out.
#[derive(Debug, Clone)]
pub(super) struct Answers {
    /// What all answers of the process hold.
    in_flight: Shares<Holder>,
    waiting: Arc<Mutex<Waiting>>,
}

/// Since when the peer has to read on, by answer.
#[derive(Debug, Default)]
struct Waiting {
    since: HashMap<u64, Instant>,
    next: u64,
}

impl Answers {
    pub(super) fn new(in_flight: Shares<Holder>) -> Self {
        let waiting = Arc::default();
        Self { in_flight, waiting }
    }

    /// Sends `response` in slices. Its bytes are counted for `holder`.
    pub(super) fn send(&self, response: Response, holder: Holder) -> Response {
        if response.body().is_end_stream() {
            return response;
        }
        let mut share = self.in_flight.nothing(holder);
        // What is carried out is answered, whatever there is room for.
        share.grow_unchecked(usize::try_from(response.body().size_hint().lower()).unwrap_or(usize::MAX));
        let mut waiting = self.waiting();
        let id = waiting.next;
        waiting.next += 1;
        waiting.since.insert(id, Instant::now());
        drop(waiting);
        response.map(|body| {
            Body::new(Sliced {
                body,
                rest: Bytes::new(),
                id,
                answers: self.clone(),
                _share: share,
            })
        })
    }

    /// Returns when the peer has left an answer unread for so long.
    pub(super) async fn stalled(&self, timeout: Duration) {
        loop {
            let oldest = self.waiting().since.values().min().copied();
            let next = oldest.unwrap_or_else(Instant::now) + timeout;
            if next <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(next).await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Sliced {
    body: Body,
    /// What the body has given and was not handed on.
    rest: Bytes,
    id: u64,
    answers: Answers,
    _share: Share<Holder>,
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
            let (id, mut waiting) = (self.id, self.answers.waiting());
            if polled.is_pending() {
                // It is the service's turn.
                waiting.since.remove(&id);
                return Poll::Pending;
            }
            waiting.since.insert(id, Instant::now());
            drop(waiting);
            match polled {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return other,
            }
        } else {
            let id = self.id;
            self.answers.waiting().since.insert(id, Instant::now());
        }
        let length = self.rest.len().min(SLICE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    /// Never before the end was asked for: as long as the last slice is not taken, this is kept.
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
        self.answers.waiting().since.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::BodyExt;

    use super::*;

    const HOLDER: Holder = Holder::Network(None);
    const TIMEOUT: Duration = Duration::from_secs(10);

    /// A body of so many bytes on its way out, and what counts them.
    fn sent(bytes: usize) -> (Body, Answers, Shares<Holder>) {
        let shares = Shares::new(usize::MAX);
        let answers = Answers::new(shares.clone());
        let body = answers
            .send(Response::new(Body::from(vec![7; bytes])), HOLDER)
            .into_body();
        (body, answers, shares)
    }

    #[tokio::test]
    async fn a_body_leaves_in_slices_and_is_counted_until_it_is_gone() {
        let (mut body, _, shares) = sent(2 * SLICE + 1);
        assert_eq!(shares.total(), 2 * SLICE + 1);
        assert_eq!(body.size_hint().exact(), Some(2 * SLICE as u64 + 1));
        let mut slices = Vec::new();
        while let Some(frame) = body.frame().await {
            slices.push(frame.expect("no error").into_data().expect("data").len());
            assert!(!body.is_end_stream(), "it must be kept until its end is asked for");
        }
        assert_eq!(slices, [SLICE, SLICE, 1]);
        assert_eq!(shares.total(), 2 * SLICE + 1);
        drop(body);
        assert_eq!(shares.total(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_stalls_and_one_that_is_does_not() {
        let (mut body, answers, _) = sent(3 * SLICE);
        let start = Instant::now();
        let reading = async {
            for _ in 0..3 {
                tokio::time::sleep(TIMEOUT / 2).await;
                body.frame().await.expect("a slice").expect("no error");
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = answers.stalled(TIMEOUT) => {}
            () = reading => {}
        }
        assert_eq!(start.elapsed(), TIMEOUT * 3 / 2 + TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_has_nothing_to_say_does_not_stall() {
        let answers = Answers::new(Shares::new(usize::MAX));
        let quiet = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let mut quiet = answers.send(Response::new(quiet), HOLDER).into_body();
        let waits = tokio::time::timeout(TIMEOUT * 10, async {
            tokio::select! {
                () = answers.stalled(TIMEOUT) => {}
                _ = quiet.frame() => {}
            }
        });
        assert!(waits.await.is_err(), "nothing ends it");
    }
}
