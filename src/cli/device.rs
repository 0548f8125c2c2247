use std::{env, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    CommandError, connect, delete,
    input::{Input, ignored_columns},
    output::{print, timestamp},
    page::Page,
    progress::Progress,
};
use crate::{
    config::DatabaseConfig,
    domain::{device::DeviceIdentifier, id::CustomerId},
    service::{ImportError, ImportEvent, ImportReport, device, device_owners, import_devices},
    storage::{Assigned, DeviceRecord},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  device-assignment device import --organization acme devices.csv
  device-assignment device show SN-001 --organization acme
  device-assignment device delete SN-001
      at a running service, with an API key
";

const IMPORT_EXAMPLES: &str = "\
Examples:
  device-assignment device import --organization acme devices.csv
      the first line of devices.csv names the columns identifier and type
  export-devices | device-assignment device import --organization acme -
";

const SHOW_EXAMPLES: &str = "\
Examples:
  device-assignment device show SN-001 --organization acme
  device-assignment device show SN-001 --organization acme --json
";

#[derive(Debug, Subcommand)]
pub(super) enum Device {
    /// Create the devices of a CSV list in the database, and update the type of those that exist
    ///
    /// Invalid rows are left out and listed on stderr with their line; the exit code is 1 then. An import that was stopped
    /// can be run again.
    #[command(before_help = IMPORT_EXAMPLES)]
    Import(Import),
    /// Show a device and its owners, from the database
    #[command(before_help = SHOW_EXAMPLES)]
    Show(Show),
    /// Delete a device at a running service, and remove it from all its owners
    #[command(before_help = delete::DEVICE_EXAMPLES)]
    Delete(delete::DeleteDevice),
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The organization that the devices belong to
    #[arg(long, value_name = "NAME")]
    organization: String,

    /// A CSV file, or - for standard input
    ///
    /// Its first line names the columns `identifier` and `type`. They come in any order, and other columns are ignored. The
    /// separator is a comma, a semicolon or a tab.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Show no progress on a terminal
    #[arg(long)]
    no_progress: bool,

    #[command(flatten)]
    database: DatabaseConfig,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The identifier of the device
    #[arg(value_parser = parse_identifier)]
    identifier: DeviceIdentifier,

    /// The organization that the device belongs to
    #[arg(long, value_name = "NAME")]
    organization: String,

    #[command(flatten)]
    page: Page<CustomerId>,

    #[command(flatten)]
    database: DatabaseConfig,
}

fn parse_identifier(text: &str) -> Result<DeviceIdentifier, String> {
    DeviceIdentifier::parse(text).map_err(|problem| format!("an identifier {problem}"))
}

impl Device {
    pub(super) async fn run(self) -> Result<ExitCode, CommandError> {
        match self {
            Self::Import(import) => import.run().await,
            Self::Show(show) => show.run().await.map(|()| ExitCode::SUCCESS),
            Self::Delete(delete) => delete.run().await.map(|()| ExitCode::SUCCESS),
        }
    }
}

impl Import {
    async fn run(self) -> Result<ExitCode, CommandError> {
        let Self {
            organization,
            file,
            json,
            no_progress,
            database,
        } = self;
        let list = Input::open(&file)?;
        let database = connect::connect_existing_ready(&database).await?;
        let name = list.name.clone();
        let progress = Progress::start(list.size.clone(), !no_progress);
        let report = import_devices(
            &database,
            &organization,
            operator(),
            list.into_reader(),
            |event| match event {
                ImportEvent::IgnoredColumns(names) => {
                    if let Some(note) = ignored_columns(&names) {
                        progress.say(&note);
                    }
                }
                ImportEvent::Rejected(row) => progress.say(&format!("line {}: {}", row.line, row.problem)),
                ImportEvent::Written(report) => progress.update(report.rows(), report.rows()),
            },
        )
        .await
        .map_err(|error| match error {
            ImportError::Service(error) => error.into(),
            error => CommandError::Failed(format!("{name}: {error}")),
        });
        progress.finish(report.as_ref().ok().map(ImportReport::rows));
        let report = report?;
        if json {
            let value = json!({
                "created": report.created,
                "updated": report.updated,
                "unchanged": report.unchanged,
                "refused": report.refused,
            });
            print(&value.to_string())?;
        } else {
            print(&format!(
                "{} created, {} updated, {} unchanged, {} refused",
                report.created, report.updated, report.unchanged, report.refused
            ))?;
        }
        Ok(ExitCode::from(u8::from(report.refused > 0)))
    }
}

impl Show {
    async fn run(self) -> Result<(), CommandError> {
        let Self {
            identifier,
            organization,
            page,
            database,
        } = self;
        let database = connect::connect_to_read(&database).await?;
        let Some(device) = device(&database, &organization, &identifier).await? else {
            return Err(CommandError::Failed(format!(
                "there is no device {identifier} in the organization {organization}; identifiers are compared byte by byte"
            )));
        };
        let DeviceRecord {
            id,
            identifier,
            device_type,
            created_at,
        } = &device.record;
        let head = [
            ("id", json!(id.to_string())),
            ("identifier", json!(identifier)),
            ("type", json!(device_type)),
            ("createdAt", json!(timestamp(*created_at))),
            ("owners", json!(device.owners)),
        ];
        let columns = ["id", "email", "name", "assignedAt"];
        page.print(&head, columns, async |after, limit| {
            let owners = device_owners(&database, &device, after, limit).await?;
            Ok(owners
                .into_iter()
                .map(|Assigned { record, since }| {
                    let cells = [record.id.to_string(), record.email, record.name, timestamp(since)];
                    (record.id, cells)
                })
                .collect())
        })
        .await
    }
}

/// The name of the user who runs the command.
fn operator() -> Option<String> {
    ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| env::var(name).ok())
}
