//! `unassign`: removes devices from customers at a running service.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{
    CommandError,
    bulk::{Bulk, exit_code},
    output::print,
};
use crate::client::{Action, Report};

pub(super) const EXAMPLES: &str = "\
Examples:
  export DEVICE_ASSIGNMENT_API_KEY=...
  device-assignment unassign --customer ann@example.com SN-001 SN-002
  device-assignment unassign --customer ann@example.com --file identifiers.txt
      one identifier a line
  device-assignment unassign --csv assignments.csv
      many customers: the first line is customer_email,device_identifier
";

const USAGE: &str = "\
device-assignment unassign [OPTIONS] --customer <EMAIL> <ID>...
       device-assignment unassign [OPTIONS] --customer <EMAIL> --file <FILE>
       device-assignment unassign [OPTIONS] --csv <FILE>";

#[derive(Debug, Args)]
#[command(override_usage = USAGE)]
pub(super) struct Unassign {
    #[command(flatten)]
    bulk: Bulk,
}

impl Unassign {
    pub(super) async fn run(self) -> Result<ExitCode, CommandError> {
        let report = self.bulk.run(Action::Unassign, None).await?;
        let Report {
            unassigned,
            skipped,
            refused,
            retries,
            ..
        } = report;
        if self.bulk.json {
            let value = json!({
                "unassigned": unassigned,
                "skipped": skipped,
                "refused": refused,
                "retries": retries,
                "dryRun": self.bulk.dry_run,
            });
            print(&value.to_string())?;
        } else {
            print(&format!(
                "{}{unassigned} unassigned, {skipped} skipped, {refused} refused",
                self.bulk.when()
            ))?;
        }
        Ok(exit_code(&report))
    }
}
