//! `device delete` and `customer delete`, at a running service.

use clap::Args;
use serde_json::json;

use super::{CommandError, customer_name::CustomerName, listing::connect, output::print, target::failure};
use crate::{
    config::ClientConfig,
    pb::{DeleteCustomerRequest, DeleteDeviceRequest},
};

pub(super) const DEVICE_EXAMPLES: &str = "\
Examples:
  export DEVICE_ASSIGNMENT_API_KEY=...
  device-assignment device delete SN-001
  device-assignment device delete SN-001 --dry-run
";

pub(super) const CUSTOMER_EXAMPLES: &str = "\
Examples:
  export DEVICE_ASSIGNMENT_API_KEY=...
  device-assignment customer delete ann@example.com
  device-assignment customer delete ann@example.com --dry-run
";

#[derive(Debug, Args)]
pub(super) struct DeleteDevice {
    /// The identifier of the device
    #[arg(value_name = "ID")]
    identifier: String,

    #[command(flatten)]
    deletion: Deletion,
}

#[derive(Debug, Args)]
pub(super) struct DeleteCustomer {
    /// The customer's email address or id
    customer: CustomerName,

    #[command(flatten)]
    deletion: Deletion,
}

#[derive(Debug, Args)]
struct Deletion {
    /// Change nothing: report what would be done
    #[arg(long)]
    dry_run: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    service: ClientConfig,
}

impl DeleteDevice {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        let Self { identifier, deletion } = self;
        let records = connect(&deletion.service).await?;
        let request = DeleteDeviceRequest {
            identifier,
            validate_only: deletion.dry_run,
        };
        let response = records.delete_device(request).await;
        let response = response.map_err(|error| failure(error, &deletion.service.target, None))?;
        let count = response.unassigned_count;
        deletion.print("deviceId", &response.device_id, count, &format!("{count} owner(s)"))
    }
}

impl DeleteCustomer {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        let Self { customer, deletion } = self;
        let records = connect(&deletion.service).await?;
        let (email, telemetron_customer_id) = customer.parts();
        let request = DeleteCustomerRequest {
            email: email.unwrap_or_default(),
            telemetron_customer_id,
            validate_only: deletion.dry_run,
        };
        let response = records.delete_customer(request).await;
        let response = response.map_err(|error| failure(error, &deletion.service.target, None))?;
        let count = response.unassigned_count;
        deletion.print(
            "customerId",
            &response.customer_id,
            count,
            &format!("{count} device(s)"),
        )
    }
}

impl Deletion {
    /// Prints what was deleted, and what it was removed from.
    fn print(&self, member: &str, id: &str, count: i32, removed: &str) -> Result<(), CommandError> {
        if self.json {
            let value = json!({ member: id, "unassignedCount": count, "dryRun": self.dry_run });
            return print(&value.to_string());
        }
        let when = if self.dry_run { "dry run: " } else { "" };
        print(&format!("{when}{id} deleted, {removed} unassigned"))
    }
}
