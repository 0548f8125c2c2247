//! A copy that is made of lists and then follows the changes, as the guide says to.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use device_assignment::pb::{
    Change, CustomerDevices, ListCustomersRequest, ListDevicesRequest, ListOwnerDevicesRequest, WatchChangesRequest,
    change_service_client::ChangeServiceClient, customer_service_client::CustomerServiceClient,
    device_service_client::DeviceServiceClient,
};
use tonic::{Code, Response, Status};

use super::Owners;
use crate::{fleet::is_interruption, support::Client};

/// Small, so that much is written between the pages of a list.
const PAGE_SIZE: i32 = 5;

/// The pause after an interruption.
const PAUSE: Duration = Duration::from_millis(10);

/// A copy of who owns which device.
#[derive(Debug, Default)]
pub struct Copy {
    /// The identifiers of devices by their ids.
    devices: BTreeMap<String, String>,
    /// Customers and devices.
    pairs: BTreeSet<(String, String)>,
    revision: u64,
    /// How often a call was made again.
    pub interruptions: u32,
}

impl Copy {
    /// Lists everything, and remembers the revision of the first page.
    pub async fn fill(client: &Client) -> Self {
        let mut copy = Self::default();
        let mut first = None;
        let mut customers = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListCustomersRequest {
                page_size: PAGE_SIZE,
                page_token: page_token.clone(),
                ..ListCustomersRequest::default()
            };
            let call = async || {
                let mut service = CustomerServiceClient::new(client.channel());
                service.list_customers(client.signed(request.clone())).await
            };
            let page = copy.again(call).await.expect("a page");
            first.get_or_insert(page.revision);
            customers.extend(page.customers.into_iter().map(|customer| customer.id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        copy.revision = first.unwrap_or_default();
        for customer in customers {
            copy.list_owned(client, &customer).await;
        }
        copy.list_devices(client).await;
        copy
    }

    async fn list_owned(&mut self, client: &Client, customer: &str) {
        let mut page_token = String::new();
        loop {
            let request = ListOwnerDevicesRequest {
                customer_id: Some(customer.to_owned()),
                page_size: PAGE_SIZE,
                page_token,
                ..ListOwnerDevicesRequest::default()
            };
            let call = async || client.grpc().list_owner_devices(client.signed(request.clone())).await;
            let page = match self.again(call).await {
                Ok(page) => page,
                // Deleted since it was listed.
                Err(status) if status.code() == Code::NotFound => return,
                Err(status) => panic!("{status:?}"),
            };
            for device in page.devices {
                self.pairs.insert((customer.to_owned(), device.device_id.clone()));
                self.devices.insert(device.device_id, device.identifier);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return;
            }
        }
    }

    async fn list_devices(&mut self, client: &Client) {
        let mut page_token = String::new();
        loop {
            let request = ListDevicesRequest {
                page_size: PAGE_SIZE,
                page_token,
                ..ListDevicesRequest::default()
            };
            let call = async || {
                let mut service = DeviceServiceClient::new(client.channel());
                service.list_devices(client.signed(request.clone())).await
            };
            let page = self.again(call).await.expect("a page");
            for device in page.devices {
                self.devices.insert(device.device_id, device.identifier);
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return;
            }
        }
    }

    /// Makes a call until nothing interrupts it.
    async fn again<M>(&mut self, mut call: impl AsyncFnMut() -> Result<Response<M>, Status>) -> Result<M, Status> {
        loop {
            match call().await {
                Err(status) if is_interruption(&status) => {
                    self.interruptions += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                result => return result.map(Response::into_inner),
            }
        }
    }

    /// Follows the changes up to this revision.
    pub async fn follow(&mut self, client: &Client, head: u64) {
        while self.revision < head {
            let request = client.signed(WatchChangesRequest {
                after_revision: self.revision,
                history: String::new(),
                include_names: true,
            });
            let mut service = ChangeServiceClient::new(client.channel()).max_decoding_message_size(usize::MAX);
            let Ok(response) = service.watch_changes(request).await else {
                self.interruptions += 1;
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let mut stream = response.into_inner();
            while self.revision < head {
                let Ok(Some(message)) = stream.message().await else {
                    self.interruptions += 1;
                    break;
                };
                for change in message.changes {
                    assert_eq!(change.revision, self.revision + 1, "in order");
                    self.revision += 1;
                    self.apply(change);
                }
            }
        }
    }

    /// Adding what is there, and removing what is not there, does nothing.
    fn apply(&mut self, change: Change) {
        for device in change.devices {
            self.devices.insert(device.device_id, device.identifier);
        }
        self.pairs.retain({
            let unassigned: BTreeSet<_> = change.unassigned.into_iter().flat_map(pairs).collect();
            move |pair| !unassigned.contains(pair)
        });
        self.pairs.extend(change.assigned.into_iter().flat_map(pairs));
        for device in change.devices_deleted {
            self.devices.remove(&device);
        }
    }

    /// The owners of each device, by its identifier.
    pub fn owners(&self) -> Owners {
        let mut owners: Owners = self
            .devices
            .values()
            .map(|identifier| (identifier.clone(), BTreeSet::new()))
            .collect();
        for (customer, device) in &self.pairs {
            let identifier = self.devices.get(device).unwrap_or(device);
            owners.entry(identifier.clone()).or_default().insert(customer.clone());
        }
        owners
    }
}

fn pairs(
    CustomerDevices {
        customer_id,
        device_ids,
    }: CustomerDevices,
) -> impl Iterator<Item = (String, String)> {
    device_ids.into_iter().map(move |device| (customer_id.clone(), device))
}
