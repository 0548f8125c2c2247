//! Bringing in devices from a list: CSV with the columns `identifier` and `type`.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

use csv::ByteRecord;

use super::{audit, organization::find_organization};
use crate::{
    domain::{
        Error,
        device::{DeviceIdentifier, DeviceType},
    },
    storage::{Database, DeviceImport},
};

const HEADER: [&[u8]; 2] = [b"identifier", b"type"];
/// Rows that are written in one transaction.
const BATCH: usize = 1_000;
/// The longest row, in bytes, with the blank lines before it. What is longer is a list that lacks a closing quote, or no list at all.
const MAX_ROW: usize = 64 * 1024;

/// A row that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRow {
    /// Where it stands in the list; the header is line 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: String,
}

/// What became of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Devices that are new.
    pub created: u64,
    /// Devices that were there with another type.
    pub updated: u64,
    /// Devices that were there just so, and rows that repeat another.
    pub unchanged: u64,
    /// Rows that were left out.
    pub refused: u64,
}

/// Why an import stopped. The batches before it are in the database; the same list can be imported again.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The list does not begin as one.
    #[error("This is no list of devices: the first line must be `identifier,type`")]
    Header,
    /// The list cannot be read to its end.
    #[error("The list cannot be read: {0}")]
    Read(#[from] csv::Error),
    /// The organization or the database.
    #[error(transparent)]
    Service(#[from] Error),
}

/// Creates the devices of `list` in the organization of this name, and gives those that exist the type that stands
/// there. Rows that break a rule are reported to `refused` and left out. Needs no more memory for a longer list.
///
/// # Errors
/// As [`ImportError`] says.
pub async fn import_devices(
    database: &Database,
    organization: &str,
    list: impl Read,
    refused: impl FnMut(RefusedRow),
) -> Result<ImportReport, ImportError> {
    let organization = find_organization(database, organization).await?;
    let import = DeviceImport::begin(database, organization.id)
        .await
        .map_err(Error::from)?;
    let mut report = ImportReport::default();
    let result = import_rows(&import, Rows::new(list)?, refused, &mut report).await;
    // Also when it stopped: the batches before that are in the database.
    audit::devices_imported(organization.id, &report);
    result.map(|()| report)
}

async fn import_rows<R: Read>(
    import: &DeviceImport,
    mut rows: Rows<R>,
    mut refused: impl FnMut(RefusedRow),
    report: &mut ImportReport,
) -> Result<(), ImportError> {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let row = rows.next()?;
        let is_last = row.is_none();
        match row {
            None => {}
            Some(Ok(device)) => batch.push(device),
            Some(Err(row)) => {
                report.refused += 1;
                refused(row);
            }
        }
        if batch.len() >= BATCH || (is_last && !batch.is_empty()) {
            let imported = import.write(&batch).await.map_err(Error::from)?;
            report.created += imported.created;
            report.updated += imported.updated;
            report.unchanged += batch.len() as u64 - imported.created - imported.updated;
            batch.clear();
        }
        if is_last {
            return Ok(());
        }
    }
}

type Row = Result<(DeviceIdentifier, DeviceType), RefusedRow>;

/// The rows of a list, read one at a time.
struct Rows<R> {
    reader: csv::Reader<Bounded<io::Chain<R, &'static [u8]>>>,
    read_since_row: Rc<Cell<usize>>,
    record: ByteRecord,
}

impl<R: Read> Rows<R> {
    fn new(list: R) -> Result<Self, ImportError> {
        let read_since_row = Rc::new(Cell::new(0));
        let bounded = Bounded {
            // So that the last row ends like every other.
            inner: list.chain(b"\n".as_slice()),
            read_since_row: Rc::clone(&read_since_row),
        };
        let mut reader = csv::ReaderBuilder::new()
            .flexible(true)
            // By default a row ends before the second byte of CR LF, and the next one seems to begin on its line.
            .terminator(csv::Terminator::Any(b'\n'))
            .from_reader(bounded);
        let header = reader.byte_headers()?.iter();
        if !header.map(|name| name.strip_suffix(b"\r").unwrap_or(name)).eq(HEADER) {
            return Err(ImportError::Header);
        }
        let record = ByteRecord::new();
        Ok(Self {
            reader,
            read_since_row,
            record,
        })
    }

    fn next(&mut self) -> Result<Option<Row>, csv::Error> {
        loop {
            self.read_since_row.set(0);
            if !self.reader.read_byte_record(&mut self.record)? {
                return Ok(None);
            }
            if !is_blank(&self.record) {
                let line = self.line();
                return Ok(Some(
                    device(&self.record).map_err(|problem| RefusedRow { line, problem }),
                ));
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

/// A blank line of a list whose lines end with CR LF; others are passed over by the reader.
fn is_blank(record: &ByteRecord) -> bool {
    record.len() == 1 && record.as_slice().trim_ascii().is_empty()
}

fn device(record: &ByteRecord) -> Result<(DeviceIdentifier, DeviceType), String> {
    let fields: Vec<&[u8]> = record.iter().collect();
    let [identifier, device_type] = fields.as_slice() else {
        return Err(format!("expected 2 fields, found {}", fields.len()));
    };
    let text = |field| std::str::from_utf8(field).map_err(|_| "must be UTF-8".to_owned());
    let identifier = text(identifier)
        .and_then(DeviceIdentifier::parse)
        .map_err(|problem| format!("identifier {problem}"))?;
    let device_type = text(device_type)
        .and_then(DeviceType::parse)
        .map_err(|problem| format!("type {problem}"))?;
    Ok((identifier, device_type))
}

/// Stops a row that never ends: a quote that is not closed would take the rest of the list, and all memory.
struct Bounded<R> {
    inner: R,
    read_since_row: Rc<Cell<usize>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read_since_row.get() > MAX_ROW {
            return Err(io::Error::other("a row is longer than 64 KiB; is a quote left open?"));
        }
        let count = self.inner.read(buffer)?;
        self.read_since_row.set(self.read_since_row.get() + count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
