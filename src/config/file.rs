//! The file of settings: TOML, each setting by the name of its flag.

use std::{
    fs,
    path::{Path, PathBuf},
};

use toml::de::{DeTable, DeValue, Error};

use super::mistake::Mistake;

/// What a file says of each setting, from its first line to its last.
#[derive(Debug)]
pub(super) struct SettingsFile {
    pub(super) path: PathBuf,
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug)]
pub(super) struct Entry {
    /// The name of a setting, if there is one of that name.
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) line: usize,
}

/// A value, as the text that a flag would have.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    One(String),
    Many(Vec<String>),
    /// Something that no setting is: what.
    Other(&'static str),
    /// It is no TOML, which is a mistake of the file already.
    Broken,
}

impl SettingsFile {
    /// Reads a file. What is no TOML is a mistake, and the rest of the file is read all the same.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn read(path: &Path) -> Result<(Self, Vec<Mistake>), String> {
        let bytes = fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
            let line = good.filter(|byte| **byte == b'\n').count() + 1;
            format!("{} is no UTF-8 text from line {line} on", path.display())
        })?;
        Ok(Self::parse(path, &text))
    }

    fn parse(path: &Path, text: &str) -> (Self, Vec<Mistake>) {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut errors: Vec<(usize, Error)> = errors
            .into_iter()
            .map(|error| (error.span().map_or(text.len(), |span| span.start), error))
            .collect();
        errors.sort_by_key(|(at, _)| *at);
        let mut entries: Vec<Entry> = table
            .get_ref()
            .iter()
            // Before an equals sign without a key.
            .filter(|(key, _)| !key.span().is_empty())
            .map(|(key, value)| {
                // What was read of a line with a mistake may be anything.
                let line = |byte: usize| position(text, byte).0;
                let first = line(key.span().start);
                // A value that is missing stands nowhere.
                let lines = first..=line(value.span().end).max(first);
                let is_broken = errors.iter().any(|(at, _)| lines.contains(&line(*at)));
                Entry {
                    key: key.get_ref().to_string(),
                    value: if is_broken {
                        Value::Broken
                    } else {
                        read(value.get_ref())
                    },
                    line: position(text, key.span().start).0,
                }
            })
            .collect();
        entries.sort_by_key(|entry| entry.line);
        // What follows from a mistake on the same line says nothing new.
        errors.dedup_by_key(|(at, _)| position(text, *at).0);
        let mistakes = errors.iter().map(|(at, error)| {
            let (line, column) = position(text, *at);
            let place = format!("{}, line {line}, column {column}", path.display());
            Mistake::of_file(&place, &sentence(error))
        });
        let mistakes = mistakes.collect();
        let path = path.to_owned();
        (Self { path, entries }, mistakes)
    }
}

fn sentence(error: &Error) -> String {
    let problem = error.message();
    // Nearly always.
    let is_about_a_value = problem.starts_with("invalid") || problem.starts_with("string values");
    let hint = if is_about_a_value {
        "; text stands in quotes, as in name = \"value\""
    } else {
        ""
    };
    format!("this is no TOML ({problem}){hint}")
}

/// The line and the column of a byte, from 1.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

fn read(value: &DeValue<'_>) -> Value {
    if let Some(text) = scalar(value) {
        return Value::One(text);
    }
    match value {
        DeValue::Array(values) => values
            .iter()
            .map(|value| scalar(value.get_ref()))
            .collect::<Option<_>>()
            .map_or(Value::Other("a list of anything else"), Value::Many),
        DeValue::Table(_) => Value::Other("a table"),
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        _ => Value::Other("a date"),
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        // Past 64 bits it stays as it is written, and is for the setting to refuse.
        DeValue::Integer(number) => Some(
            i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.to_string(), |number| number.to_string()),
        ),
        DeValue::Boolean(value) => Some(value.to_string()),
        _ => None,
    }
}
