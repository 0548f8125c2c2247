//! `transfer`: transfers devices to customers at a running service.

use std::process::ExitCode;

use clap::Args;

use super::{
    CommandError,
    bulk::{Bulk, exit_code},
};
use crate::client::Action;

pub(super) const EXAMPLES: &str = "\
Examples:
  export DEVICE_ASSIGNMENT_API_KEY=...
  device-assignment transfer --customer bob@example.com \\
      --expected-owner ann@example.com SN-001 SN-002
  device-assignment transfer --customer bob@example.com --dry-run SN-001
      report what would be done
  device-assignment transfer --csv sales.csv --skipped skipped.csv
      many customers: the first line is customer_email,device_identifier
";

const USAGE: &str = "\
device-assignment transfer [OPTIONS] --customer <EMAIL> <ID>...
       device-assignment transfer [OPTIONS] --customer <EMAIL> --file <FILE>
       device-assignment transfer [OPTIONS] --csv <FILE>";

#[derive(Debug, Args)]
#[command(override_usage = USAGE)]
pub(super) struct Transfer {
    #[command(flatten)]
    bulk: Bulk,

    /// Skip devices that do not belong to this customer, an email address or an id
    ///
    /// Use it for a sale: a device that somebody else has bought meanwhile is not taken away.
    #[arg(long, value_name = "CUSTOMER", conflicts_with = "auto_create")]
    expected_owner: Option<String>,

    /// Create the devices that do not exist, instead of skipping them
    #[arg(long)]
    auto_create: bool,

    /// The type of the devices to create; in a CSV file, of rows without a type
    #[arg(long = "type", value_name = "TYPE", requires = "auto_create")]
    device_type: Option<String>,
}

impl Transfer {
    pub(super) async fn run(self) -> Result<ExitCode, CommandError> {
        let action = Action::Transfer {
            auto_create: self.auto_create,
            expected_owner: self.expected_owner.clone(),
        };
        let report = self.bulk.run(action, self.device_type.clone()).await?;
        self.bulk.print_assigned(&report, Some(report.owners_removed))?;
        Ok(exit_code(&report))
    }
}
