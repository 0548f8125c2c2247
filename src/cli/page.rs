//! A record with a list that may be long: printed as it is read, so that `head` and `less` can stop it.

use std::str::FromStr;

use clap::Args;
use serde_json::{Map, Value};

use super::{
    CommandError,
    output::{is_terminal, print_lines},
    table::{Columns, heading},
};
use crate::domain::Error;

/// How many rows are read at once.
const READ: u64 = 1_000;

/// Which part of a list to print, and how.
#[derive(Debug, Args)]
pub(super) struct Page<Id>
where
    Id: FromStr + Clone + Send + Sync + 'static,
    Id::Err: std::error::Error + Send + Sync + 'static,
{
    /// The most rows to list [default: all]
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,

    /// List the rows after the one with this id
    #[arg(long, value_name = "ID")]
    after: Option<Id>,

    /// Print one JSON object a line: first the record, then each row of its list
    #[arg(long)]
    json: bool,
}

impl<Id> Page<Id>
where
    Id: FromStr + Clone + Send + Sync + 'static,
    Id::Err: std::error::Error + Send + Sync + 'static,
{
    /// Prints `head`, and below it the rows that `read` returns with their ids: at most so many after an id.
    pub(super) async fn print<const COLUMNS: usize>(
        self,
        head: &[(&str, Value)],
        columns: [&str; COLUMNS],
        read: impl AsyncFn(Option<Id>, u64) -> Result<Vec<(Id, [String; COLUMNS])>, Error>,
    ) -> Result<(), CommandError> {
        let Self { limit, mut after, json } = self;
        let mut left = limit.unwrap_or(u64::MAX);
        // Read before anything is printed: an error at once prints nothing.
        let mut rows = read(after, READ.min(left)).await?;
        let table = Table::new(columns, &rows);
        let mut is_read = if json {
            print_lines([object(head.iter().cloned())])?
        } else {
            let heading = (!rows.is_empty()).then(|| format!("\n{}", table.heading()));
            print_lines(table.head(head).into_iter().chain(heading))?
        };
        while is_read && !rows.is_empty() {
            let count = rows.len() as u64;
            left -= count;
            after = rows.last().map(|(id, _)| id.clone());
            is_read = print_lines(rows.into_iter().map(|(_, cells)| match json {
                true => object(columns.into_iter().zip(cells.map(Value::from))),
                false => table.line(&cells),
            }))?;
            if count < READ || left == 0 {
                break;
            }
            rows = read(after, READ.min(left)).await?;
        }
        Ok(())
    }
}

/// How what is not JSON is laid out.
enum Table<const COLUMNS: usize> {
    /// With headings and aligned, for people. The first rows that are read say how wide the columns are.
    Terminal([String; COLUMNS], Columns<COLUMNS>),
    /// With tabs, for programs.
    Tabs([String; COLUMNS]),
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    fn new<Id>(members: [&str; COLUMNS], rows: &[(Id, [String; COLUMNS])]) -> Self {
        if !is_terminal() {
            return Self::Tabs(members.map(str::to_owned));
        }
        let headings = members.map(heading);
        let cells = rows.iter().map(|(_, cells)| cells);
        let columns = Columns::fitting(std::iter::once(&headings).chain(cells));
        Self::Terminal(headings, columns)
    }

    /// The lines of what is shown above the rows.
    fn head(&self, members: &[(&str, Value)]) -> Vec<String> {
        let pairs = members.iter().map(|(name, value)| (*name, plain(value)));
        match self {
            Self::Tabs(_) => pairs.map(|(name, value)| format!("{name}\t{value}")).collect(),
            Self::Terminal(..) => {
                let rows: Vec<_> = pairs.map(|(name, value)| [heading(name), value]).collect();
                let columns = Columns::fitting(&rows);
                rows.iter().map(|row| columns.line(row)).collect()
            }
        }
    }

    fn heading(&self) -> String {
        match self {
            Self::Terminal(headings, columns) => columns.line(headings),
            Self::Tabs(members) => members.join("\t"),
        }
    }

    fn line(&self, cells: &[String; COLUMNS]) -> String {
        match self {
            Self::Terminal(_, columns) => columns.line(cells),
            Self::Tabs(_) => cells.join("\t"),
        }
    }
}

fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> String {
    let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
    Value::Object(Map::from_iter(members)).to_string()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
