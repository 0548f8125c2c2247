use clap::{Args, Subcommand};
use serde_json::json;

use super::{CommandError, connect, delete, output::timestamp, page::Page};
use crate::{
    config::DatabaseConfig,
    domain::{email::Email, id::DeviceId},
    service::{customer, customer_devices},
    storage::{Assigned, CustomerRecord, DeviceRecord},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  device-assignment customer show ann@example.com --organization acme
  device-assignment customer delete ann@example.com
      at a running service, with an API key
";

const SHOW_EXAMPLES: &str = "\
Examples:
  device-assignment customer show ann@example.com --organization acme
  device-assignment customer show ann@example.com --organization acme | less
  device-assignment customer show ann@example.com --organization acme --json
";

#[derive(Debug, Subcommand)]
pub(super) enum Customer {
    /// Show a customer and its devices, from the database
    #[command(before_help = SHOW_EXAMPLES)]
    Show(Show),
    /// Delete a customer with all its data at a running service, and remove all its devices from it
    ///
    /// Use it to erase a person. The devices stay.
    #[command(before_help = delete::CUSTOMER_EXAMPLES)]
    Delete(delete::DeleteCustomer),
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The customer's email address
    #[arg(value_parser = parse_email)]
    email: Email,

    /// The organization that the customer belongs to
    #[arg(long, value_name = "NAME")]
    organization: String,

    #[command(flatten)]
    page: Page<DeviceId>,

    #[command(flatten)]
    database: DatabaseConfig,
}

fn parse_email(text: &str) -> Result<Email, String> {
    Email::parse(text).map_err(|_| "invalid email address".to_owned())
}

impl Customer {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        match self {
            Self::Show(show) => show.run().await,
            Self::Delete(delete) => delete.run().await,
        }
    }
}

impl Show {
    async fn run(self) -> Result<(), CommandError> {
        let Self {
            email,
            organization,
            page,
            database,
        } = self;
        let database = connect::connect_to_read(&database).await?;
        let Some(customer) = customer(&database, &organization, &email).await? else {
            return Err(CommandError::Failed(format!(
                "there is no customer {email} in the organization {organization}; check the address and --organization"
            )));
        };
        let CustomerRecord {
            id,
            email,
            name,
            created_at,
        } = &customer.record;
        let head = [
            ("id", json!(id.to_string())),
            ("email", json!(email)),
            ("name", json!(name)),
            ("createdAt", json!(timestamp(*created_at))),
            ("devices", json!(customer.devices)),
        ];
        let columns = ["id", "identifier", "type", "assignedAt"];
        page.print(&head, columns, async |after, limit| {
            let devices = customer_devices(&database, &customer, after, limit).await?;
            let row = |Assigned { record, since }: Assigned<DeviceRecord>| {
                let cells = [
                    record.id.to_string(),
                    record.identifier,
                    record.device_type,
                    timestamp(since),
                ];
                (record.id, cells)
            };
            Ok(devices.into_iter().map(row).collect())
        })
        .await
    }
}
