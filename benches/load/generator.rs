//! The load generator: a process of its own, in which each caller makes its next call when the last one is answered.

use std::{
    io::{self, Read},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use device_assignment::pb::{
    AssignDevicesToOwnerRequest, BatchGetDeviceOwnersRequest, ListCustomersRequest, ListDevicesRequest,
    ListOwnerDevicesRequest, TransferDevicesToOwnerRequest, UnassignDevicesFromOwnerRequest,
    customer_service_client::CustomerServiceClient, device_assignment_service_client::DeviceAssignmentServiceClient,
    device_service_client::DeviceServiceClient,
};
use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::world::{self, Organization, Sizes};

const PATH: &str = "/api/ext-v1/deviceAssignment/assignDevicesToOwner";
/// Callers that share one HTTP/2 connection.
const CALLERS_PER_CONNECTION: usize = 16;

/// The deadline of a call: long enough to wait behind many large calls.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The kind of calls. Devices and customers are chosen at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Three known devices for a known customer.
    Small,
    /// Three devices that the customer owns already.
    Noop,
    /// A new customer with three new devices.
    Create,
    /// This many known devices for a known customer.
    Bulk(u64),
    /// As [`Small`](Self::Small), all for one organization and eight customers.
    Hot,
    /// Removes the three devices that a customer owns from the start. gRPC only.
    Unassign,
    /// Transfers three devices that another customer owns from the start. gRPC only.
    Transfer,
    /// Looks the owners of this many known devices up. gRPC only.
    LookUp(u64),
    /// Lists the devices of a customer that owns three or more. gRPC only.
    List,
    /// Lists the devices of an organization: each call the page after the one before. gRPC only.
    DevicePage,
    /// Lists the customers of an organization, likewise. gRPC only.
    CustomerPage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Api {
    Grpc,
    Rest,
}

/// The task of one generator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    pub api: Api,
    pub address: SocketAddr,
    pub work: Work,
    pub callers: usize,
    /// Calls per second of all callers; none for as many as are answered.
    pub rate: Option<f64>,
    pub duration: Duration,
    pub sizes: Sizes,
    pub organizations: Vec<Organization>,
    pub seed: u64,
}

/// The results of one generator.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Seen {
    pub calls: u64,
    pub failures: u64,
    pub seconds: f64,
    pub p50_micros: u64,
    pub p99_micros: u64,
    pub max_micros: u64,
}

impl Seen {
    pub fn calls_per_second(&self) -> f64 {
        self.calls as f64 / self.seconds
    }
}

/// Runs the generator's process: reads a [`Load`] from stdin, prints a [`Seen`].
pub fn main() {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).expect("a load");
    let load: Load = serde_json::from_str(&text).expect("a load");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let seen = runtime.block_on(generate(load));
    println!("{}", serde_json::to_string(&seen).expect("JSON"));
}

async fn generate(load: Load) -> Seen {
    let created = Arc::new(AtomicU64::new(0));
    let channels: Vec<Channel> = (0..load.callers.div_ceil(CALLERS_PER_CONNECTION))
        .map(|_| {
            let endpoint = Endpoint::from_shared(format!("http://{}", load.address)).expect("an endpoint");
            endpoint.tcp_nodelay(true).connect_lazy()
        })
        .collect();
    let http = reqwest::Client::builder()
        .no_proxy()
        .tcp_nodelay(true)
        .build()
        .expect("a client");
    let keys: Vec<MetadataValue<Ascii>> = load
        .organizations
        .iter()
        .map(|organization| organization.key.parse().expect("metadata"))
        .collect();
    let load = Arc::new(load);
    let keys = Arc::new(keys);
    let start = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..load.callers {
        let channel = channels[number % channels.len()].clone();
        let caller = Caller {
            load: Arc::clone(&load),
            keys: Arc::clone(&keys),
            grpc: DeviceAssignmentServiceClient::new(channel.clone()).max_decoding_message_size(usize::MAX),
            devices: DeviceServiceClient::new(channel.clone()),
            customers: CustomerServiceClient::new(channel),
            page_tokens: vec![String::new(); load.organizations.len()],
            http: http.clone(),
            created: Arc::clone(&created),
            random: StdRng::seed_from_u64(load.seed.wrapping_mul(1_000_003) + number as u64),
            number,
        };
        callers.spawn(caller.run(start));
    }
    let mut latencies = Histogram::<u64>::new(3).expect("a histogram");
    let mut seen = Seen::default();
    while let Some(caller) = callers.join_next().await {
        let (of_caller, failures) = caller.expect("no panic");
        latencies.add(of_caller).expect("same bounds");
        seen.failures += failures;
    }
    seen.seconds = start.elapsed().as_secs_f64();
    seen.calls = latencies.len();
    seen.p50_micros = latencies.value_at_quantile(0.5);
    seen.p99_micros = latencies.value_at_quantile(0.99);
    seen.max_micros = latencies.max();
    seen
}

struct Caller {
    load: Arc<Load>,
    keys: Arc<Vec<MetadataValue<Ascii>>>,
    grpc: DeviceAssignmentServiceClient<Channel>,
    devices: DeviceServiceClient<Channel>,
    customers: CustomerServiceClient<Channel>,
    /// The next page of each organization.
    page_tokens: Vec<String>,
    http: reqwest::Client,
    created: Arc<AtomicU64>,
    random: StdRng,
    number: usize,
}

impl Caller {
    async fn run(mut self, start: Instant) -> (Histogram<u64>, u64) {
        let mut latencies = Histogram::<u64>::new(3).expect("a histogram");
        let mut failures = 0;
        for made in 0.. {
            let mut begin = Instant::now();
            if let Some(due) = self.due(made) {
                begin = start + due;
                tokio::time::sleep_until(begin.into()).await;
            }
            if begin - start >= self.load.duration {
                break;
            }
            let (organization, message) = self.next();
            let is_ok = match self.load.api {
                Api::Grpc => self.call_grpc(organization, message).await,
                Api::Rest => self.call_rest(organization, message).await,
            };
            let micros = u64::try_from(begin.elapsed().as_micros()).expect("a short time");
            if is_ok {
                latencies.record(micros).expect("within bounds");
            } else {
                failures += 1;
            }
        }
        (latencies, failures)
    }

    /// When the next call is due, if the rate is given. A call that is late counts from then on.
    fn due(&self, made: usize) -> Option<Duration> {
        let before = self.number + made * self.load.callers;
        self.load.rate.map(|rate| Duration::from_secs_f64(before as f64 / rate))
    }

    fn next(&mut self) -> (usize, AssignDevicesToOwnerRequest) {
        let sizes = self.load.sizes;
        let random = &mut self.random;
        let mut organization = random.random_range(0..self.load.organizations.len());
        let mut customer = random.random_range(0..sizes.customers_each());
        let mut devices = |count: u64| {
            (0..count)
                .map(|_| random.random_range(0..sizes.devices_each()))
                .collect()
        };
        let mut auto_create_devices = false;
        let mut prefix = "";
        let numbers: Vec<u64> = match self.load.work {
            Work::Small => devices(3),
            Work::Bulk(count) | Work::LookUp(count) => devices(count),
            Work::Transfer => {
                let owner = devices(1)[0] % sizes.customers_each();
                (0..world::OWNED)
                    .map(|which| world::owned(sizes, owner, which))
                    .collect()
            }
            Work::Noop | Work::Unassign | Work::List => (0..world::OWNED)
                .map(|which| world::owned(sizes, customer, which))
                .collect(),
            Work::Hot => {
                organization = 0;
                customer %= 8;
                devices(3)
            }
            Work::DevicePage | Work::CustomerPage => Vec::new(),
            Work::Create => {
                let number = self.load.seed * 1_000_000_000 + self.created.fetch_add(1, Ordering::Relaxed);
                auto_create_devices = true;
                prefix = "new-";
                customer = number;
                vec![number * 3, number * 3 + 1, number * 3 + 2]
            }
        };
        let message = AssignDevicesToOwnerRequest {
            validate_only: false,
            customer_email: format!("{prefix}{}", world::email(customer)),
            device_identifiers: numbers
                .into_iter()
                .map(|number| format!("{prefix}{}", world::identifier(number)))
                .collect(),
            auto_create_devices,
            device_type: auto_create_devices.then(|| "sensor".to_owned()),
        };
        (organization, message)
    }

    async fn call_grpc(&mut self, organization: usize, message: AssignDevicesToOwnerRequest) -> bool {
        let mut request = Request::new(message);
        request.set_timeout(TIMEOUT);
        request
            .metadata_mut()
            .insert("x-api-key", self.keys[organization].clone());
        let grpc = &mut self.grpc;
        match self.load.work {
            Work::Small | Work::Noop | Work::Create | Work::Bulk(_) | Work::Hot => {
                grpc.assign_devices_to_owner(request).await.is_ok()
            }
            Work::Unassign => {
                let request = request.map(|message| UnassignDevicesFromOwnerRequest {
                    customer_email: message.customer_email,
                    device_identifiers: message.device_identifiers,
                    ..UnassignDevicesFromOwnerRequest::default()
                });
                grpc.unassign_devices_from_owner(request).await.is_ok()
            }
            Work::Transfer => {
                let request = request.map(|message| TransferDevicesToOwnerRequest {
                    customer_email: message.customer_email,
                    device_identifiers: message.device_identifiers,
                    ..TransferDevicesToOwnerRequest::default()
                });
                grpc.transfer_devices_to_owner(request).await.is_ok()
            }
            Work::LookUp(_) => {
                let request = request.map(|message| BatchGetDeviceOwnersRequest {
                    device_identifiers: message.device_identifiers,
                    ..BatchGetDeviceOwnersRequest::default()
                });
                grpc.batch_get_device_owners(request).await.is_ok()
            }
            Work::List => {
                let request = request.map(|message| ListOwnerDevicesRequest {
                    customer_email: Some(message.customer_email),
                    ..ListOwnerDevicesRequest::default()
                });
                grpc.list_owner_devices(request).await.is_ok()
            }
            Work::DevicePage => {
                let page_token = self.page_tokens[organization].clone();
                let request = request.map(|_| ListDevicesRequest {
                    page_token,
                    ..ListDevicesRequest::default()
                });
                let page = self.devices.list_devices(request).await;
                let next = page.map(|page| page.into_inner().next_page_token);
                self.note_next_page(organization, next)
            }
            Work::CustomerPage => {
                let page_token = self.page_tokens[organization].clone();
                let request = request.map(|_| ListCustomersRequest {
                    page_token,
                    ..ListCustomersRequest::default()
                });
                let page = self.customers.list_customers(request).await;
                let next = page.map(|page| page.into_inner().next_page_token);
                self.note_next_page(organization, next)
            }
        }
    }

    /// Notes where the next page of an organization begins: at the start after the last page, whose token is empty.
    fn note_next_page(&mut self, organization: usize, next: Result<String, Status>) -> bool {
        let is_ok = next.is_ok();
        self.page_tokens[organization] = next.unwrap_or_default();
        is_ok
    }

    async fn call_rest(&mut self, organization: usize, message: AssignDevicesToOwnerRequest) -> bool {
        let body = json!({
            "customerEmail": message.customer_email,
            "deviceIdentifiers": message.device_identifiers,
            "autoCreateDevices": message.auto_create_devices,
            "deviceType": message.device_type,
        });
        let response = self
            .http
            .post(format!("http://{}{PATH}", self.load.address))
            .header("x-api-key", &self.load.organizations[organization].key)
            .json(&body)
            .send()
            .await;
        match response {
            Ok(response) if response.status() == 200 => response.bytes().await.is_ok(),
            _ => false,
        }
    }
}
