//! Statements over sets of rows: one constant text and a constant number of parameters for any number of rows.
//!
//! PostgreSQL takes each column as an array, SQLite all rows as one JSON array of arrays. A list of placeholders
//! instead would make a new text for each length, which churns the statement cache and meets the limit on parameters.

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, FromQueryResult, Statement, Value,
    sea_query::{ArrayType, ValueType},
};
use uuid::Uuid;

/// One statement, as each database wants it. The organization's id is always the first parameter: no statement reaches
/// across organizations, and a sharded PostgreSQL can send each to the one shard that holds the organization.
pub(super) struct Sql {
    pub(super) postgres: &'static str,
    pub(super) sqlite: &'static str,
}

/// A column of the rows that a statement works on.
pub(super) enum Column<'a> {
    Ids(Vec<Uuid>),
    Texts(Vec<&'a str>),
}

impl Sql {
    /// Reads the rows that match `rows`; without any, asks nobody.
    pub(super) async fn load<T: FromQueryResult, const N: usize>(
        &self,
        db: &impl ConnectionTrait,
        scalars: impl IntoIterator<Item = Value>,
        rows: [Column<'_>; N],
    ) -> Result<Vec<T>, DbErr> {
        if are_none(&rows) {
            return Ok(Vec::new());
        }
        let statement = self.bind(db.get_database_backend(), scalars, rows);
        T::find_by_statement(statement).all(db).await
    }

    /// Writes `rows`, and says how many rows changed; without any, asks nobody.
    pub(super) async fn execute<const N: usize>(
        &self,
        db: &impl ConnectionTrait,
        scalars: impl IntoIterator<Item = Value>,
        rows: [Column<'_>; N],
    ) -> Result<u64, DbErr> {
        if are_none(&rows) {
            return Ok(0);
        }
        let statement = self.bind(db.get_database_backend(), scalars, rows);
        Ok(db.execute_raw(statement).await?.rows_affected())
    }

    /// Binds `scalars` as the first parameters, and after them the rows, given by their columns.
    fn bind<const N: usize>(
        &self,
        backend: DbBackend,
        scalars: impl IntoIterator<Item = Value>,
        rows: [Column<'_>; N],
    ) -> Statement {
        let scalars = scalars.into_iter();
        match backend {
            DbBackend::Sqlite => {
                let values = scalars.chain([Value::from(json_rows(&rows))]);
                Statement::from_sql_and_values(backend, self.sqlite, values)
            }
            _ => {
                let values = scalars.chain(rows.into_iter().map(Column::into_array));
                Statement::from_sql_and_values(backend, self.postgres, values)
            }
        }
    }
}

fn are_none(rows: &[Column<'_>]) -> bool {
    rows.first().is_none_or(|column| column.len() == 0)
}

impl Column<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Ids(ids) => ids.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    fn into_array(self) -> Value {
        fn array<T: ValueType + Into<Value>>(values: impl Iterator<Item = T>) -> Value {
            let array_type: ArrayType = T::array_type();
            Value::Array(array_type, Some(Box::new(values.map(Into::into).collect())))
        }
        match self {
            Self::Ids(ids) => array(ids.into_iter()),
            Self::Texts(texts) => array(texts.into_iter().map(str::to_owned)),
        }
    }

    /// Ids go as 32 hexadecimal digits, which `unhex` turns into the stored form: JSON has no bytes.
    fn json_cell(&self, row: usize) -> serde_json::Value {
        match self {
            Self::Ids(ids) => ids.get(row).map(|id| id.simple().to_string()).into(),
            Self::Texts(texts) => texts.get(row).copied().into(),
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
