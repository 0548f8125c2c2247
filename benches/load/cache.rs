//! A cache of the crate's client in a process of its own: how long it takes to fill, its memory, and its look-ups.

use std::{
    fs,
    hint::black_box,
    io::{self, Read},
    net::SocketAddr,
    time::{Duration, Instant},
};

use device_assignment::{
    client::{OwnershipCache, Target},
    pb::{AssignDevicesToOwnerRequest, device_assignment_service_client::DeviceAssignmentServiceClient},
};
use hdrhistogram::Histogram;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tonic::{Request, transport::Endpoint};

use crate::world;

/// Devices of each customer.
const DEVICES_PER_CUSTOMER: u64 = 10;
/// Callers that create them.
const CALLERS: usize = 64;
/// Look-ups that are measured.
const LOOK_UPS: u32 = 1_000_000;

/// The task of the cache.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Caching {
    pub address: SocketAddr,
    pub key: String,
    pub devices: u64,
}

/// The results of the cache.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cached {
    pub fill_seconds: f64,
    pub bytes_per_device: f64,
    pub nanos_per_look_up: f64,
    pub p99_nanos: u64,
}

/// Creates the devices, each with an owner.
pub async fn fill(Caching { address, key, devices }: &Caching) {
    let mut callers = JoinSet::new();
    let customers = devices / DEVICES_PER_CUSTOMER;
    for caller in 0..CALLERS {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an endpoint");
        let mut grpc = DeviceAssignmentServiceClient::new(endpoint.connect_lazy());
        let key = key.clone();
        callers.spawn(async move {
            for customer in (caller as u64..customers).step_by(CALLERS) {
                let devices = customer * DEVICES_PER_CUSTOMER..(customer + 1) * DEVICES_PER_CUSTOMER;
                let mut request = Request::new(AssignDevicesToOwnerRequest {
                    customer_email: world::email(customer),
                    device_identifiers: devices.map(world::identifier).collect(),
                    auto_create_devices: true,
                    device_type: Some("sensor".to_owned()),
                    ..AssignDevicesToOwnerRequest::default()
                });
                request.set_timeout(Duration::from_secs(60));
                request
                    .metadata_mut()
                    .insert("x-api-key", key.parse().expect("metadata"));
                grpc.assign_devices_to_owner(request).await.expect("assigned");
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.expect("no panic");
    }
}

/// Runs the process of the cache: reads a [`Caching`] from stdin, prints a [`Cached`].
pub fn main() {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).expect("a task");
    let caching: Caching = serde_json::from_str(&text).expect("a task");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let cached = runtime.block_on(measure(caching));
    println!("{}", serde_json::to_string(&cached).expect("JSON"));
}

async fn measure(Caching { address, key, devices }: Caching) -> Cached {
    let target = Target {
        url: format!("http://{address}"),
        ca: None,
        key,
    };
    let (before, start) = (memory(), Instant::now());
    let cache = OwnershipCache::start(&target).expect("a cache");
    cache.filled().await.expect("filled");
    let fill_seconds = start.elapsed().as_secs_f64();
    let bytes = memory() - before;
    assert_eq!(cache.devices() as u64, devices, "all devices");

    let mut random = StdRng::seed_from_u64(1);
    let mut wanted = || -> Vec<String> {
        let wanted = (0..LOOK_UPS).map(|_| world::identifier(random.random_range(0..devices)));
        wanted.collect()
    };
    let identifiers = wanted();
    let start = Instant::now();
    for identifier in &identifiers {
        let owners = cache.owners(black_box(identifier)).expect("a device");
        assert_eq!(black_box(owners).len(), 1, "an owner");
    }
    let nanos_per_look_up = start.elapsed().as_secs_f64() * 1e9 / f64::from(LOOK_UPS);
    let mut times = Histogram::<u64>::new(3).expect("a histogram");
    for identifier in wanted() {
        let start = Instant::now();
        let owners = cache.owners(black_box(&identifier));
        let nanos = start.elapsed().as_nanos();
        black_box(owners);
        times
            .record(u64::try_from(nanos).expect("a short time"))
            .expect("within bounds");
    }
    Cached {
        fill_seconds,
        bytes_per_device: bytes / devices as f64,
        nanos_per_look_up,
        p99_nanos: times.value_at_quantile(0.99),
    }
}

/// The memory of this process, in bytes.
fn memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.expect("a size").trim().trim_end_matches(" kB");
    kib.parse::<f64>().expect("a number") * 1_024.0
}
