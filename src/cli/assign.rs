//! `assign`: assigns devices at a running service.

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

    #[command(flatten)]
    creation: Creation,
}

impl Assign {
    pub(super) async fn run(self) -> Result<ExitCode, CommandError> {
        let action = Action::Assign {
            auto_create: self.creation.auto_create,
        };
        let report = self.bulk.run(action, self.creation.device_type.clone()).await?;
        self.bulk.print_assigned(&report, None)?;
        Ok(exit_code(&report))
    }
}
