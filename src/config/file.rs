//! The TOML file of settings: the name of each flag as a key.

use std::{ffi::OsString, fs, path::Path};

use toml::de::{DeTable, DeValue, Error};

/// What a file sets, and the mistakes in its syntax.
pub(super) struct SettingsFile {
    pub(super) entries: Vec<Entry>,
    pub(super) mistakes: Vec<String>,
}

/// The values as flags have them, or what is wrong with their type. That is absent if a mistake in the syntax is reported.
pub(super) type FileValue = Result<Vec<OsString>, Option<String>>;

pub(super) struct Entry {
    pub(super) key: String,
    /// The file and the line.
    pub(super) place: String,
    pub(super) is_list: bool,
    pub(super) is_table: bool,
    pub(super) value: FileValue,
}

impl SettingsFile {
    /// Reads a file. After a mistake in its syntax, the rest is read all the same.
    ///
    /// # Errors
    /// When the file cannot be read, or is not UTF-8.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let file = path.display();
        let bytes = fs::read(path).map_err(|error| format!("cannot read {file}: {error}"))?;
        Self::parse(bytes, &file.to_string())
    }

    /// Reads the content of a file with this name.
    fn parse(bytes: Vec<u8>, file: &str) -> Result<Self, String> {
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
            let line = valid.filter(|byte| **byte == b'\n').count() + 1;
            format!("{file} is not valid UTF-8 (line {line})")
        })?;
        let (table, errors) = DeTable::parse_recoverable(&text);
        let place = |error: &Error| position(&text, error.span().map_or(text.len(), |span| span.start));
        let mut errors: Vec<_> = errors.iter().map(|error| (place(error), error.message())).collect();
        errors.sort();
        // A second error on a line follows from the first.
        errors.dedup_by_key(|((line, _), _)| *line);

        let line = |byte| position(&text, byte).0;
        // An equals sign without a key gives an entry with an empty key.
        let entries = table.get_ref().iter().filter(|(key, _)| !key.span().is_empty());
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entries = entries.into_iter().map(|(key, value)| {
            let first = line(key.span().start);
            let lines = first..=line(value.span().end).max(first);
            let value = value.get_ref();
            Entry {
                key: key.get_ref().to_string(),
                place: format!("{file}, line {first}"),
                is_list: value.is_array(),
                is_table: value.is_table(),
                value: match value {
                    _ if errors.iter().any(|((line, _), _)| lines.contains(line)) => Err(None),
                    DeValue::Array(items) => items.iter().map(|item| scalar(item.get_ref())).collect(),
                    value => scalar(value).map(|value| vec![value]),
                },
            }
        });
        let entries = entries.collect();
        let mistakes = errors.iter().map(|((line, column), problem)| {
            let is_about_value = problem.starts_with("invalid") || problem.starts_with("string values");
            let hint = if is_about_value {
                "; strings need quotes, as in name = \"value\""
            } else {
                ""
            };
            format!("{file}, line {line}, column {column}: invalid TOML: {problem}{hint}")
        });
        let mistakes = mistakes.collect();
        Ok(Self { entries, mistakes })
    }
}

/// The line and the column of a byte, from 1.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

fn scalar(value: &DeValue<'_>) -> Result<OsString, Option<String>> {
    match value {
        DeValue::String(text) => Ok(text.as_ref().into()),
        // A number of more than 64 bits stays as it is written: the setting rejects it.
        DeValue::Integer(number) => Ok(i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| number.to_string(), |number| number.to_string())
            .into()),
        DeValue::Boolean(value) => Ok(value.to_string().into()),
        other => Err(Some(format!(
            "must be a string, an integer or a boolean, not a TOML {}",
            other.type_str()
        ))),
    }
}

/// Reads the content of a file. For the fuzz targets.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(content: &[u8]) {
    let lines = content.iter().filter(|byte| **byte == b'\n').count() + 1;
    if let Ok(file) = SettingsFile::parse(content.to_vec(), "settings.toml") {
        assert!(file.mistakes.len() <= lines, "one mistake a line");
    }
}
