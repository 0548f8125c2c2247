//! Statements over sets of rows: one constant text and a constant number of parameters for any number of rows.
//!
//! PostgreSQL takes each column as an array, SQLite all rows of a set as one JSON array of arrays. A list of placeholders
//! instead would make a new text for each length, which churns the statement cache and meets the limit on parameters.

use sea_orm::sqlx::{Arguments, Error, postgres::PgArguments, sqlite::SqliteArguments};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use super::observed::Kind;

/// One statement, as each database wants it. The organization's id is the first parameter of those of a call: none reaches
/// across organizations, and a sharded PostgreSQL finds what it is about on the one shard that holds the organization.
#[derive(Clone, Copy)]
pub(super) struct Sql {
    /// What it does, for operators.
    pub(super) kind: &'static Kind,
    pub(super) postgres: &'static str,
    pub(super) sqlite: &'static str,
}

/// A parameter that is one value.
#[derive(Clone, Copy)]
pub(super) enum Scalar {
    Id(Uuid),
    Time(OffsetDateTime),
    Flag(bool),
}

/// A column of a set of rows.
pub(super) enum Column<'a> {
    Ids(Vec<Uuid>),
    Texts(Vec<&'a str>),
    Numbers(Vec<i32>),
    /// Whole seconds, of which SQLite's texts compare as the times do.
    Times(Vec<OffsetDateTime>),
}

/// A statement with its parameters: the scalars first, then each set of rows.
pub(super) struct Statement<'a> {
    sql: Sql,
    scalars: Vec<Scalar>,
    sets: Vec<Vec<Column<'a>>>,
}

impl Sql {
    /// Binds `scalars` as the first parameters, and after them one set of rows, given by its columns.
    pub(super) fn bind<'a>(
        self,
        scalars: impl IntoIterator<Item = Scalar>,
        rows: impl IntoIterator<Item = Column<'a>>,
    ) -> Statement<'a> {
        Statement {
            sql: self,
            scalars: scalars.into_iter().collect(),
            sets: vec![rows.into_iter().collect()],
        }
    }
}

impl<'a> Statement<'a> {
    /// Binds another set of rows.
    pub(super) fn and(mut self, rows: impl IntoIterator<Item = Column<'a>>) -> Self {
        self.sets.push(rows.into_iter().collect());
        self
    }

    /// What it does, for operators.
    pub(super) fn kind(&self) -> &'static Kind {
        self.sql.kind
    }

    /// Whether some set has no row: nothing could be found or written.
    pub(super) fn is_void(&self) -> bool {
        self.sets
            .iter()
            .any(|columns| columns.first().is_none_or(|column| column.len() == 0))
    }

    /// The text and the parameters for PostgreSQL.
    pub(super) fn for_postgres(&self) -> Result<(&'static str, PgArguments), Error> {
        let mut arguments = PgArguments::default();
        for scalar in &self.scalars {
            let added = match *scalar {
                Scalar::Id(id) => arguments.add(id),
                Scalar::Time(time) => arguments.add(time),
                Scalar::Flag(flag) => arguments.add(flag),
            };
            added.map_err(Error::Encode)?;
        }
        for column in self.sets.iter().flatten() {
            let added = match column {
                Column::Ids(ids) => arguments.add(ids),
                Column::Texts(texts) => arguments.add(texts),
                Column::Numbers(numbers) => arguments.add(numbers),
                Column::Times(times) => arguments.add(times),
            };
            added.map_err(Error::Encode)?;
        }
        Ok((self.sql.postgres, arguments))
    }

    /// The text and the parameters for SQLite.
    pub(super) fn for_sqlite(&self) -> Result<(&'static str, SqliteArguments), Error> {
        let mut arguments = SqliteArguments::default();
        for scalar in &self.scalars {
            let added = match *scalar {
                Scalar::Id(id) => arguments.add(id),
                Scalar::Time(time) => arguments.add(time),
                Scalar::Flag(flag) => arguments.add(flag),
            };
            added.map_err(Error::Encode)?;
        }
        for columns in &self.sets {
            arguments.add(json_rows(columns)).map_err(Error::Encode)?;
        }
        Ok((self.sql.sqlite, arguments))
    }
}

impl Column<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.len(),
            Self::Texts(texts) => texts.len(),
            Self::Numbers(numbers) => numbers.len(),
            Self::Times(times) => times.len(),
        }
    }

    /// Ids go as 32 hexadecimal digits, which `unhex` turns into the stored form: JSON has no bytes.
    fn json_cell(&self, row: usize) -> serde_json::Value {
        match self {
            Self::Ids(ids) => ids.get(row).map(|id| id.simple().to_string()).into(),
            Self::Texts(texts) => texts.get(row).copied().into(),
            Self::Numbers(numbers) => numbers.get(row).copied().into(),
            // The driver's own form.
            Self::Times(times) => times.get(row).and_then(|time| time.format(&Rfc3339).ok()).into(),
        }
    }
}

fn json_rows(columns: &[Column<'_>]) -> String {
    let rows = columns.first().map_or(0, Column::len);
    (0..rows)
        .map(|row| columns.iter().map(|column| column.json_cell(row)).collect())
        .collect::<Vec<serde_json::Value>>()
        .into_iter()
        .collect::<serde_json::Value>()
        .to_string()
}

#[cfg(test)]
mod tests;
