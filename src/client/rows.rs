//! The rows to assign, and where they come from.

use std::{fmt, io::Read, vec};

use crate::list::{Lines, ListError, RefusedRow, Rows, text};

/// The columns of a list for many customers.
pub const HEADER: [&str; 2] = ["customer_email", "device_identifier"];
/// The same with the type of each device.
pub const HEADER_WITH_TYPE: [&str; 3] = ["customer_email", "device_identifier", "device_type"];

/// What rows have in common that can go in one call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) customer: String,
    pub(super) device_type: Option<String>,
}

/// A device to assign.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) key: Key,
    pub(super) identifier: String,
}

/// Where rows come from.
pub struct Source {
    rows: Kind,
    /// The type of the devices of rows that name none.
    device_type: Option<String>,
}

enum Kind {
    Csv(Rows<Box<dyn Read + Send>>),
    CsvWithType(Rows<Box<dyn Read + Send>>),
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
    /// When the list does not begin with [`HEADER`] or [`HEADER_WITH_TYPE`].
    pub fn csv(list: Box<dyn Read + Send>, device_type: Option<String>) -> Result<Self, ListError> {
        let (rows, header) = Rows::new(list, &[&HEADER, &HEADER_WITH_TYPE])?;
        let rows = if header == 0 {
            Kind::Csv(rows)
        } else {
            Kind::CsvWithType(rows)
        };
        Ok(Self { rows, device_type })
    }

    /// A list of one identifier a line, all for one customer.
    pub fn lines(list: Box<dyn Read + Send>, customer: String, device_type: Option<String>) -> Self {
        let rows = Kind::Lines(customer, Lines::new(list));
        Self { rows, device_type }
    }

    /// These identifiers, all for one customer.
    pub fn given(identifiers: Vec<String>, customer: String, device_type: Option<String>) -> Self {
        let rows = Kind::Given(customer, identifiers.into_iter().enumerate());
        Self { rows, device_type }
    }

    /// Whether the rows name the type of their device.
    pub fn has_types(&self) -> bool {
        matches!(self.rows, Kind::CsvWithType(_))
    }

    pub(super) fn next(&mut self) -> Result<Option<Result<Row, RefusedRow>>, ListError> {
        let (line, fields) = match &mut self.rows {
            Kind::Csv(rows) => match rows.next()? {
                Some(row) => (
                    row.line,
                    row.fields()
                        .and_then(|[email, identifier]| fields(email, identifier, b"")),
                ),
                None => return Ok(None),
            },
            Kind::CsvWithType(rows) => match rows.next()? {
                Some(row) => {
                    let read = row
                        .fields()
                        .and_then(|[email, identifier, kind]| fields(email, identifier, kind));
                    (row.line, read)
                }
                None => return Ok(None),
            },
            Kind::Lines(customer, lines) => match lines.next()? {
                Some((line, identifier)) => (line, fields(customer.as_bytes(), identifier, b"")),
                None => return Ok(None),
            },
            Kind::Given(customer, identifiers) => match identifiers.next() {
                Some((index, identifier)) => (
                    index as u64 + 1,
                    fields(customer.as_bytes(), identifier.as_bytes(), b""),
                ),
                None => return Ok(None),
            },
        };
        Ok(Some(match fields {
            Ok((mut key, identifier)) => {
                key.device_type = key.device_type.or_else(|| self.device_type.clone());
                Ok(Row { line, key, identifier })
            }
            Err(problem) => Err(RefusedRow { line, problem }),
        }))
    }
}

/// Reads the fields of a row as text, without the white space around it. The rules for them are the service's.
fn fields(customer: &[u8], identifier: &[u8], device_type: &[u8]) -> Result<(Key, String), String> {
    let read = |name: &str, field| {
        let text = text(field).map(str::trim);
        text.map(str::to_owned).map_err(|problem| format!("{name} {problem}"))
    };
    let [customer_name, identifier_name, type_name] = HEADER_WITH_TYPE;
    let key = Key {
        customer: read(customer_name, customer)?,
        device_type: Some(read(type_name, device_type)?).filter(|text| !text.is_empty()),
    };
    Ok((key, read(identifier_name, identifier)?))
}
