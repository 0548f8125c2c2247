//! Answers on their way out: handed on in slices, and not for ever.
//!
//! The HTTP library takes a body into its own buffers as soon as it gets one, and lets go of it before it has left. In
//! slices, what the peer does not read stays in the body, with what that holds, and it shows that nothing moves.

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

/// The largest slice, in bytes: a frame of HTTP/2 (RFC 9113, 6.5.2). A peer that reads less within the time-out counts as
/// one that reads nothing.
const SLICE: usize = 16 * 1024;

/// How often it is noted that an answer moves.
const NOTED_EVERY: Duration = Duration::from_millis(100);

/// The answers of one connection that are on their way out.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers(Arc<Mutex<Waiting>>);

/// Since when the peer has to read on, by answer.
#[derive(Debug, Default)]
struct Waiting {
    since: BTreeMap<u64, Instant>,
    next: u64,
    /// When a slice was last handed on, of any answer.
    moved: Option<Instant>,
}

impl Waiting {
    fn handed_on(&mut self, id: u64, now: Instant) {
        self.since.insert(id, now);
        self.moved = Some(now);
    }
}

impl Answers {
    /// Sends `response` in slices.
    pub(super) fn send(&self, response: Response) -> Response {
        if response.body().is_end_stream() {
            return response;
        }
        let mut waiting = self.waiting();
        let id = waiting.next;
        waiting.next += 1;
        let now = Instant::now();
        waiting.since.insert(id, now);
        drop(waiting);
        response.map(|body| {
            Body::new(Sliced {
                body,
                rest: Bytes::new(),
                id,
                noted: Some(now),
                answers: self.clone(),
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

    /// Whether any answer has moved within this time.
    pub(super) fn move_on(&self, time: Duration) -> bool {
        self.waiting().moved.is_some_and(|moved| moved.elapsed() < time)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Sliced {
    body: Body,
    /// What the body has given and was not handed on.
    rest: Bytes,
    id: u64,
    /// When it was last noted that the peer has to read on.
    noted: Option<Instant>,
    answers: Answers,
}

impl Sliced {
    /// Notes that a slice is handed on, or that there is none: then it is the service's turn. Not more often than matters,
    /// since most answers are one slice.
    fn note(&mut self, is_handed_on: bool) {
        let now = Instant::now();
        match self.noted {
            Some(noted) if is_handed_on && now.duration_since(noted) < NOTED_EVERY => return,
            None if !is_handed_on => return,
            _ => {}
        }
        self.noted = is_handed_on.then_some(now);
        let mut waiting = self.answers.waiting();
        if is_handed_on {
            waiting.handed_on(self.id, now);
        } else {
            waiting.since.remove(&self.id);
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
            self.note(polled.is_ready());
            match polled {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return other,
            }
        } else {
            self.note(true);
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
        let mut waiting = self.answers.waiting();
        if waiting.since.remove(&self.id).is_some() {
            waiting.moved = Some(Instant::now());
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

    fn sent(answers: &Answers, bytes: usize) -> Body {
        answers.send(Response::new(Body::from(vec![7; bytes]))).into_body()
    }

    #[tokio::test]
    async fn a_body_leaves_in_slices_and_is_kept_until_its_end_is_asked_for() {
        let mut body = sent(&Answers::default(), 2 * SLICE + 1);
        assert_eq!(body.size_hint().exact(), Some(2 * SLICE as u64 + 1));
        let mut slices = Vec::new();
        while let Some(frame) = body.frame().await {
            slices.push(frame.expect("no error").into_data().expect("data").len());
            assert!(!body.is_end_stream());
        }
        assert_eq!(slices, [SLICE, SLICE, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_taken_stalls_and_one_that_is_does_not() {
        let answers = Answers::default();
        let mut body = sent(&answers, 3 * SLICE);
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
        assert!(!answers.move_on(TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn beside_an_answer_that_stalls_others_are_seen_to_move() {
        let answers = Answers::default();
        let _unread = sent(&answers, SLICE);
        let mut read = sent(&answers, 100 * SLICE);
        let reading = async {
            while read.frame().await.is_some() {
                tokio::time::sleep(TIMEOUT / 4).await;
            }
        };
        tokio::select! {
            () = answers.stalled(TIMEOUT) => {}
            () = reading => panic!("the other one stalls"),
        }
        assert!(answers.move_on(TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_has_nothing_to_say_does_not_stall() {
        let answers = Answers::default();
        let quiet = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let mut quiet = answers.send(Response::new(quiet)).into_body();
        let waits = tokio::time::timeout(TIMEOUT * 10, async {
            tokio::select! {
                () = answers.stalled(TIMEOUT) => {}
                _ = quiet.frame() => {}
            }
        });
        assert!(waits.await.is_err(), "nothing ends it");
    }
}
