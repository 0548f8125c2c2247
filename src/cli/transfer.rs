//! `transfer`: transfers devices to customers at a running service.

use std::process::ExitCode;

use clap::Args;

use super::{
    CommandError,
    bulk::{Bulk, Creation, exit_code},
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

    #[command(flatten)]
    creation: Creation,
}

impl Transfer {
    pub(super) async fn run(self) -> Result<ExitCode, CommandError> {
        let action = Action::Transfer {
            auto_create: self.creation.auto_create,
            expected_owner: self.expected_owner.clone(),
        };
        let report = self.bulk.run(action, self.creation.device_type.clone()).await?;
        self.bulk.print_assigned(&report, Some(report.owners_removed))?;
        Ok(exit_code(&report))
    }
}
