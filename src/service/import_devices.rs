//! Importing devices from a list: CSV with the columns `identifier` and `type`.

use std::io::Read;

use super::{audit, organization::find_organization};
use crate::{
    domain::{
        Error, InvalidText,
        change::{Actor, ChangeOrigin},
        device::{DeviceIdentifier, DeviceType},
        import_devices::{ImportDevices, Imported},
    },
    list::{Column, ListError, RejectedRow, Row, Rows, text},
    storage::{Database, DeviceImport},
};

const COLUMNS: [Column; 2] = [Column::required("identifier"), Column::required("type")];
/// Rows that are written in one transaction.
const BATCH: usize = 1_000;

/// What became of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Devices that are new.
    pub created: u64,
    /// Devices that existed with another type.
    pub updated: u64,
    /// Devices that existed with this type, and rows that repeat another.
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
    /// The list has columns of these names, which mean nothing here.
    IgnoredColumns(Vec<String>),
    /// A row breaks a rule.
    Rejected(RejectedRow),
    /// A batch is in the database; this is the report of the list so far.
    Written(ImportReport),
}

/// Why an import stopped. The batches before it are in the database; the same list can be imported again.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The list cannot be read to its end.
    #[error(transparent)]
    List(#[from] ListError),
    /// The organization or the database.
    #[error(transparent)]
    Service(#[from] Error),
}

/// Creates the devices of `list` in the organization of this name, and gives those that exist the type in the list. Leaves
/// out rows that break a rule. Calls `on_event` for what happens. Needs no more memory for a longer list.
///
/// # Errors
/// As [`ImportError`] says.
pub async fn import_devices(
    database: &Database,
    organization: &str,
    operator: Option<String>,
    list: impl Read,
    mut on_event: impl FnMut(ImportEvent),
) -> Result<ImportReport, ImportError> {
    let organization = find_organization(database, organization).await?;
    let origin = ChangeOrigin {
        actor: Actor::Operator(operator),
        request_id: None,
    };
    let mut import = DeviceImport::new(database, organization.id, origin);
    let rows = Rows::new(list, COLUMNS)?;
    let ignored = rows.ignored_columns();
    if !ignored.is_empty() {
        on_event(ImportEvent::IgnoredColumns(ignored));
    }
    let mut report = ImportReport::default();
    let result = import_rows(&mut import, rows, &mut on_event, &mut report).await;
    // The batches before an error are in the database.
    audit::devices_imported(organization.id, &report);
    result.map(|()| report)
}

async fn import_rows<R: Read>(
    import: &mut DeviceImport,
    mut rows: Rows<R, 2>,
    on_event: &mut impl FnMut(ImportEvent),
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
                on_event(ImportEvent::Rejected(row));
            }
        }
        if batch.len() >= BATCH || (is_last && !batch.is_empty()) {
            let rows = batch.len();
            let command = ImportDevices::new(std::mem::take(&mut batch));
            let (Imported { created, updated }, _) = import.write(command).await?;
            report.created += created as u64;
            report.updated += updated as u64;
            report.unchanged += (rows - created - updated) as u64;
            on_event(ImportEvent::Written(*report));
        }
        if is_last {
            return Ok(());
        }
    }
}

fn device(row: &Row<'_, 2>) -> Result<(DeviceIdentifier, DeviceType), RejectedRow> {
    let parse = || {
        let [identifier, device_type] = row.fields()?;
        let identifier = field("identifier", identifier, DeviceIdentifier::parse)?;
        let device_type = field("type", device_type, DeviceType::parse)?;
        Ok((identifier, device_type))
    };
    let line = row.line;
    parse().map_err(|problem| RejectedRow { line, problem })
}

/// Parses the field in `column`.
fn field<T>(column: &str, bytes: &[u8], parse: impl Fn(&str) -> Result<T, InvalidText>) -> Result<T, String> {
    let text = text(bytes).map_err(|problem| format!("{column} {problem}"))?;
    parse(text).map_err(|problem| format!("{column} {problem}"))
}

#[cfg(test)]
mod tests;
