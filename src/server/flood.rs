//! Floods of frames that ask for nothing: pings, settings, priorities. The HTTP library answers each of them, one by one and
//! without end, so that they cost no memory; but they keep a connection and a core busy, and no bound ends them.
//!
//! HTTP/1.1 has no frames. What a peer says in that is handed on to who looks at its line ends.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::http1_heads::{AFTER_SPOILED, Heads, spoil};

/// What an HTTP/2 peer says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The length of what stands before the payload of each frame, and the types of two of them (RFC 9113, 4.1 and 6).
const HEAD_LENGTH: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
/// A frame of data with fewer bytes than this costs the library more than it says: one that is not read yet takes 100 bytes.
const SMALL_DATA: usize = 8;
/// How many more of the other frames a request makes room for.
const FRAMES_A_REQUEST: usize = 100;
/// How long it takes until there is room for one more anyhow: for the pings of those who wait quietly.
const ONE_MORE_EACH: Duration = Duration::from_secs(1);
/// How much the service has to send to make room for one more: peers tell what they have read.
const BYTES_A_FRAME: usize = 1024;

/// A stream whose peer may send so many frames that ask for nothing. More is an error of reading, which ends the
/// connection. In HTTP/1.1, it may end the lines of heads with CR LF only.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    stream: S,
    frames: Frames,
    /// What is read instead of the peer's next bytes, once those before were invalid.
    instead: Option<&'static [u8]>,
}

/// What no peer may send.
#[derive(Debug, PartialEq, Eq)]
enum Offence {
    /// More frames than there was room for.
    Flood,
    /// A bare LF, at this place of what was read.
    BareLf(usize),
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
        let instead = None;
        Self {
            stream,
            frames,
            instead,
        }
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
    Http1(Heads),
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
    /// Looks whether there is room for the frames that begin in `all`.
    fn read(&mut self, all: &[u8]) -> Result<(), Offence> {
        let mut bytes = all;
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.place {
                Place::Http1(ref mut heads) => {
                    let before = all.len() - bytes.len();
                    let place = heads.bare_lf(bytes);
                    return place.map_or(Ok(()), |place| Err(Offence::BareLf(before + place)));
                }
                Place::Preface(seen) if PREFACE.get(seen) == Some(&byte) => {
                    bytes = rest;
                    self.place = match seen + 1 {
                        seen if seen == PREFACE.len() => Place::NEXT_FRAME,
                        seen => Place::Preface(seen),
                    };
                }
                Place::Preface(seen) => {
                    let mut heads = Heads::default();
                    // These line ends are right.
                    heads.bare_lf(PREFACE.get(..seen).unwrap_or_default());
                    self.place = Place::Http1(heads);
                }
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
                            return Err(Offence::Flood);
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
        Ok(())
    }

    fn has_room(&mut self, kind: u8, length: usize) -> bool {
        match kind {
            HEADERS => self.make_room(FRAMES_A_REQUEST),
            DATA if length >= SMALL_DATA => {}
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
        if let Some(instead) = &mut self.instead {
            let (now, later) = instead.split_at(instead.len().min(buffer.remaining()));
            buffer.put_slice(now);
            *instead = later;
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let fresh = buffer.filled().get(before..).unwrap_or_default();
        Poll::Ready(match self.frames.read(fresh) {
            Ok(()) => Ok(()),
            Err(Offence::Flood) => Err(io::Error::other("too many frames that ask for nothing")),
            Err(Offence::BareLf(place)) => {
                spoil(buffer, before + place);
                self.instead = Some(AFTER_SPOILED);
                Ok(())
            }
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
                idle += usize::from(*kind != DATA || usize::from(*length) < SMALL_DATA);
            }
            for (most, fits) in [(idle, true), (idle.wrapping_sub(1), idle == 0)] {
                let mut frames = frames(most);
                prop_assert_eq!(bytes.chunks(piece).all(|piece| frames.read(piece).is_ok()), fits);
            }
        }

        #[test]
        fn http_1_has_no_frames(text in "[A-OQ-Z][ -~]{0,200}") {
            prop_assert_eq!(frames(0).read(text.as_bytes()), Ok(()));
        }
    }

    #[test]
    fn requests_and_answers_make_room() {
        let mut frames = frames(2);
        let pings = [frame(PING, 8), frame(PING, 8)].concat();
        assert_eq!(frames.read(PREFACE), Ok(()));
        assert_eq!(frames.read(&pings), Ok(()));
        assert_eq!(frames.read(&frame(HEADERS, 3)), Ok(()));
        assert_eq!(frames.read(&pings), Ok(()));
        frames.wrote(BYTES_A_FRAME - 1);
        frames.wrote(BYTES_A_FRAME + 1);
        assert_eq!(frames.read(&pings), Ok(()));
        // No more than there was in the beginning.
        frames.wrote(BYTES_A_FRAME * 100);
        assert_eq!(frames.read(&pings), Ok(()));
        // Time makes room, too.
        frames.since -= 2 * ONE_MORE_EACH;
        assert_eq!(frames.read(&pings), Ok(()));
        assert_eq!(frames.read(&pings), Err(Offence::Flood));
    }

    /// What was taken for the beginning of the preface is the beginning of a head.
    #[test]
    fn a_bare_lf_is_found_where_it_is_in_what_was_read() {
        for (text, place) in [
            ("PRI * HTTP/2.0\r\n\r\nS: \n", 21),
            ("P\n", 1),
            ("\n", 0),
            ("PUT\r\na\n", 6),
        ] {
            for size in 1..=text.len() {
                let mut frames = frames(0);
                let mut pieces = text.as_bytes().chunks(size);
                let offence = pieces.find_map(|piece| frames.read(piece).err());
                assert_eq!(offence, Some(Offence::BareLf(place % size)), "{text:?} {size}");
            }
        }
    }
}
