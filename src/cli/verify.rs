use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{
    CommandError, connect,
    output::{print, say},
};
use crate::{config::DatabaseConfig, service::verify};

pub(super) const EXAMPLES: &str = "\
Examples:
  device-assignment verify
      compare the change log of every organization with the tables
  device-assignment verify --organization acme --json
";

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The organization; all, if absent
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,

    /// Print one JSON object for each difference
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    database: DatabaseConfig,
}

impl Verify {
    /// Exit code 0 if the log and the tables agree, otherwise 1.
    pub(super) async fn run(self) -> Result<ExitCode, CommandError> {
        let Self {
            organization,
            json: as_json,
            database,
        } = self;
        let database = connect::connect_to_read(&database).await?;
        let history = database.history().await?;
        say(&format!("history {history}"));
        let mut printed = Ok(());
        let is_clean = verify(
            &database,
            organization.as_deref(),
            |organization, difference| {
                let line = if as_json {
                    json!({
                        "organization": organization.id.to_string(),
                        "problem": difference.problem,
                        "revision": difference.revision.map(|revision| revision.to_string()),
                        "customerId": difference.customer.map(|customer| customer.to_string()),
                        "deviceId": difference.device.map(|device| device.to_string()),
                    })
                    .to_string()
                } else {
                    let revision = difference.revision.map(|revision| format!("revision {revision}"));
                    let customer = difference.customer.map(|customer| customer.to_string());
                    let device = difference.device.map(|device| device.to_string());
                    let about: Vec<_> = [revision, customer, device].into_iter().flatten().collect();
                    format!("{}: {}: {}", organization.name, difference.problem, about.join(", "))
                        .trim_end_matches(": ")
                        .to_owned()
                };
                if printed.is_ok() {
                    printed = print(&line);
                }
            },
            |organization, differences| {
                let name = &organization.name;
                say(&match differences {
                    0 => format!("{name}: the change log and the tables agree"),
                    1 => format!("{name}: 1 difference"),
                    count => format!("{name}: {count} differences"),
                });
            },
        )
        .await?;
        printed?;
        Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
