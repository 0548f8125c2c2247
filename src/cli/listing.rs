//! Lists from a running service, printed as they arrive.

use clap::Args;
use serde::Serialize;

use super::{
    CommandError,
    output::{is_terminal, json_line, print_lines, say},
    table::{Columns, heading},
    target::{failure, target},
};
use crate::{
    client::{ClientError, Records},
    config::ClientConfig,
};

/// How many rows are read at once: the most that the service returns.
const PAGE: u64 = 1_000;

/// Which part of a list to print, and how.
#[derive(Debug, Args)]
pub(super) struct List {
    /// The most rows to list [default: all]
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,

    /// Print one JSON object a line, as the REST API has it
    #[arg(long)]
    json: bool,
}

/// Connects to the service.
pub(super) async fn connect(config: &ClientConfig) -> Result<Records, CommandError> {
    let on_trouble = |answer: &str| say(&format!("{answer}; trying again"));
    let (timeout, retry_for) = (config.calls.timeout, config.calls.retry_for);
    let records = Records::connect(&target(&config.target)?, timeout, retry_for, on_trouble).await;
    records.map_err(|error| failure(error, &config.target, None))
}

impl List {
    /// Prints the pages of a list. `read` returns the page of this size at this token, with the token of the next page.
    pub(super) async fn print<M: Serialize, const COLUMNS: usize>(
        &self,
        config: &ClientConfig,
        columns: [&'static str; COLUMNS],
        cells: impl Fn(&M) -> [String; COLUMNS],
        read: impl AsyncFn(&Records, i32, String) -> Result<(Vec<M>, String), ClientError>,
    ) -> Result<(), CommandError> {
        let records = connect(config).await?;
        let mut left = self.limit.unwrap_or(u64::MAX);
        let mut rows = Rows::new(self.json, columns);
        let mut token = String::new();
        while left > 0 {
            let size = i32::try_from(left.min(PAGE)).unwrap_or(i32::MAX);
            let page = read(&records, size, token).await;
            let (page, next) = page.map_err(|error| failure(error, &config.target, None))?;
            left = left.saturating_sub(page.len() as u64);
            let is_read = rows.print(page.iter().map(|row| (row, vec![cells(row)])))?;
            if next.is_empty() || !is_read {
                break;
            }
            token = next;
        }
        Ok(())
    }
}

/// Prints rows as they come: as JSON, as a table on a terminal, or as lines with tabs.
pub(super) struct Rows<const COLUMNS: usize> {
    json: bool,
    columns: [&'static str; COLUMNS],
    /// The table on a terminal, once it has begun. The first rows decide how wide the columns are.
    table: Option<Columns<COLUMNS>>,
}

impl<const COLUMNS: usize> Rows<COLUMNS> {
    pub(super) fn new(json: bool, columns: [&'static str; COLUMNS]) -> Self {
        let table = None;
        Self { json, columns, table }
    }

    /// Prints the next records, each with its lines, and returns whether the reader is still there.
    pub(super) fn print<'a, M: Serialize + 'a>(
        &mut self,
        records: impl Iterator<Item = (&'a M, Vec<[String; COLUMNS]>)>,
    ) -> Result<bool, CommandError> {
        if self.json {
            let lines: Result<Vec<_>, _> = records.map(|(record, _)| json_line(record)).collect();
            return print_lines(lines?);
        }
        let mut rows: Vec<_> = records.flat_map(|(_, lines)| lines).collect();
        if !is_terminal() {
            return print_lines(rows.iter().map(|row| row.join("\t")));
        }
        if rows.is_empty() {
            return Ok(true);
        }
        if self.table.is_none() {
            rows.insert(0, self.columns.map(heading));
        }
        let table = self.table.get_or_insert_with(|| Columns::fitting(&rows));
        print_lines(rows.iter().map(|row| table.line(row)))
    }
}
