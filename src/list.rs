//! Lists as people keep them, read one row at a time: CSV with a header, or one value a line.

use std::io::{self, BufRead, BufReader, Read};

use csv::{ByteRecord, ReaderBuilder, Terminator};

/// The longest row, in bytes, with the blank lines before it. A longer one lacks a closing quote, or is no row at all.
const MAX_ROW: usize = 64 * 1024;

/// What separates fields, and what some spreadsheets write instead.
const SEPARATOR: u8 = b',';
const OTHER_SEPARATORS: [u8; 2] = [b';', b'\t'];

/// How a UTF-16 text begins, in either byte order.
const UTF_16: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a list cannot be read, or no further.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The header lacks columns.
    #[error("the first line must name the columns {}; it lacks {}", .required.join(" and "), .missing.join(" and "))]
    MissingColumns {
        /// The columns that it must name.
        required: Vec<&'static str>,
        /// Those that it lacks.
        missing: Vec<&'static str>,
    },
    /// The header names a column twice.
    #[error("the first line names the column {0} twice")]
    RepeatedColumn(&'static str),
    /// The list is text of another encoding.
    #[error("this is UTF-16; save it as UTF-8")]
    Utf16,
    /// The list ends inside a quote.
    #[error("the row that begins on line {0} has a quote that is not closed")]
    OpenQuote(u64),
    /// A row does not end.
    #[error("the row that begins on line {0} is longer than 64 KiB; is a quote not closed?")]
    TooLong(u64),
    /// A line does not end.
    #[error("line {0} is longer than 64 KiB")]
    LineTooLong(u64),
    /// Reading failed.
    #[error("the list cannot be read: {0}")]
    Read(#[from] io::Error),
}

impl From<csv::Error> for ListError {
    fn from(error: csv::Error) -> Self {
        Self::Read(match error.into_kind() {
            csv::ErrorKind::Io(error) => error,
            // The reader is told to take rows of any length, as bytes: nothing else can fail.
            kind => io::Error::other(format!("{kind:?}")),
        })
    }
}

/// A row that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRow {
    /// Where it is in the list; the header is on line 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: String,
}

/// A column of a CSV list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    name: &'static str,
    is_required: bool,
}

impl Column {
    /// A column that the list must have.
    pub(crate) const fn required(name: &'static str) -> Self {
        let is_required = true;
        Self { name, is_required }
    }

    /// A column that the list may have.
    pub(crate) const fn optional(name: &'static str) -> Self {
        let is_required = false;
        Self { name, is_required }
    }

    fn is_named(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case(self.name)
    }
}

type Reader<R> = csv::Reader<Bounded<io::Chain<R, &'static [u8]>>>;

/// The rows of a CSV list with `COUNT` known columns.
#[derive(Debug)]
pub(crate) struct Rows<R: Read, const COUNT: usize> {
    header: Header<COUNT>,
    reader: Reader<BufReader<R>>,
    /// How many lines there are up to the end of the header.
    header_lines: u64,
    record: ByteRecord,
}

/// The first line of a list, in any order of its columns.
#[derive(Debug)]
struct Header<const COUNT: usize> {
    /// The place of each known column, if the list has it.
    places: [Option<usize>; COUNT],
    /// The names of all columns.
    names: Vec<String>,
    separator: u8,
    /// Whether a quote is not closed.
    is_open: bool,
}

/// A row, before its fields are checked.
#[derive(Debug)]
pub(crate) struct Row<'a, const COUNT: usize> {
    /// The line on which it begins.
    pub(crate) line: u64,
    header: &'a Header<COUNT>,
    record: &'a ByteRecord,
}

impl<R: Read, const COUNT: usize> Rows<R, COUNT> {
    /// Reads the header.
    pub(crate) fn new(list: R, columns: [Column; COUNT]) -> Result<Self, ListError> {
        let mut list = BufReader::new(list);
        let (line, header_lines) = first_line(&mut list)?;
        let header = Header::parse(&line, header_lines, columns)?;
        Ok(Self {
            reader: reader(list, header.separator),
            header,
            header_lines,
            record: ByteRecord::new(),
        })
    }

    /// Whether the list has the column at this place of those that are known.
    pub(crate) fn has(&self, column: usize) -> bool {
        self.header.places.get(column).is_some_and(Option::is_some)
    }

    /// The names of columns that are not known.
    pub(crate) fn ignored_columns(&self) -> Vec<String> {
        self.header.ignored()
    }

    pub(crate) fn next(&mut self) -> Result<Option<Row<'_, COUNT>>, ListError> {
        loop {
            self.reader.get_mut().read_since_row = 0;
            match self.reader.read_byte_record(&mut self.record) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(_) if self.reader.get_ref().is_exceeded() => {
                    let begin = self.record.position().map_or(1, csv::Position::line);
                    return Err(ListError::TooLong(self.header_lines + begin));
                }
                Err(error) => return Err(error.into()),
            }
            let line = self.line();
            if self.reader.get_ref().is_at_end {
                return Err(ListError::OpenQuote(line));
            }
            if !is_blank(&self.record) {
                let (header, record) = (&self.header, &self.record);
                return Ok(Some(Row { line, header, record }));
            }
        }
    }

    /// The line on which the record begins: the reader may have skipped blank ones before it, and it may span several.
    fn line(&self) -> u64 {
        let line_feeds = self.record.as_slice().iter().filter(|byte| **byte == b'\n').count() as u64;
        let end = u64::from(!self.reader.get_ref().is_at_end);
        self.header_lines + self.reader.position().line().saturating_sub(line_feeds + end)
    }
}

impl<const COUNT: usize> Header<COUNT> {
    /// Reads a line with the separator that finds the most columns.
    fn parse(line: &[u8], number: u64, columns: [Column; COUNT]) -> Result<Self, ListError> {
        let mut header = Self::separated(line, SEPARATOR, columns)?;
        for separator in OTHER_SEPARATORS {
            let other = Self::separated(line, separator, columns)?;
            if other.found() > header.found() {
                header = other;
            }
        }
        header.check(number, columns)?;
        Ok(header)
    }

    fn separated(line: &[u8], separator: u8, columns: [Column; COUNT]) -> Result<Self, ListError> {
        let mut reader = reader(line, separator);
        let mut record = ByteRecord::new();
        reader.read_byte_record(&mut record)?;
        let names: Vec<String> = record.iter().map(name).collect();
        Ok(Self {
            places: columns.map(|column| names.iter().position(|name| column.is_named(name))),
            names,
            separator,
            is_open: reader.get_ref().is_at_end,
        })
    }

    fn found(&self) -> usize {
        self.places.iter().flatten().count()
    }

    fn check(&self, number: u64, columns: [Column; COUNT]) -> Result<(), ListError> {
        let required = || columns.iter().zip(self.places).filter(|(column, _)| column.is_required);
        let missing = required().filter(|(_, place)| place.is_none());
        let missing: Vec<&str> = missing.map(|(column, _)| column.name).collect();
        if !missing.is_empty() {
            let required = required().map(|(column, _)| column.name).collect();
            return Err(ListError::MissingColumns { required, missing });
        }
        if self.is_open {
            return Err(ListError::OpenQuote(number));
        }
        let count = |column: &&Column| self.names.iter().filter(|name| column.is_named(name)).count();
        match columns.iter().find(|column| count(column) > 1) {
            Some(column) => Err(ListError::RepeatedColumn(column.name)),
            None => Ok(()),
        }
    }

    /// The names of columns that are not known.
    fn ignored(&self) -> Vec<String> {
        let names = self.names.iter().enumerate();
        let ignored = names.filter(|(place, name)| !name.is_empty() && !self.places.contains(&Some(*place)));
        ignored.map(|(_, name)| name.clone()).collect()
    }
}

impl<const COUNT: usize> Row<'_, COUNT> {
    /// The fields of the known columns, empty for those that the list does not have.
    pub(crate) fn fields(&self) -> Result<[&[u8]; COUNT], String> {
        let (expected, found) = (self.header.names.len(), self.record.len());
        if found != expected {
            return Err(format!("expected {expected} fields, found {found}"));
        }
        let field = |place: Option<usize>| place.and_then(|place| self.record.get(place));
        Ok(self.header.places.map(|place| field(place).unwrap_or_default()))
    }
}

/// A reader of rows that end with a line feed, the last one included. Only a row with an open quote ends with the list.
fn reader<R: Read>(list: R, separator: u8) -> Reader<R> {
    let bounded = Bounded {
        inner: list.chain(b"\n".as_slice()),
        read_since_row: 0,
        is_at_end: false,
    };
    ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator)
        // By default a row ends before the second byte of CR LF, and the next one seems to begin on its line.
        .terminator(Terminator::Any(b'\n'))
        .from_reader(bounded)
}

/// The first line that is not blank, without its end and byte order mark, and its number.
fn first_line(list: &mut impl BufRead) -> Result<(Vec<u8>, u64), ListError> {
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        let count = list.take(MAX_ROW as u64 + 1).read_until(b'\n', &mut line)?;
        number += 1;
        if is_utf_16(&line) {
            return Err(ListError::Utf16);
        }
        if count > MAX_ROW {
            return Err(ListError::TooLong(number));
        }
        let text = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line).trim_ascii();
        if count == 0 || !text.is_empty() {
            return Ok((text.to_vec(), number));
        }
    }
}

/// The name of a column, as it may be printed.
fn name(field: &[u8]) -> String {
    let name = String::from_utf8_lossy(field);
    name.trim().replace(char::is_control, " ")
}

/// A field as text, or what is wrong with it as a clause that follows its name.
pub(crate) fn text(field: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(field).map_err(|_| "must be UTF-8".to_owned())
}

/// A blank line of a list whose lines end with CR LF; the reader skips others.
fn is_blank(record: &ByteRecord) -> bool {
    record.len() == 1 && record.as_slice().trim_ascii().is_empty()
}

fn is_utf_16(start: &[u8]) -> bool {
    UTF_16.iter().any(|mark| start.starts_with(mark))
}

/// Stops a row that does not end: a quote that is not closed would take the rest of the list, and all memory.
#[derive(Debug)]
struct Bounded<R> {
    inner: R,
    read_since_row: usize,
    is_at_end: bool,
}

impl<R> Bounded<R> {
    fn is_exceeded(&self) -> bool {
        self.read_since_row > MAX_ROW
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_exceeded() {
            return Err(io::Error::other("a row is too long"));
        }
        let count = self.inner.read(buffer)?;
        self.read_since_row += count;
        self.is_at_end = count == 0;
        Ok(count)
    }
}

/// The lines of a list without a header, with one value a line.
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
                return Err(ListError::LineTooLong(self.line + 1));
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
