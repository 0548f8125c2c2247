//! Line ends in HTTP/1.1. In a head and around the chunks of a body, a line ends with CR LF (RFC 9112, 2.2). The HTTP library
//! also accepts a bare LF, and has no setting against it. A proxy in front may see one line where the library sees two, which
//! lets a client hide a request from the proxy (request smuggling).

use memchr::memchr;
use tokio::io::ReadBuf;

/// The names of the fields that give the length of a body.
const CONTENT_LENGTH: &[u8] = b"content-length";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";
/// The length of the line end that follows the data of a chunk.
const CHUNK_END: u64 = 2;

/// What the library reads after [`end_with_cr`]: first no LF, then what it takes for the end of the head, so that it responds
/// at once.
pub(super) const AFTER_CR: &[u8] = b"\0\r\n\r\n";

/// Parses the bytes of an HTTP/1.1 peer as far as needed to find the heads. It need not understand a head that the library
/// rejects: nothing after it is read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heads {
    part: Part,
    line: HeadLine,
    /// Whether the last byte was a CR of the current line.
    after_cr: bool,
    /// The length of the body or the chunk, from the digits read so far.
    length: u64,
    /// Whether the body is chunked.
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

/// What is known about the current line.
#[derive(Debug, Clone, Copy, Default)]
enum HeadLine {
    /// It has no byte yet.
    #[default]
    Start,
    /// So far it is a CR.
    Empty,
    /// It starts with so many bytes of this name.
    Name(&'static [u8], usize),
    /// It is in a number of this base.
    Number(u32),
    /// The rest does not matter.
    Other,
}

impl Heads {
    /// Reads the next bytes, up to the first bare LF that ends a line, and returns its index.
    pub(super) fn bare_lf(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut index = 0;
        while let Some(rest) = bytes.get(index..).filter(|rest| !rest.is_empty()) {
            index += match self.part {
                Part::Body(left) | Part::Chunk(left) => self.skip(left, rest.len()),
                Part::RequestLine | Part::Fields | Part::ChunkSize | Part::Trailers => {
                    let end = memchr(b'\n', rest);
                    let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                    self.read(line);
                    match end {
                        Some(end) if !self.after_cr => return Some(index + end),
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

    /// Skips the available rest of a body or a chunk, and returns its length.
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

    /// Reads more of the current line, without its LF.
    fn read(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if matches!(self.line, HeadLine::Other) {
                break;
            }
            self.line = self.next(byte);
        }
        if let Some(&last) = bytes.last() {
            self.after_cr = last == b'\r';
        }
    }

    /// What is known about the line after one more byte.
    fn next(&mut self, byte: u8) -> HeadLine {
        match (self.line, self.part) {
            (HeadLine::Start, _) if byte == b'\r' => HeadLine::Empty,
            (HeadLine::Start, Part::Fields) => match byte {
                b'c' | b'C' => HeadLine::Name(CONTENT_LENGTH, 1),
                b't' | b'T' => HeadLine::Name(TRANSFER_ENCODING, 1),
                _ => HeadLine::Other,
            },
            (HeadLine::Start, Part::ChunkSize) => {
                self.length = 0;
                self.digit(byte, 16).unwrap_or(HeadLine::Other)
            }
            (HeadLine::Name(name, seen), _) => match name.get(seen) {
                Some(expected) if byte.eq_ignore_ascii_case(expected) => HeadLine::Name(name, seen + 1),
                None if byte == b':' && name == CONTENT_LENGTH => {
                    self.length = 0;
                    HeadLine::Number(10)
                }
                None if byte == b':' => {
                    // The library rejects requests with any other coding.
                    self.is_chunked = true;
                    HeadLine::Other
                }
                _ => HeadLine::Other,
            },
            // Only spaces may surround the number of a Content-Length.
            (HeadLine::Number(10), _) => self.digit(byte, 10).unwrap_or(HeadLine::Number(10)),
            (HeadLine::Number(base), _) => self.digit(byte, base).unwrap_or(HeadLine::Other),
            _ => HeadLine::Other,
        }
    }

    /// Appends a digit to the number, if `byte` is one.
    fn digit(&mut self, byte: u8, base: u32) -> Option<HeadLine> {
        let digit = char::from(byte).to_digit(base)?;
        self.length = self
            .length
            .saturating_mul(u64::from(base))
            .saturating_add(u64::from(digit));
        Some(HeadLine::Number(base))
    }

    fn end_line(&mut self) {
        let is_empty = matches!(self.line, HeadLine::Empty);
        self.line = HeadLine::Start;
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

/// Cuts the bytes read after `index`, and puts a CR there. The library rejects a CR without LF anywhere: it responds with 400
/// and closes the connection.
pub(super) fn end_with_cr(buffer: &mut ReadBuf<'_>, index: usize) {
    buffer.set_filled(buffer.filled().len().min(index + 1));
    if let Some(last) = buffer.filled_mut().last_mut() {
        *last = b'\r';
    }
}

#[cfg(test)]
mod tests;
