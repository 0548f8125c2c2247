//! The rows to assign, and where they come from.

use std::{fmt, io::Read, vec};

use crate::list::{Column, Lines, ListError, RejectedRow, Rows, text};

/// The columns of a list for many customers, as this program writes it.
pub const HEADER: [&str; 2] = ["customer_email", "device_identifier"];
/// The same with the type of each device.
pub const HEADER_WITH_TYPE: [&str; 3] = ["customer_email", "device_identifier", "device_type"];

/// The columns of a list, in the order of [`HEADER_WITH_TYPE`].
const COLUMNS: [Column; 3] = [
    Column::required("customer_email"),
    Column::required("device_identifier"),
    Column::optional("device_type"),
];
const TYPE_COLUMN: usize = 2;

/// What the rows of one call have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    pub(super) customer: String,
    pub(super) device_type: Option<String>,
}

/// A device to assign.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) key: GroupKey,
    pub(super) identifier: String,
}

/// Where rows come from.
pub struct Source {
    rows: RowReader,
    /// The type of the devices of rows that name none.
    device_type: Option<String>,
}

enum RowReader {
    Csv(Box<Rows<Box<dyn Read + Send>, 3>>),
    Lines(String, Lines<Box<dyn Read + Send>>),
    Given(String, std::iter::Enumerate<vec::IntoIter<String>>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

impl Source {
    /// A CSV list for many customers. Rows that name no type get `device_type`.
    ///
    /// # Errors
    /// When the first line does not name the columns of [`HEADER`].
    pub fn csv(list: Box<dyn Read + Send>, device_type: Option<String>) -> Result<Self, ListError> {
        let rows = RowReader::Csv(Box::new(Rows::new(list, COLUMNS)?));
        Ok(Self { rows, device_type })
    }

    /// A list of one identifier a line, all for one customer.
    pub fn lines(list: Box<dyn Read + Send>, customer: String, device_type: Option<String>) -> Self {
        let rows = RowReader::Lines(customer, Lines::new(list));
        Self { rows, device_type }
    }

    /// These identifiers, all for one customer.
    pub fn given(identifiers: Vec<String>, customer: String, device_type: Option<String>) -> Self {
        let rows = RowReader::Given(customer, identifiers.into_iter().enumerate());
        Self { rows, device_type }
    }

    /// Whether the rows may name different customers.
    pub fn has_customers(&self) -> bool {
        matches!(self.rows, RowReader::Csv(_))
    }

    /// Whether the rows name the type of their device.
    pub fn has_types(&self) -> bool {
        matches!(&self.rows, RowReader::Csv(rows) if rows.has(TYPE_COLUMN))
    }

    /// The names of columns that mean nothing here.
    pub fn ignored_columns(&self) -> Vec<String> {
        match &self.rows {
            RowReader::Csv(rows) => rows.ignored_columns(),
            RowReader::Lines(..) | RowReader::Given(..) => Vec::new(),
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Result<Row, RejectedRow>>, ListError> {
        let (line, fields) = match &mut self.rows {
            RowReader::Csv(rows) => match rows.next()? {
                Some(row) => (row.line, row.fields().and_then(fields)),
                None => return Ok(None),
            },
            RowReader::Lines(customer, lines) => match lines.next()? {
                Some((line, identifier)) => (line, fields([customer.as_bytes(), identifier, b""])),
                None => return Ok(None),
            },
            RowReader::Given(customer, identifiers) => match identifiers.next() {
                Some((index, identifier)) => {
                    let row = [customer.as_bytes(), identifier.as_bytes(), b""];
                    (index as u64 + 1, fields(row))
                }
                None => return Ok(None),
            },
        };
        Ok(Some(match fields {
            Ok((mut key, identifier)) => {
                key.device_type = key.device_type.or_else(|| self.device_type.clone());
                Ok(Row { line, key, identifier })
            }
            Err(problem) => Err(RejectedRow { line, problem }),
        }))
    }
}

/// Reads the fields of a row as text, without the white space around it. The rules for them are the service's.
fn fields([customer, identifier, device_type]: [&[u8]; 3]) -> Result<(GroupKey, String), String> {
    let read = |name: &str, field| {
        let text = text(field).map(str::trim);
        text.map(str::to_owned).map_err(|problem| format!("{name} {problem}"))
    };
    let [customer_name, identifier_name, type_name] = HEADER_WITH_TYPE;
    let key = GroupKey {
        customer: read(customer_name, customer)?,
        device_type: Some(read(type_name, device_type)?).filter(|text| !text.is_empty()),
    };
    Ok((key, read(identifier_name, identifier)?))
}
