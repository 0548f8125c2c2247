//! Protection against floods of HTTP/2 control frames: pings, settings, priorities. The HTTP library answers each of them
//! without limit. They take no memory, but keep a core busy.
//!
//! HTTP/1.1 has no frames. Its heads are checked for bare line feeds instead (`http1_heads.rs`).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::http1_heads::{AFTER_CR, Heads, end_with_cr};

/// The HTTP/2 connection preface.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The length of a frame header, and two frame types (RFC 9113, 4.1 and 6).
const HEAD_LENGTH: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
/// A data frame with fewer bytes than this counts as a control frame: the library needs 100 bytes for each unread one.
const SMALL_DATA: usize = 8;
/// How many more control frames each request allows.
const FRAMES_PER_REQUEST: usize = 100;
/// One more control frame is allowed after this time, for the pings of idle peers.
const ONE_MORE_AFTER: Duration = Duration::from_secs(1);
/// One more control frame is allowed for so many bytes sent: peers report what they have read.
const BYTES_PER_FRAME: usize = 1024;

/// A stream that limits control frames. Too many of them are a read error, which closes the connection. In HTTP/1.1, only
/// CR LF may end a line of a head.
#[derive(Debug)]
pub(super) struct GuardedStream<S> {
    stream: S,
    frames: Frames,
    /// What is read instead of the next bytes of the peer, after a bare LF.
    instead: Option<&'static [u8]>,
}

/// What a peer must not send.
#[derive(Debug, PartialEq, Eq)]
enum Violation {
    /// More control frames than allowed.
    Flood,
    /// A bare LF at this index of the bytes read.
    BareLf(usize),
}

impl<S> GuardedStream<S> {
    pub(super) fn new(stream: S, max_control_frames: usize) -> Self {
        let frames = Frames {
            position: Position::Preface(0),
            allowed: max_control_frames,
            max: max_control_frames,
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
    position: Position,
    /// How many more control frames are allowed.
    allowed: usize,
    /// The most that are ever allowed.
    max: usize,
    /// Bytes sent that have not yet allowed another frame.
    sent: usize,
    /// The start of the time that has not yet allowed another frame.
    since: Instant,
}

/// The position of the next byte.
#[derive(Debug, Clone, Copy)]
enum Position {
    /// After so many bytes of the preface.
    Preface(usize),
    /// In HTTP/1.1.
    Http1(Heads),
    /// After so many bytes of a frame header, with the values read so far.
    Head { seen: usize, length: usize, kind: u8 },
    /// Before the last bytes of a payload, so many of them.
    Payload(usize),
}

impl Position {
    const NEXT_FRAME: Self = Self::Head {
        seen: 0,
        length: 0,
        kind: 0,
    };
}

impl Frames {
    /// Counts the control frames that begin in `all`.
    fn read(&mut self, all: &[u8]) -> Result<(), Violation> {
        let mut bytes = all;
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.position {
                Position::Http1(ref mut heads) => {
                    let before = all.len() - bytes.len();
                    let index = heads.bare_lf(bytes);
                    return index.map_or(Ok(()), |index| Err(Violation::BareLf(before + index)));
                }
                Position::Preface(seen) if PREFACE.get(seen) == Some(&byte) => {
                    bytes = rest;
                    self.position = match seen + 1 {
                        seen if seen == PREFACE.len() => Position::NEXT_FRAME,
                        seen => Position::Preface(seen),
                    };
                }
                Position::Preface(seen) => {
                    let mut heads = Heads::default();
                    // These line ends are valid.
                    heads.bare_lf(PREFACE.get(..seen).unwrap_or_default());
                    self.position = Position::Http1(heads);
                }
                Position::Head { seen, length, kind } => {
                    bytes = rest;
                    let (length, kind) = match seen {
                        0..=2 => (length << 8 | usize::from(byte), kind),
                        3 => (length, byte),
                        _ => (length, kind),
                    };
                    self.position = Position::Head {
                        seen: seen + 1,
                        length,
                        kind,
                    };
                    if seen + 1 == HEAD_LENGTH {
                        self.position = Position::Payload(length);
                        if !self.allows(kind, length) {
                            return Err(Violation::Flood);
                        }
                    }
                }
                Position::Payload(0) => self.position = Position::NEXT_FRAME,
                Position::Payload(left) => {
                    let skipped = left.min(bytes.len());
                    bytes = bytes.get(skipped..).unwrap_or_default();
                    self.position = Position::Payload(left - skipped);
                }
            }
        }
        Ok(())
    }

    fn allows(&mut self, kind: u8, length: usize) -> bool {
        match kind {
            HEADERS => self.allow_more(FRAMES_PER_REQUEST),
            DATA if length >= SMALL_DATA => {}
            _ => {
                self.allow_for_time();
                match self.allowed.checked_sub(1) {
                    Some(allowed) => self.allowed = allowed,
                    None => return false,
                }
            }
        }
        true
    }

    fn allow_for_time(&mut self) {
        while self.allowed < self.max && self.since.elapsed() >= ONE_MORE_AFTER {
            self.since += ONE_MORE_AFTER;
            self.allow_more(1);
        }
        if self.allowed == self.max {
            self.since = Instant::now();
        }
    }

    fn allow_for_sent(&mut self, bytes: usize) {
        self.sent += bytes;
        self.allow_more(self.sent / BYTES_PER_FRAME);
        self.sent %= BYTES_PER_FRAME;
    }

    fn allow_more(&mut self, frames: usize) {
        self.allowed = self.allowed.saturating_add(frames).min(self.max);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardedStream<S> {
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
            Err(Violation::Flood) => Err(io::Error::other("too many control frames")),
            Err(Violation::BareLf(index)) => {
                end_with_cr(buffer, before + index);
                self.instead = Some(AFTER_CR);
                Ok(())
            }
        })
    }
}

impl<S: AsyncWrite + Unpin> GuardedStream<S> {
    fn count(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.frames.allow_for_sent(bytes);
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for GuardedStream<S> {
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
        // If a payload were read as a header, this would be a flood.
        frame.extend(std::iter::repeat_n(PING, usize::from(length)));
        frame
    }

    fn frames(max: usize) -> Frames {
        GuardedStream::new((), max).frames
    }

    proptest! {
        #[test]
        fn control_frames_are_counted_in_any_pieces(
            kinds in proptest::collection::vec((0_u8..11, 0_u8..40), 0..50),
            piece in 1_usize..60,
        ) {
            let mut bytes = PREFACE.to_vec();
            let mut control = 0;
            for (kind, length) in kinds.iter().filter(|(kind, _)| *kind != HEADERS) {
                bytes.extend(frame(*kind, *length));
                control += usize::from(*kind != DATA || usize::from(*length) < SMALL_DATA);
            }
            for (max, fits) in [(control, true), (control.wrapping_sub(1), control == 0)] {
                let mut frames = frames(max);
                prop_assert_eq!(bytes.chunks(piece).all(|piece| frames.read(piece).is_ok()), fits);
            }
        }

        #[test]
        fn http_1_has_no_frames(text in "[A-OQ-Z][ -~]{0,200}") {
            prop_assert_eq!(frames(0).read(text.as_bytes()), Ok(()));
        }
    }

    #[test]
    fn requests_responses_and_time_allow_more_frames() {
        let mut frames = frames(2);
        let pings = [frame(PING, 8), frame(PING, 8)].concat();
        assert_eq!(frames.read(PREFACE), Ok(()));
        assert_eq!(frames.read(&pings), Ok(()));
        assert_eq!(frames.read(&frame(HEADERS, 3)), Ok(()));
        assert_eq!(frames.read(&pings), Ok(()));
        frames.allow_for_sent(BYTES_PER_FRAME - 1);
        frames.allow_for_sent(BYTES_PER_FRAME + 1);
        assert_eq!(frames.read(&pings), Ok(()));
        // Never more than at the start.
        frames.allow_for_sent(BYTES_PER_FRAME * 100);
        assert_eq!(frames.read(&pings), Ok(()));
        // Time allows more, too.
        frames.since -= 2 * ONE_MORE_AFTER;
        assert_eq!(frames.read(&pings), Ok(()));
        assert_eq!(frames.read(&pings), Err(Violation::Flood));
    }

    /// Also if the head begins like the preface.
    #[test]
    fn a_bare_lf_has_its_index_in_the_bytes_read() {
        for (text, index) in [
            ("PRI * HTTP/2.0\r\n\r\nS: \n", 21),
            ("P\n", 1),
            ("\n", 0),
            ("PUT\r\na\n", 6),
        ] {
            for size in 1..=text.len() {
                let mut frames = frames(0);
                let mut pieces = text.as_bytes().chunks(size);
                let violation = pieces.find_map(|piece| frames.read(piece).err());
                assert_eq!(violation, Some(Violation::BareLf(index % size)), "{text:?} {size}");
            }
        }
    }
}
