//! Floods of frames that ask for nothing: pings, settings, priorities. The HTTP library answers each of them, one by one and
//! without end, so that they cost no memory; but they keep a connection and a core busy, and no bound ends them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What an HTTP/2 peer says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The length of what stands before the payload of each frame, and the types of two of them (RFC 9113, 4.1 and 6).
const HEAD_LENGTH: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
/// How many more of the other frames a request makes room for.
const FRAMES_A_REQUEST: usize = 100;
/// How long it takes until there is room for one more anyhow: for the pings of those who wait quietly.
const ONE_MORE_EACH: Duration = Duration::from_secs(1);
/// How much the service has to send to make room for one more: peers tell what they have read.
const BYTES_A_FRAME: usize = 1024;

/// A stream whose peer may send so many frames that ask for nothing. More is an error of reading, which ends the
/// connection.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    stream: S,
    frames: Frames,
}

impl<S> Bounded<S> {
    pub(super) fn new(stream: S, max_control_frames: usize) -> Self {
        let frames = Frames {
            place: Place::Preface(0),
            room: max_control_frames,
            most: max_control_frames,
            sent: 0,
            since: Instant::now(),
        };
        Self { stream, frames }
    }
}

#[derive(Debug)]
struct Frames {
    place: Place,
    /// How many frames that ask for nothing may still come.
    room: usize,
    /// How many there may be room for.
    most: usize,
    /// Bytes that were sent and made no room yet.
    sent: usize,
    /// From when on time has made no room yet.
    since: Instant,
}

/// Where in what the peer says the next byte stands.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// After so many bytes of the preface.
    Preface(usize),
    /// In HTTP/1.1, which has no frames.
    NoFrames,
    /// After so many bytes of a frame's head, with what they say.
    Head { seen: usize, length: usize, kind: u8 },
    /// Before so many bytes of a payload.
    Payload(usize),
}

impl Place {
    const NEXT_FRAME: Self = Self::Head {
        seen: 0,
        length: 0,
        kind: 0,
    };
}

impl Frames {
    /// Whether there was room for the frames that begin in `bytes`.
    fn read(&mut self, mut bytes: &[u8]) -> bool {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.place {
                Place::NoFrames => return true,
                Place::Preface(seen) if PREFACE.get(seen) == Some(&byte) => {
                    bytes = rest;
                    self.place = match seen + 1 {
                        seen if seen == PREFACE.len() => Place::NEXT_FRAME,
                        seen => Place::Preface(seen),
                    };
                }
                Place::Preface(_) => self.place = Place::NoFrames,
                Place::Head { seen, length, kind } => {
                    bytes = rest;
                    let (length, kind) = match seen {
                        0..=2 => (length << 8 | usize::from(byte), kind),
                        3 => (length, byte),
                        _ => (length, kind),
                    };
                    self.place = Place::Head {
                        seen: seen + 1,
                        length,
                        kind,
                    };
                    if seen + 1 == HEAD_LENGTH {
                        self.place = Place::Payload(length);
                        if !self.has_room(kind, length) {
                            return false;
                        }
                    }
                }
                Place::Payload(0) => self.place = Place::NEXT_FRAME,
                Place::Payload(left) => {
                    let skipped = left.min(bytes.len());
                    bytes = bytes.get(skipped..).unwrap_or_default();
                    self.place = Place::Payload(left - skipped);
                }
            }
        }
        true
    }

    fn has_room(&mut self, kind: u8, length: usize) -> bool {
        match kind {
            HEADERS => self.make_room(FRAMES_A_REQUEST),
            DATA if length > 0 => {}
            _ => {
                self.wait();
                match self.room.checked_sub(1) {
                    Some(room) => self.room = room,
                    None => return false,
                }
            }
        }
        true
    }

    fn wait(&mut self) {
        while self.room < self.most && self.since.elapsed() >= ONE_MORE_EACH {
            self.since += ONE_MORE_EACH;
            self.make_room(1);
        }
        if self.room == self.most {
            self.since = Instant::now();
        }
    }

    fn wrote(&mut self, bytes: usize) {
        self.sent += bytes;
        self.make_room(self.sent / BYTES_A_FRAME);
        self.sent %= BYTES_A_FRAME;
    }

    fn make_room(&mut self, frames: usize) {
        self.room = self.room.saturating_add(frames).min(self.most);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let fresh = buffer.filled().get(before..).unwrap_or_default();
        Poll::Ready(if self.frames.read(fresh) {
            Ok(())
        } else {
            Err(io::Error::other("too many frames that ask for nothing"))
        })
    }
}

impl<S: AsyncWrite + Unpin> Bounded<S> {
    fn count(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.frames.wrote(bytes);
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.count(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, 0, 0, 0, 0, 1];
        // Were a payload read as a head, this would be a flood.
        frame.extend(std::iter::repeat_n(PING, usize::from(length)));
        frame
    }

    fn frames(most: usize) -> Frames {
        Bounded::new((), most).frames
    }

    proptest! {
        /// Whatever the pieces that it arrives in.
        #[test]
        fn frames_that_ask_for_nothing_are_counted(
            kinds in proptest::collection::vec((0_u8..11, 0_u8..40), 0..50),
            piece in 1_usize..60,
        ) {
            let mut bytes = PREFACE.to_vec();
            let mut idle = 0;
            for (kind, length) in kinds.iter().filter(|(kind, _)| *kind != HEADERS) {
                bytes.extend(frame(*kind, *length));
                idle += usize::from(*kind != DATA || *length == 0);
            }
            for (most, fits) in [(idle, true), (idle.wrapping_sub(1), idle == 0)] {
                let mut frames = frames(most);
                prop_assert_eq!(bytes.chunks(piece).all(|piece| frames.read(piece)), fits);
            }
        }

        #[test]
        fn http_1_has_no_frames(text in "[A-OQ-Z][ -~]{0,200}") {
            prop_assert!(frames(0).read(text.as_bytes()));
        }
    }

    #[test]
    fn requests_and_answers_make_room() {
        let mut frames = frames(2);
        let pings = [frame(PING, 8), frame(PING, 8)].concat();
        assert!(frames.read(PREFACE));
        assert!(frames.read(&pings));
        assert!(frames.read(&frame(HEADERS, 3)));
        assert!(frames.read(&pings));
        frames.wrote(BYTES_A_FRAME - 1);
        frames.wrote(BYTES_A_FRAME + 1);
        assert!(frames.read(&pings));
        // No more than there was in the beginning.
        frames.wrote(BYTES_A_FRAME * 100);
        assert!(frames.read(&pings));
        // Time makes room, too.
        frames.since -= 2 * ONE_MORE_EACH;
        assert!(frames.read(&pings));
        assert!(!frames.read(&pings));
    }
}
