//! Bringing in devices from a list: CSV with the columns `identifier` and `type`.

use std::io::Read;

use super::{audit, organization::find_organization};
use crate::{
    domain::{
        Error, InvalidText,
        device::{DeviceIdentifier, DeviceType},
    },
    list::{ListError, RefusedRow, Row, Rows, text},
    storage::{Database, DeviceImport},
};

const HEADER: [&str; 2] = ["identifier", "type"];
/// Rows that are written in one transaction.
const BATCH: usize = 1_000;

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

impl ImportReport {
    /// All rows so far.
    pub fn rows(&self) -> u64 {
        self.created + self.updated + self.unchanged + self.refused
    }
}

/// What happens during an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportEvent {
    /// A row breaks a rule.
    Refused(RefusedRow),
    /// A batch is in the database; this became of the list until there.
    Written(ImportReport),
}

/// Why an import stopped. The batches before it are in the database; the same list can be imported again.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The list does not begin as one.
    #[error("This is no list of devices: the first line must be `identifier,type`")]
    Header,
    /// The list cannot be read to its end.
    #[error(transparent)]
    Read(ListError),
    /// The organization or the database.
    #[error(transparent)]
    Service(#[from] Error),
}

/// Creates the devices of `list` in the organization of this name, and gives those that exist the type that stands
/// there. Rows that break a rule are left out. What happens is told to `on_event`. Needs no more memory for a longer list.
///
/// # Errors
/// As [`ImportError`] says.
pub async fn import_devices(
    database: &Database,
    organization: &str,
    list: impl Read,
    on_event: impl FnMut(ImportEvent),
) -> Result<ImportReport, ImportError> {
    let organization = find_organization(database, organization).await?;
    let import = DeviceImport::begin(database, organization.id)
        .await
        .map_err(Error::from)?;
    let rows = open(list)?;
    let mut report = ImportReport::default();
    let result = import_rows(&import, rows, on_event, &mut report).await;
    // Also when it stopped: the batches before that are in the database.
    audit::devices_imported(organization.id, &report);
    result.map(|()| report)
}

async fn import_rows<R: Read>(
    import: &DeviceImport,
    mut rows: Rows<R>,
    mut on_event: impl FnMut(ImportEvent),
    report: &mut ImportReport,
) -> Result<(), ImportError> {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let row = rows.next()?;
        let is_last = row.is_none();
        match row.as_ref().map(device) {
            None => {}
            Some(Ok(device)) => batch.push(device),
            Some(Err(row)) => {
                report.refused += 1;
                on_event(ImportEvent::Refused(row));
            }
        }
        if batch.len() >= BATCH || (is_last && !batch.is_empty()) {
            let imported = import.write(&batch).await.map_err(Error::from)?;
            report.created += imported.created;
            report.updated += imported.updated;
            report.unchanged += batch.len() as u64 - imported.created - imported.updated;
            batch.clear();
            on_event(ImportEvent::Written(*report));
        }
        if is_last {
            return Ok(());
        }
    }
}

impl From<ListError> for ImportError {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Header => Self::Header,
            error => Self::Read(error),
        }
    }
}

fn open<R: Read>(list: R) -> Result<Rows<R>, ImportError> {
    let (rows, _) = Rows::new(list, &[&HEADER])?;
    Ok(rows)
}

fn device(row: &Row<'_>) -> Result<(DeviceIdentifier, DeviceType), RefusedRow> {
    let parse = || {
        let [identifier, device_type] = row.fields()?;
        let identifier = field("identifier", identifier, DeviceIdentifier::parse)?;
        let device_type = field("type", device_type, DeviceType::parse)?;
        Ok((identifier, device_type))
    };
    let line = row.line;
    parse().map_err(|problem| RefusedRow { line, problem })
}

/// Parses the field in `column`.
fn field<T>(column: &str, bytes: &[u8], parse: impl Fn(&str) -> Result<T, InvalidText>) -> Result<T, String> {
    let text = text(bytes).map_err(|problem| format!("{column} {problem}"))?;
    parse(text).map_err(|problem| format!("{column} {problem}"))
}

#[cfg(test)]
mod tests;
