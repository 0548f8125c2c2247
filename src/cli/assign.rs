//! `assign`: assigns devices at a running service.

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
        self.bulk.print_assigned(&report, None)?;
        Ok(exit_code(&report))
    }
}
