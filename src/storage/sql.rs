//! Statements over sets of rows: one constant text and a constant number of parameters for any number of rows.
//!
//! PostgreSQL takes each column as an array, SQLite all rows of a set as one JSON array of arrays. A list of placeholders
//! would be a new text for each length: that fills the statement cache, and meets the limit on parameters.

use std::sync::OnceLock;

use sea_orm::{
    DatabaseConnection, DbBackend, DbErr, RuntimeErr,
    sqlx::{
        self, Arguments, Error, FromRow,
        error::BoxDynError,
        postgres::{PgArguments, PgRow},
        sqlite::{SqliteArguments, SqliteRow},
    },
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use super::{citus::Dialect, statement_kind::StatementKind};

/// A statement in the SQL of each database. In a statement of a call, the organization's id is the first parameter: no
/// statement reaches across organizations, and Citus finds all its rows on one server.
pub(super) struct Sql {
    pub(super) kind: StatementKind,
    pub(super) postgres: &'static str,
    pub(super) sqlite: &'static str,
    pub(super) citus: OnCitus,
}

/// The text of a statement on Citus.
pub(super) enum OnCitus {
    /// That of PostgreSQL.
    Same,
    /// A text of its own, because Citus cannot run that of PostgreSQL.
    Text(&'static str),
    /// PostgreSQL's INSERT within a SELECT. By itself, Citus cannot run an INSERT of many rows that may replace others: the parts
    /// that it sends to the servers have parameters without types. Made when it is first used.
    Within(OnceLock<String>),
}

/// The text of a file without the comment at its top: logs, `pg_stat_activity` and the like show the beginning of a
/// statement, and cut the rest off.
pub(super) const fn without_header(file: &'static str) -> &'static str {
    let mut rest = file.as_bytes();
    while let [b'-', b'-', after @ ..] = rest {
        rest = after;
        while let [byte, after @ ..] = rest {
            rest = after;
            if *byte == b'\n' {
                break;
            }
        }
    }
    file.split_at(file.len() - rest.len()).1
}

/// A parameter that is one value.
#[derive(Clone, Copy)]
pub(super) enum Scalar {
    Id(Uuid),
    Time(OffsetDateTime),
    Flag(bool),
    Number(i64),
}

/// A column of a set of rows.
pub(super) enum Column<'a> {
    Ids(Vec<Uuid>),
    OptionalIds(Vec<Option<Uuid>>),
    Texts(Vec<&'a str>),
    OptionalTexts(Vec<Option<&'a str>>),
    Numbers(Vec<i32>),
    OptionalNumbers(Vec<Option<i32>>),
    Revisions(Vec<i64>),
    Bytes(Vec<&'a [u8]>),
    /// Lists of ids, of which empty ones are stored as null. PostgreSQL has no arrays of arrays of different lengths: there
    /// each list is the text of an array. SQLite stores the bytes of the ids, one after the other.
    IdLists(Vec<Vec<Uuid>>),
    /// Whole seconds: then SQLite's texts are in the order of the times.
    Times(Vec<OffsetDateTime>),
}

/// A statement with its parameters: the scalars first, then each set of rows.
pub(super) struct Statement<'a> {
    sql: &'static Sql,
    dialect: Dialect,
    scalars: Vec<Scalar>,
    sets: Vec<Vec<Column<'a>>>,
}

impl Sql {
    /// Binds `scalars` as the first parameters, and after them one set of rows, given by its columns.
    pub(super) fn bind<'a>(
        &'static self,
        scalars: impl IntoIterator<Item = Scalar>,
        rows: impl IntoIterator<Item = Column<'a>>,
    ) -> Statement<'a> {
        Statement {
            sql: self,
            dialect: Dialect::Plain,
            scalars: scalars.into_iter().collect(),
            sets: vec![rows.into_iter().collect()],
        }
    }

    /// The text for PostgreSQL.
    pub(super) fn on_postgres(&self, dialect: Dialect) -> &str {
        match (dialect, &self.citus) {
            (Dialect::Plain, _) | (Dialect::Citus, OnCitus::Same) => self.postgres,
            (Dialect::Citus, OnCitus::Text(text)) => text,
            (Dialect::Citus, OnCitus::Within(text)) => text.get_or_init(|| {
                let insert = self.postgres.trim_end().trim_end_matches(';');
                format!("WITH written AS (\n{insert}\nRETURNING 1\n)\nSELECT FROM written;")
            }),
        }
    }
}

impl<'a> Statement<'a> {
    /// Binds another set of rows.
    pub(super) fn and(mut self, rows: impl IntoIterator<Item = Column<'a>>) -> Self {
        self.sets.push(rows.into_iter().collect());
        self
    }

    /// The same statement for a database of this dialect.
    pub(super) fn on(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Runs the statement on a connection of a pool, and returns its rows.
    pub(super) async fn rows_of<T>(&self, pool: &DatabaseConnection) -> Result<Vec<T>, DbErr>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let rows = async {
            if pool.get_database_backend() == DbBackend::Sqlite {
                let (sql, arguments) = self.for_sqlite()?;
                let query = sqlx::query_as_with(sql, arguments);
                query.fetch_all(pool.get_sqlite_connection_pool()).await
            } else {
                let (sql, arguments) = self.for_postgres()?;
                let query = sqlx::query_as_with(sql, arguments);
                query.fetch_all(pool.get_postgres_connection_pool()).await
            }
        };
        let rows = rows.await;
        rows.map_err(|error| DbErr::Query(RuntimeErr::SqlxError(error.into())))
    }

    pub(super) fn kind(&self) -> &'static StatementKind {
        &self.sql.kind
    }

    /// How many rows the first set has.
    pub(super) fn row_count(&self) -> usize {
        let columns = self.sets.first();
        columns.and_then(|columns| columns.first()).map_or(0, Column::len)
    }

    /// Whether a set of rows is empty: the statement would find or write nothing.
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
                Scalar::Number(number) => arguments.add(number),
            };
            added.map_err(Error::Encode)?;
        }
        for column in self.sets.iter().flatten() {
            let added = match column {
                Column::Ids(ids) => arguments.add(ids),
                Column::OptionalIds(ids) => arguments.add(ids),
                Column::Texts(texts) => arguments.add(texts),
                Column::OptionalTexts(texts) => arguments.add(texts),
                Column::Numbers(numbers) => arguments.add(numbers),
                Column::OptionalNumbers(numbers) => arguments.add(numbers),
                Column::Revisions(revisions) => arguments.add(revisions),
                Column::Bytes(bytes) => arguments.add(bytes),
                Column::IdLists(lists) => arguments.add(lists.iter().map(|ids| array_text(ids)).collect::<Vec<_>>()),
                Column::Times(times) => arguments.add(times),
            };
            added.map_err(Error::Encode)?;
        }
        Ok((self.sql.on_postgres(self.dialect), arguments))
    }

    /// The text and the parameters for SQLite.
    pub(super) fn for_sqlite(&self) -> Result<(&'static str, SqliteArguments), Error> {
        let mut arguments = SqliteArguments::default();
        for scalar in &self.scalars {
            let added = match *scalar {
                Scalar::Id(id) => arguments.add(id),
                Scalar::Time(time) => arguments.add(time),
                Scalar::Flag(flag) => arguments.add(flag),
                Scalar::Number(number) => arguments.add(number),
            };
            added.map_err(Error::Encode)?;
        }
        for columns in self.sets.iter().filter(|columns| !columns.is_empty()) {
            let rows = json_rows(columns).map_err(Error::Encode)?;
            arguments.add(rows).map_err(Error::Encode)?;
        }
        Ok((self.sql.sqlite, arguments))
    }
}

impl Column<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.len(),
            Self::OptionalIds(ids) => ids.len(),
            Self::Texts(texts) => texts.len(),
            Self::OptionalTexts(texts) => texts.len(),
            Self::Numbers(numbers) => numbers.len(),
            Self::OptionalNumbers(numbers) => numbers.len(),
            Self::Revisions(revisions) => revisions.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::IdLists(lists) => lists.len(),
            Self::Times(times) => times.len(),
        }
    }

    /// An id is 32 hexadecimal digits, which `unhex` turns into the stored form: JSON has no bytes.
    fn json_cell(&self, row: usize) -> Result<serde_json::Value, BoxDynError> {
        Ok(match self {
            Self::Ids(ids) => ids.get(row).map(|id| id.simple().to_string()).into(),
            Self::OptionalIds(ids) => ids.get(row).copied().flatten().map(|id| id.simple().to_string()).into(),
            Self::Texts(texts) => texts.get(row).copied().into(),
            Self::OptionalTexts(texts) => texts.get(row).copied().flatten().into(),
            Self::Numbers(numbers) => numbers.get(row).copied().into(),
            Self::OptionalNumbers(numbers) => numbers.get(row).copied().flatten().into(),
            Self::Revisions(revisions) => revisions.get(row).copied().into(),
            Self::Bytes(bytes) => bytes.get(row).map(|bytes| digits(bytes)).into(),
            Self::IdLists(lists) => lists.get(row).and_then(|ids| hexadecimal(ids)).into(),
            // As the driver stores times.
            Self::Times(times) => {
                let text = times.get(row).map(|time| time.format(&Rfc3339));
                text.transpose()?.into()
            }
        })
    }
}

/// A list of ids as the text of an array of PostgreSQL.
fn array_text(ids: &[Uuid]) -> Option<String> {
    let (first, rest) = ids.split_first()?;
    let mut text = String::with_capacity(ids.len() * (uuid::fmt::Simple::LENGTH + 1) + 1);
    let mut buffer = Uuid::encode_buffer();
    text.push('{');
    text.push_str(first.simple().encode_lower(&mut buffer));
    for id in rest {
        text.push(',');
        text.push_str(id.simple().encode_lower(&mut buffer));
    }
    text.push('}');
    Some(text)
}

/// Bytes as hexadecimal digits.
fn digits(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves
        .filter_map(|half| DIGITS.get(usize::from(half)))
        .map(|digit| char::from(*digit))
        .collect()
}

/// A list of ids as hexadecimal digits, one after the other.
fn hexadecimal(ids: &[Uuid]) -> Option<String> {
    if ids.is_empty() {
        return None;
    }
    let mut buffer = Uuid::encode_buffer();
    let mut text = String::with_capacity(ids.len() * uuid::fmt::Simple::LENGTH);
    for id in ids {
        text.push_str(id.simple().encode_lower(&mut buffer));
    }
    Some(text)
}

fn json_rows(columns: &[Column<'_>]) -> Result<String, BoxDynError> {
    let rows = columns.first().map_or(0, Column::len);
    let cells = |row| columns.iter().map(move |column| column.json_cell(row)).collect();
    let rows = (0..rows).map(cells).collect::<Result<Vec<Vec<_>>, _>>()?;
    Ok(serde_json::to_string(&rows)?)
}

#[cfg(test)]
mod tests;
