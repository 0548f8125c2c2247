//! `devices`: lists devices at a running service.

use clap::Args;

use super::{CommandError, customer_name::CustomerName, listing::List};
use crate::{
    client::Records,
    config::ClientConfig,
    pb::{ListDevicesRequest, ListOwnerDevicesRequest, ListedDevice, OwnerDevice},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  export DEVICE_ASSIGNMENT_API_KEY=...
  device-assignment devices ann@example.com
      the devices of a customer
  device-assignment devices --type sensor --unassigned --json
      sensors without an owner, each as a JSON object
  device-assignment devices --prefix SN- --limit 10
";

#[derive(Debug, Args)]
pub(super) struct Devices {
    /// The email address or id of a customer whose devices to list [default: all devices of the organization]
    #[arg(value_name = "CUSTOMER", conflicts_with_all = ["device_type", "prefix", "unassigned"])]
    customer: Option<CustomerName>,

    /// List only devices of this type
    #[arg(long = "type", value_name = "TYPE", default_value = "", hide_default_value = true)]
    device_type: String,

    /// List only devices whose identifier begins with this text
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,

    /// List only devices without owners
    #[arg(long)]
    unassigned: bool,

    #[command(flatten)]
    list: List,

    #[command(flatten)]
    service: ClientConfig,
}

impl Devices {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        let Self {
            customer,
            device_type,
            prefix,
            unassigned,
            list,
            service,
        } = self;
        let Some(customer) = customer else {
            let columns = ["identifier", "deviceId", "type", "createdAt"];
            let cells = |device: &ListedDevice| {
                [
                    &device.identifier,
                    &device.device_id,
                    &device.r#type,
                    &device.created_at,
                ]
                .map(String::clone)
            };
            let read = async |records: &Records, page_size, page_token| {
                let request = ListDevicesRequest {
                    r#type: device_type.clone(),
                    prefix: prefix.clone(),
                    unassigned,
                    page_size,
                    page_token,
                    min_revision: 0,
                };
                let page = records.devices(request).await?;
                Ok((page.devices, page.next_page_token))
            };
            return list.print(&service, columns, cells, read).await;
        };
        let (customer_email, customer_id) = customer.parts();
        let columns = ["identifier", "deviceId", "type", "assignedAt"];
        let cells = |device: &OwnerDevice| {
            [
                &device.identifier,
                &device.device_id,
                &device.r#type,
                &device.assigned_at,
            ]
            .map(String::clone)
        };
        let read = async |records: &Records, page_size, page_token| {
            let request = ListOwnerDevicesRequest {
                customer_email: customer_email.clone(),
                customer_id: customer_id.clone(),
                page_size,
                page_token,
                min_revision: 0,
            };
            let page = records.owner_devices(request).await?;
            Ok((page.devices, page.next_page_token))
        };
        list.print(&service, columns, cells, read).await
    }
}
