//! Something with a list below it that may be long: printed as it is read, so that `head` and `less` can stop it.

use std::str::FromStr;

use clap::Args;
use serde_json::{Map, Value};

use super::{CommandError, output::print_lines};
use crate::domain::Error;

/// Rows that are read at once.
const READ: u64 = 1_000;

/// Which part of a list, and in what form.
#[derive(Debug, Args)]
pub(super) struct Page<Id>
where
    Id: FromStr + Clone + Send + Sync + 'static,
    Id::Err: std::error::Error + Send + Sync + 'static,
{
    /// The most rows to list; all unless given
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,

    /// List what comes after the row with this id
    #[arg(long, value_name = "ID")]
    after: Option<Id>,

    /// Print one JSON object a line: first what is shown, then each row of its list
    #[arg(long)]
    json: bool,
}

impl<Id> Page<Id>
where
    Id: FromStr + Clone + Send + Sync + 'static,
    Id::Err: std::error::Error + Send + Sync + 'static,
{
    /// Prints `head`, and below it the rows that `read` returns: those after an id, at most so many, each with its own.
    pub(super) async fn print<const COLUMNS: usize>(
        self,
        head: &[(&str, Value)],
        columns: [&str; COLUMNS],
        read: impl AsyncFn(Option<Id>, u64) -> Result<Vec<(Id, [String; COLUMNS])>, Error>,
    ) -> Result<(), CommandError> {
        let Self { limit, mut after, json } = self;
        let mut left = limit.unwrap_or(u64::MAX);
        // Read before anything is printed: what fails at once prints nothing.
        let mut rows = read(after, READ.min(left)).await?;
        let mut is_read = if json {
            print_lines([object(head.iter().cloned())])?
        } else {
            let head = head.iter().map(|(name, value)| format!("{name}\t{}", plain(value)));
            let heading = (!rows.is_empty()).then(|| format!("\n{}", columns.join("\t")));
            print_lines(head.chain(heading))?
        };
        while is_read && !rows.is_empty() {
            let count = rows.len() as u64;
            left -= count;
            after = rows.last().map(|(id, _)| id.clone());
            is_read = print_lines(rows.into_iter().map(|(_, cells)| match json {
                true => object(columns.into_iter().zip(cells.map(Value::from))),
                false => cells.join("\t"),
            }))?;
            if count < READ || left == 0 {
                break;
            }
            rows = read(after, READ.min(left)).await?;
        }
        Ok(())
    }
}

fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> String {
    let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
    Value::Object(Map::from_iter(members)).to_string()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
