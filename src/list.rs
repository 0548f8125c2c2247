//! Lists as people keep them, read one row at a time: CSV below a header, or a value a line.

use std::io::{self, BufRead, BufReader, Read};

use csv::ByteRecord;

/// The longest row, in bytes, with the blank lines before it. What is longer is a list that lacks a closing quote, or no list at all.
const MAX_ROW: usize = 64 * 1024;

const TOO_LONG: &str = "a row is longer than 64 KiB; is a quote left open?";

/// What a text begins with that is UTF-16, in either order of bytes.
const UTF_16: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a list cannot be read, or no further.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It does not begin with a header that was expected.
    #[error("the first line is another one")]
    Header,
    /// It is text of another encoding.
    #[error("This is UTF-16; save it as UTF-8")]
    Utf16,
    /// Reading failed, or a row has no end.
    #[error("The list cannot be read: {0}")]
    Read(#[from] io::Error),
}

impl From<csv::Error> for ListError {
    fn from(error: csv::Error) -> Self {
        Self::Read(match error.into_kind() {
            csv::ErrorKind::Io(error) => error,
            // The reader is told to take rows of any length, as bytes: there is nothing else to go wrong.
            kind => io::Error::other(format!("{kind:?}")),
        })
    }
}

/// A row that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRow {
    /// Where it stands in the list; the header is line 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: String,
}

/// The rows of a CSV list.
#[derive(Debug)]
pub(crate) struct Rows<R> {
    reader: csv::Reader<Bounded<io::Chain<R, &'static [u8]>>>,
    record: ByteRecord,
}

/// A row, not yet looked into.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    /// The line on which it begins.
    pub(crate) line: u64,
    record: &'a ByteRecord,
}

impl<R: Read> Rows<R> {
    /// Reads the header, and tells which of `headers` it is.
    pub(crate) fn new(list: R, headers: &[&[&str]]) -> Result<(Self, usize), ListError> {
        let bounded = Bounded {
            // So that the last row ends like every other.
            inner: list.chain(b"\n".as_slice()),
            read_since_row: 0,
        };
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            // By default a row ends before the second byte of CR LF, and the next one seems to begin on its line.
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(bounded);
        let found = reader.byte_headers()?;
        if found.get(0).is_some_and(is_utf_16) {
            return Err(ListError::Utf16);
        }
        let is_found = |header: &&[&str]| {
            let names = found.iter().map(|name| name.strip_suffix(b"\r").unwrap_or(name));
            names.eq(header.iter().map(|name| name.as_bytes()))
        };
        let header = headers.iter().position(is_found).ok_or(ListError::Header)?;
        let record = ByteRecord::new();
        Ok((Self { reader, record }, header))
    }

    pub(crate) fn next(&mut self) -> Result<Option<Row<'_>>, ListError> {
        loop {
            self.reader.get_mut().read_since_row = 0;
            if !self.reader.read_byte_record(&mut self.record)? {
                return Ok(None);
            }
            if !is_blank(&self.record) {
                let line = self.line();
                let record = &self.record;
                return Ok(Some(Row { line, record }));
            }
        }
    }

    /// The line on which the record begins: blank ones before it may have been passed over, and it may itself span several.
    fn line(&self) -> u64 {
        let line_feeds = self.record.as_slice().iter().filter(|byte| **byte == b'\n').count();
        let after = self.reader.position().line();
        // A record that the end of the list cuts short, inside a quote, has no line feed of its own.
        let earliest = self.record.position().map_or(0, csv::Position::line);
        after.saturating_sub(1 + line_feeds as u64).max(earliest)
    }
}

impl Row<'_> {
    /// The fields, which must be as many as the header has.
    pub(crate) fn fields<const COUNT: usize>(&self) -> Result<[&[u8]; COUNT], String> {
        let fields: Vec<&[u8]> = self.record.iter().collect();
        let found = fields.len();
        let fields = <[&[u8]; COUNT]>::try_from(fields);
        fields.map_err(|_| format!("expected {COUNT} fields, found {found}"))
    }
}

/// A field as text, or what is wrong with it as a clause that follows its name.
pub(crate) fn text(field: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(field).map_err(|_| "must be UTF-8".to_owned())
}

/// A blank line of a list whose lines end with CR LF; others are passed over by the reader.
fn is_blank(record: &ByteRecord) -> bool {
    record.len() == 1 && record.as_slice().trim_ascii().is_empty()
}

fn is_utf_16(start: &[u8]) -> bool {
    UTF_16.iter().any(|mark| start.starts_with(mark))
}

/// Stops a row that never ends: a quote that is not closed would take the rest of the list, and all memory.
#[derive(Debug)]
struct Bounded<R> {
    inner: R,
    read_since_row: usize,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read_since_row > MAX_ROW {
            return Err(io::Error::other(TOO_LONG));
        }
        let count = self.inner.read(buffer)?;
        self.read_since_row += count;
        Ok(count)
    }
}

/// The lines of a list that has no header, and one value a line.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    buffer: Vec<u8>,
    line: u64,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(list: R) -> Self {
        Self {
            reader: BufReader::new(list),
            buffer: Vec::new(),
            line: 0,
        }
    }

    /// The next line that is not blank, and its number.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, &[u8])>, ListError> {
        loop {
            self.buffer.clear();
            let bound = MAX_ROW as u64 + 1;
            let count = self.reader.by_ref().take(bound).read_until(b'\n', &mut self.buffer)?;
            if count == 0 {
                return Ok(None);
            }
            if count > MAX_ROW {
                return Err(io::Error::other("a line is longer than 64 KiB").into());
            }
            self.line += 1;
            if self.line == 1 {
                if is_utf_16(&self.buffer) {
                    return Err(ListError::Utf16);
                }
                if self.buffer.starts_with(BYTE_ORDER_MARK) {
                    self.buffer.drain(..BYTE_ORDER_MARK.len());
                }
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        Ok(Some((self.line, self.buffer.trim_ascii())))
    }
}

#[cfg(test)]
mod tests;
