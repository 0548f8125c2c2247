//! `owners`: looks up the owners of devices at a running service.

use std::{io::Read, path::PathBuf, process::ExitCode, vec};

use clap::Args;

use super::{
    CommandError,
    bulk::exit_code,
    input::Input,
    listing::{Rows, connect},
    output::say,
    target::failure,
};
use crate::{
    client::{ClientError, Report},
    config::ClientConfig,
    list::{Lines, ListError, RejectedRow, text},
    pb::DeviceOwners,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  export DEVICE_ASSIGNMENT_API_KEY=...
  device-assignment owners SN-001 SN-002
  device-assignment owners --file identifiers.txt --json
      one identifier a line in the file, one JSON object a line
  list-devices | device-assignment owners --file -
";

const USAGE: &str = "\
device-assignment owners [OPTIONS] <ID>...
       device-assignment owners [OPTIONS] --file <FILE>";

/// How many devices are looked up at once.
const BATCH: usize = 1_000;

#[derive(Debug, Args)]
#[command(override_usage = USAGE)]
pub(super) struct Owners {
    /// Device identifiers
    #[arg(value_name = "ID", conflicts_with = "file", required_unless_present = "file")]
    identifiers: Vec<String>,

    /// A file with one device identifier per line, or - for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Print one JSON object for each device, as the REST API has it
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    service: ClientConfig,
}

/// Where identifiers come from.
enum Source {
    Given(std::iter::Enumerate<vec::IntoIter<String>>),
    Lines(Box<Lines<Box<dyn Read + Send>>>),
}

/// An identifier with its line, or why there is none.
type Row = Result<(u64, String), RejectedRow>;

impl Owners {
    pub(super) async fn run(self) -> Result<ExitCode, CommandError> {
        let Self {
            identifiers,
            file,
            json,
            service,
        } = self;
        let place = if file.is_some() { "line" } else { "identifier" };
        let (mut source, name) = match &file {
            None => (Source::Given(identifiers.into_iter().enumerate()), None),
            Some(path) => {
                let input = Input::open(path)?;
                let name = input.name.clone();
                (Source::Lines(Box::new(Lines::new(input.into_reader()))), Some(name))
            }
        };
        let fails = |error| failure(error, &service.target, name.as_deref());
        let records = connect(&service).await?;
        let mut printed = Rows::new(json, ["identifier", "type", "email", "customerId", "assignedAt"]);
        let mut report = Report::default();
        loop {
            let rows = source.read().map_err(|error| fails(ClientError::List(error)))?;
            if rows.is_empty() {
                break;
            }
            let mut valid = Vec::with_capacity(rows.len());
            let mut rejected = Vec::new();
            for row in rows {
                match row {
                    Ok(row) => valid.push(row),
                    Err(row) => rejected.push(row),
                }
            }
            let mut found = records.owners(valid).await.map_err(fails)?;
            rejected.append(&mut found.refused);
            rejected.sort_by_key(|row| row.line);
            for row in &rejected {
                say(&format!("{place} {}: {}", row.line, row.problem));
            }
            report.refused += rejected.len() as u64;
            for device in &found.devices {
                if !device.found {
                    report.skipped += 1;
                    say(&format!("device does not exist: {}", device.identifier));
                }
                if device.has_more_owners {
                    say(&format!("only the first owners are listed: {}", device.identifier));
                }
            }
            if !printed.print(found.devices.iter().map(|device| (device, lines(device))))? {
                break;
            }
        }
        Ok(exit_code(&report))
    }
}

impl Source {
    /// The next rows. None at the end.
    fn read(&mut self) -> Result<Vec<Row>, ListError> {
        let mut rows = Vec::new();
        while rows.len() < BATCH {
            rows.push(match self {
                Self::Given(identifiers) => match identifiers.next() {
                    Some((index, identifier)) => Ok((index as u64 + 1, identifier)),
                    None => break,
                },
                Self::Lines(lines) => match lines.next()? {
                    Some((line, identifier)) => match text(identifier) {
                        Ok(identifier) => Ok((line, identifier.trim().to_owned())),
                        Err(problem) => Err(RejectedRow {
                            line,
                            problem: format!("device_identifier {problem}"),
                        }),
                    },
                    None => break,
                },
            });
        }
        Ok(rows)
    }
}

/// The lines of a device: one for each owner, and one without an owner if it has none.
fn lines(device: &DeviceOwners) -> Vec<[String; 5]> {
    let line =
        |email: &str, id: &str, since: &str| [&device.identifier, &device.r#type, email, id, since].map(str::to_owned);
    match device.owners.as_slice() {
        _ if !device.found => Vec::new(),
        [] => vec![line("", "", "")],
        owners => owners
            .iter()
            .map(|owner| line(&owner.email, &owner.customer_id, &owner.assigned_at))
            .collect(),
    }
}
