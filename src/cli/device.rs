use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    process::ExitCode,
};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Failure, connect,
    output::{print, say},
};
use crate::{
    config::{DatabaseConfig, ImportConfig},
    service::{ImportError, import_devices},
};

#[derive(Debug, Subcommand)]
pub(super) enum Device {
    /// Create the devices of a list, and give those that exist the type that stands there
    ///
    /// Rows that break a rule are named by line on stderr and left out; the exit code is 1 then. An import that was
    /// stopped can be run again.
    Import(Import),
}

#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    import: ImportConfig,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    database: DatabaseConfig,
}

impl Device {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let Self::Import(Import { import, json, database }) = self;
        let list = open(&import.file)?;
        let database = connect::connect_ready(&database).await?;
        let report = import_devices(&database, &import.organization, list, |row| {
            say(&format!("line {}: {}", row.line, row.problem));
        })
        .await
        .map_err(|error| match error {
            ImportError::Service(error) => error.into(),
            error => Failure::Failed(format!("{}: {error}", import.file.display())),
        })?;
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

fn open(path: &Path) -> Result<Box<dyn Read>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
    Ok(Box::new(file))
}
