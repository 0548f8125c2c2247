//! Line ends in HTTP/1.1. In a head and around the chunks of a body, a line ends with CR LF (RFC 9112, 2.2). The HTTP library
//! also takes a bare LF, and cannot be told not to. A proxy in front may see one line where the library sees two, and then a
//! peer can hide a request from the proxy (request smuggling).

use memchr::memchr;
use tokio::io::ReadBuf;

/// The names of the fields that say how long a body is.
const CONTENT_LENGTH: &[u8] = b"content-length";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
/// The length of the line end that follows the data of a chunk.
const CHUNK_END: u64 = 2;

/// What the library is given to read after what [`spoil`] left: no LF, and what it takes for the end of the head, so that it
/// answers at once.
pub(super) const AFTER_SPOILED: &[u8] = b"\0\r\n\r\n";

/// Follows what an HTTP/1.1 peer sends, from head to head. Heads that the library refuses need not be understood: nothing
/// that comes after them is read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heads {
    part: Part,
    line: Line,
    /// Whether the last byte was a CR that belongs to the present line.
    after_cr: bool,
    /// The length of the body, or of the chunk, as far as it was read.
    length: u64,
    /// Whether the body comes in chunks.
    is_chunked: bool,
}

/// The part of a request that the next byte belongs to.
#[derive(Debug, Clone, Copy, Default)]
enum Part {
    /// The request line. Empty lines may precede it.
    #[default]
    RequestLine,
    /// The fields of the head, and the empty line after them.
    Fields,
    /// So many bytes of a body.
    Body(u64),
    /// The line before a chunk.
    ChunkSize,
    /// So many bytes of a chunk and its line end.
    Chunk(u64),
    /// The fields after the last chunk, and the empty line after them.
    Trailers,
}

/// What is known of the present line.
#[derive(Debug, Clone, Copy, Default)]
enum Line {
    /// It has no byte yet.
    #[default]
    Start,
    /// It is a CR so far.
    Empty,
    /// It begins with so many bytes of this name.
    Name(&'static [u8], usize),
    /// The number that it holds has begun, in this base.
    Number(u32),
    /// Nothing that matters.
    Other,
}

impl Heads {
    /// Reads what came next, up to the first bare LF that ends a line; returns the place of that one.
    pub(super) fn bare_lf(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut place = 0;
        while let Some(rest) = bytes.get(place..).filter(|rest| !rest.is_empty()) {
            place += match self.part {
                Part::Body(left) | Part::Chunk(left) => self.skip(left, rest.len()),
                Part::RequestLine | Part::Fields | Part::ChunkSize | Part::Trailers => {
                    let end = memchr(b'\n', rest);
                    let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                    self.read(line);
                    match end {
                        Some(end) if !self.after_cr => return Some(place + end),
                        Some(end) => {
                            self.end_line();
                            end + 1
                        }
                        None => line.len(),
                    }
                }
            };
        }
        None
    }

    /// Skips what is left of a body or a chunk; returns how much of that there is.
    fn skip(&mut self, left: u64, available: usize) -> usize {
        let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(available);
        let left = left.saturating_sub(skipped as u64);
        self.part = match self.part {
            Part::Chunk(_) if left == 0 => Part::ChunkSize,
            Part::Chunk(_) => Part::Chunk(left),
            _ if left == 0 => Part::RequestLine,
            _ => Part::Body(left),
        };
        skipped
    }

    /// Reads more of the present line, without its LF.
    fn read(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if matches!(self.line, Line::Other) {
                break;
            }
            self.line = self.next(byte);
        }
        if let Some(&last) = bytes.last() {
            self.after_cr = last == b'\r';
        }
    }

    /// What is known of the line after one more byte.
    fn next(&mut self, byte: u8) -> Line {
        match (self.line, self.part) {
            (Line::Start, _) if byte == b'\r' => Line::Empty,
            (Line::Start, Part::Fields) => match byte {
                b'c' | b'C' => Line::Name(CONTENT_LENGTH, 1),
                b't' | b'T' => Line::Name(TRANSFER_ENCODING, 1),
                _ => Line::Other,
            },
            (Line::Start, Part::ChunkSize) => {
                self.length = 0;
                self.digit(byte, 16).unwrap_or(Line::Other)
            }
            (Line::Name(name, seen), _) => match name.get(seen) {
                Some(expected) if byte.eq_ignore_ascii_case(expected) => Line::Name(name, seen + 1),
                None if byte == b':' && name == CONTENT_LENGTH => {
                    self.length = 0;
                    Line::Number(10)
                }
                None if byte == b':' => {
                    // The library refuses requests with any other coding.
                    self.is_chunked = true;
                    Line::Other
                }
                _ => Line::Other,
            },
            // Around the number of a Content-Length there may be spaces, and nothing else.
            (Line::Number(10), _) => self.digit(byte, 10).unwrap_or(Line::Number(10)),
            (Line::Number(base), _) => self.digit(byte, base).unwrap_or(Line::Other),
            _ => Line::Other,
        }
    }

    /// Appends a digit to the number, if it is one.
    fn digit(&mut self, byte: u8, base: u32) -> Option<Line> {
        let digit = char::from(byte).to_digit(base)?;
        self.length = self
            .length
            .saturating_mul(u64::from(base))
            .saturating_add(u64::from(digit));
        Some(Line::Number(base))
    }

    fn end_line(&mut self) {
        let is_empty = matches!(self.line, Line::Empty);
        self.line = Line::Start;
        self.after_cr = false;
        self.part = match self.part {
            Part::RequestLine if is_empty => Part::RequestLine,
            Part::RequestLine => {
                self.length = 0;
                self.is_chunked = false;
                Part::Fields
            }
            Part::Fields if !is_empty => Part::Fields,
            Part::Fields if self.is_chunked => Part::ChunkSize,
            Part::Fields if self.length > 0 => Part::Body(self.length),
            Part::ChunkSize if self.length > 0 => Part::Chunk(self.length.saturating_add(CHUNK_END)),
            Part::ChunkSize => Part::Trailers,
            Part::Trailers if !is_empty => Part::Trailers,
            Part::Fields | Part::Trailers | Part::Body(_) | Part::Chunk(_) => Part::RequestLine,
        };
    }
}

/// Ends what was read at `place`, with a CR. One that no LF follows is refused by the library wherever it is: it answers 400 and
/// closes the connection.
pub(super) fn spoil(buffer: &mut ReadBuf<'_>, place: usize) {
    buffer.set_filled(buffer.filled().len().min(place + 1));
    if let Some(last) = buffer.filled_mut().last_mut() {
        *last = b'\r';
    }
}

#[cfg(test)]
mod tests;
