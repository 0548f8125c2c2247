//! `assign`: assigns devices at a running service.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{
    CommandError,
    bulk::{Bulk, exit_code},
    output::{print, print_lines},
};
use crate::client::{Action, Report};

pub(super) const EXAMPLES: &str = "\
Examples:
  export DEVICE_ASSIGNMENT_API_KEY=...
  device-assignment assign --customer ann@example.com SN-001 SN-002
  device-assignment assign --customer ann@example.com --file identifiers.txt
      one identifier a line
  device-assignment assign --csv assignments.csv --skipped skipped.csv
      many customers: the first line is customer_email,device_identifier
  device-assignment assign --csv skipped.csv --auto-create --type sensor
      the skipped rows again, creating their devices
";

const USAGE: &str = "\
device-assignment assign [OPTIONS] --customer <EMAIL> <ID>...
       device-assignment assign [OPTIONS] --customer <EMAIL> --file <FILE>
       device-assignment assign [OPTIONS] --csv <FILE>";

#[derive(Debug, Args)]
#[command(override_usage = USAGE)]
pub(super) struct Assign {
    #[command(flatten)]
    bulk: Bulk,

    /// Create the devices that do not exist, instead of skipping them
    #[arg(long)]
    auto_create: bool,

    /// The type of the devices to create; in a CSV file, of rows without a type
    #[arg(long = "type", value_name = "TYPE", requires = "auto_create")]
    device_type: Option<String>,
}

impl Assign {
    pub(super) async fn run(self) -> Result<ExitCode, CommandError> {
        let action = Action::Assign {
            auto_create: self.auto_create,
        };
        let report = self.bulk.run(action, self.device_type.clone()).await?;
        self.print(&report)?;
        Ok(exit_code(&report))
    }

    fn print(&self, report: &Report) -> Result<(), CommandError> {
        let Report {
            assigned,
            already_assigned,
            skipped,
            refused,
            devices_created,
            customers_created,
            retries,
            ..
        } = report;
        if self.bulk.json {
            let value = json!({
                "assigned": assigned,
                "alreadyAssigned": already_assigned,
                "skipped": skipped,
                "refused": refused,
                "devicesCreated": devices_created,
                "customersCreated": customers_created,
                "retries": retries,
                "dryRun": self.bulk.dry_run,
            });
            return print(&value.to_string());
        }
        let when = self.bulk.when();
        let summary = format!(
            "{when}{assigned} assigned, {already_assigned} already assigned, {skipped} skipped, {refused} refused"
        );
        let created = (devices_created + customers_created > 0)
            .then(|| format!("{devices_created} device(s) and {customers_created} customer(s) created"));
        print_lines([summary].into_iter().chain(created)).map(drop)
    }
}
