//! `customers`: lists customers at a running service.

use clap::Args;

use super::{CommandError, listing::List};
use crate::{
    client::Records,
    config::ClientConfig,
    pb::{ListCustomersRequest, ListedCustomer},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  export DEVICE_ASSIGNMENT_API_KEY=...
  device-assignment customers
  device-assignment customers --email-prefix ann@ --limit 10
  device-assignment customers --json | jq --raw-output .email
";

#[derive(Debug, Args)]
pub(super) struct Customers {
    /// List only customers whose email address begins with this text
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    email_prefix: String,

    #[command(flatten)]
    list: List,

    #[command(flatten)]
    service: ClientConfig,
}

impl Customers {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        let columns = ["id", "email", "name", "phone", "createdAt"];
        let cells = |customer: &ListedCustomer| {
            let ListedCustomer {
                id,
                name,
                email,
                phone,
                created_at,
            } = customer;
            [id, email, name, phone, created_at].map(String::clone)
        };
        let read = async |records: &Records, page_size, page_token| {
            let request = ListCustomersRequest {
                email_prefix: self.email_prefix.clone(),
                page_size,
                page_token,
                min_revision: 0,
            };
            let page = records.customers(request).await?;
            Ok((page.customers, page.next_page_token))
        };
        self.list.print(&self.service, columns, cells, read).await
    }
}
