//! Skipped rows: shown, or written to a list for the next run.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use super::{CommandError, private, progress::Progress};
use crate::client::{HEADER, HEADER_WITH_TYPE, SkippedRows};

/// How many are shown without a file.
const SHOWN: usize = 10;

pub(super) struct Skipped {
    file: Option<(PathBuf, File)>,
    /// Why rows are skipped, as a clause.
    reason: &'static str,
    has_types: bool,
    has_customers: bool,
    count: usize,
}

impl Skipped {
    /// Begins the list. The rows may have types, and different customers.
    pub(super) fn start(
        path: Option<&Path>,
        reason: &'static str,
        has_types: bool,
        has_customers: bool,
    ) -> Result<Self, CommandError> {
        let file = path.map(|path| match private::create(path) {
            Ok(file) => Ok((path.to_owned(), file)),
            Err(error) => Err(unwritable(path, &error.into())),
        });
        let mut skipped = Self {
            file: file.transpose()?,
            reason,
            has_types,
            has_customers,
            count: 0,
        };
        let header: &[&str] = if has_types { &HEADER_WITH_TYPE } else { &HEADER };
        skipped.write([header])?;
        Ok(skipped)
    }

    pub(super) fn take(&mut self, rows: &SkippedRows, progress: &Progress) -> Result<(), CommandError> {
        let SkippedRows {
            customer,
            device_type,
            identifiers,
        } = rows;
        if self.file.is_none() {
            for identifier in identifiers.iter().take(SHOWN.saturating_sub(self.count)) {
                let customer = if self.has_customers {
                    format!(" (for {customer})")
                } else {
                    String::new()
                };
                let reason = self.reason;
                progress.say(&format!("skipped, {reason}: {identifier}{customer}"));
            }
        }
        let before = self.count;
        self.count += identifiers.len();
        if self.file.is_none() {
            if before <= SHOWN && self.count > SHOWN {
                progress.say("and more; use --skipped FILE to write them all to a file");
            }
            return Ok(());
        }
        let device_type = device_type.as_deref().unwrap_or_default();
        let row = |identifier| [customer.as_str(), identifier, device_type];
        let columns = if self.has_types { 3 } else { 2 };
        let rows: Vec<[&str; 3]> = identifiers.iter().map(|identifier| row(identifier)).collect();
        self.write(rows.iter().map(|row| row.get(..columns).unwrap_or_default()))
    }

    /// Writes whole rows, so that the list can be read whenever this program ends.
    fn write<'a>(&mut self, rows: impl IntoIterator<Item = &'a [&'a str]>) -> Result<(), CommandError> {
        let Some((path, file)) = &mut self.file else {
            return Ok(());
        };
        let mut list = csv::Writer::from_writer(Vec::new());
        let written: Result<(), csv::Error> = rows.into_iter().try_for_each(|row| list.write_record(row));
        let written = written.and_then(|()| {
            let bytes = list.into_inner().map_err(|error| error.into_error())?;
            Ok(file.write_all(&bytes)?)
        });
        written.map_err(|error| unwritable(path, &error))
    }
}

fn unwritable(path: &Path, error: &csv::Error) -> CommandError {
    CommandError::Failed(format!(
        "{}: {error}; name a file for --skipped that can be written",
        path.display()
    ))
}
