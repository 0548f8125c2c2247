//! Many concurrent callers, and the results of their calls.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use device_assignment::{
    code::code_name,
    pb::{AssignDevicesToOwnerRequest, UnassignDevicesFromOwnerRequest},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic_types::StatusExt;

use super::{Api, Client, PATH, TestDatabase, UNASSIGN_PATH, organization};

/// Longer than any deadline. A call that takes this long hangs.
const HANGS: Duration = Duration::from_secs(20);

/// The devices of each customer.
pub const DEVICES: usize = 3;

/// A call for a customer of its caller alone.
#[derive(Debug)]
pub struct Call {
    pub api: Api,
    pub email: String,
    pub change: Change,
    pub started: Instant,
    pub ended: Instant,
    pub fate: Fate,
}

/// What a call asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Assign these devices, and create what does not exist.
    Assign(Vec<String>),
    /// Unassign these devices.
    Unassign(Vec<String>),
}

/// The result of a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// The service answered, with the name of a gRPC code.
    Answered { code: String, retry_after: Option<u64> },
    /// There was no response of the service; this is the error of the client.
    Lost { code: String, text: String },
}

impl Call {
    pub fn is_ok(&self) -> bool {
        self.is(&["OK"])
    }

    /// Whether the service answered with one of these codes.
    pub fn is(&self, codes: &[&str]) -> bool {
        matches!(&self.fate, Fate::Answered { code, .. } if codes.contains(&code.as_str()))
    }

    pub fn is_lost(&self) -> bool {
        matches!(self.fate, Fate::Lost { .. })
    }

    pub fn took(&self) -> Duration {
        self.ended - self.started
    }
}

pub fn devices_of(email: &str) -> Vec<String> {
    (0..DEVICES).map(|number| format!("{email}/{number}")).collect()
}

/// Makes a call that creates and assigns the devices that belong to `email`.
pub async fn create(client: &Client, email: String) -> Call {
    let devices = devices_of(&email);
    make(client, email, Change::Assign(devices)).await
}

/// Makes a call.
pub async fn make(client: &Client, email: String, change: Change) -> Call {
    let started = Instant::now();
    let fate = tokio::time::timeout(HANGS, fate_of(client, &email, &change)).await;
    Call {
        api: client.api,
        fate: fate.unwrap_or_else(|_| panic!("{email} hangs")),
        email,
        change,
        started,
        ended: Instant::now(),
    }
}

async fn fate_of(client: &Client, email: &str, change: &Change) -> Fate {
    if client.api == Api::Grpc {
        let mut grpc = client.grpc();
        let result = match change {
            Change::Assign(devices) => {
                let request = client.signed(assign_message(email, devices));
                grpc.assign_devices_to_owner(request).await.map(drop)
            }
            Change::Unassign(devices) => {
                let request = client.signed(unassign_message(email, devices));
                grpc.unassign_devices_from_owner(request).await.map(drop)
            }
        };
        return match result {
            Ok(()) => answered("OK", None),
            // Every response of the service has an id.
            Err(status) if status.metadata().contains_key("x-request-id") => {
                let retry = status
                    .get_error_details()
                    .retry_info()
                    .and_then(|info| info.retry_delay);
                answered(code_name(status.code()), retry.map(|delay| delay.as_secs()))
            }
            Err(status) => Fate::Lost {
                code: code_name(status.code()).into(),
                text: format!("{status:?}"),
            },
        };
    }
    let (path, body) = match change {
        Change::Assign(devices) => (
            PATH,
            json!({
                "customerEmail": email,
                "deviceIdentifiers": devices,
                "autoCreateDevices": true,
                "deviceType": "sensor",
            }),
        ),
        Change::Unassign(devices) => (
            UNASSIGN_PATH,
            json!({ "customerEmail": email, "deviceIdentifiers": devices }),
        ),
    };
    match post(client, path, &body).await {
        Ok(fate) => fate,
        Err(error) => Fate::Lost {
            code: if error.is_connect() { "REFUSED" } else { "CUT" }.into(),
            text: format!("{error:?}"),
        },
    }
}

async fn post(client: &Client, path: &str, body: &Value) -> Result<Fate, reqwest::Error> {
    let request = client.request(reqwest::Method::POST, path).json(body);
    let response = request.send().await?;
    let status = response.status().as_u16();
    let header = response.headers().get("retry-after");
    let retry_after = header.map(|value| value.to_str().expect("text").parse().expect("seconds"));
    let body: Value = response.json().await?;
    if status == 200 {
        return Ok(answered("OK", None));
    }
    let code = body["code"].as_str().expect("the code of an error");
    let statuses = [
        ("UNAVAILABLE", 503),
        ("RESOURCE_EXHAUSTED", 429),
        ("DEADLINE_EXCEEDED", 504),
    ];
    if let Some((_, expected)) = statuses.iter().find(|(name, _)| *name == code) {
        assert_eq!(status, *expected, "{body}");
    }
    Ok(answered(code, retry_after))
}

fn answered(code: &str, retry_after: Option<u64>) -> Fate {
    Fate::Answered {
        code: code.into(),
        retry_after,
    }
}

pub fn message(email: &str) -> AssignDevicesToOwnerRequest {
    assign_message(email, &devices_of(email))
}

fn assign_message(email: &str, devices: &[String]) -> AssignDevicesToOwnerRequest {
    AssignDevicesToOwnerRequest {
        validate_only: false,
        customer_email: email.to_owned(),
        device_identifiers: devices.to_vec(),
        auto_create_devices: true,
        device_type: Some("sensor".into()),
    }
}

pub fn unassign_message(email: &str, devices: &[impl ToString]) -> UnassignDevicesFromOwnerRequest {
    UnassignDevicesFromOwnerRequest {
        customer_email: email.to_owned(),
        device_identifiers: devices.iter().map(ToString::to_string).collect(),
        include_remaining: false,
        validate_only: false,
    }
}

/// Callers that make one call after another.
pub struct Load {
    stop: Arc<AtomicBool>,
    succeeded: Arc<AtomicU64>,
    callers: JoinSet<Vec<Call>>,
}

impl Load {
    /// Starts a caller for each client, which makes calls that create. `name` makes their customers differ from those of other
    /// loads.
    pub fn start(name: &str, clients: impl IntoIterator<Item = Client>) -> Self {
        Self::start_with(name, clients, |_, devices| vec![Change::Assign(devices)])
    }

    /// As [`start`](Self::start). Clients of gRPC also unassign some devices, and assign one of these again. Over REST, an answer
    /// lists what is left, which makes it a large call: many of them at once may be rejected.
    pub fn mixed(name: &str, clients: impl IntoIterator<Item = Client>) -> Self {
        Self::start_with(name, clients, |api, devices| {
            if api != Api::Grpc {
                return vec![Change::Assign(devices)];
            }
            let [removed, back] = [&devices[1..], &devices[2..]].map(<[String]>::to_vec);
            vec![Change::Assign(devices), Change::Unassign(removed), Change::Assign(back)]
        })
    }

    /// `changes` are the changes to make for a customer with these devices, one after the other.
    fn start_with(
        name: &str,
        clients: impl IntoIterator<Item = Client>,
        changes: fn(Api, Vec<String>) -> Vec<Change>,
    ) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            succeeded: Arc::default(),
            callers: JoinSet::new(),
        };
        for (number, client) in clients.into_iter().enumerate() {
            let (stop, succeeded) = (Arc::clone(&load.stop), Arc::clone(&load.succeeded));
            let caller = format!("{name}-{number}");
            load.callers.spawn(async move {
                let mut calls = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let email = format!("{caller}-{}@example.com", calls.len());
                    for change in changes(client.api, devices_of(&email)) {
                        let call = make(&client, email.clone(), change).await;
                        let is_ok = call.is_ok();
                        calls.push(call);
                        if !is_ok {
                            // As callers do after a rejection, so that immediate rejections do not use all of the CPU.
                            tokio::time::sleep(Duration::from_millis(20)).await;
                            break;
                        }
                        succeeded.fetch_add(1, Ordering::Relaxed);
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                }
                calls
            });
        }
        load
    }

    /// Returns when `count` more calls have succeeded.
    pub async fn succeeds(&self, count: u64) {
        let goal = self.succeeded.load(Ordering::Relaxed) + count;
        eventually("calls succeed", HANGS, async || {
            self.succeeded.load(Ordering::Relaxed) >= goal
        })
        .await;
    }

    /// Lets each caller finish its call, and returns all that were made.
    pub async fn finish(self) -> Vec<Call> {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await.into_iter().flatten().collect()
    }
}

/// Clients with connections of their own, half of them gRPC, half REST.
pub fn clients(count: usize, client: impl FnMut(Api) -> Client) -> Vec<Client> {
    let apis = [Api::Grpc, Api::Rest].into_iter().cycle();
    apis.take(count).map(client).collect()
}

/// The keys of as many organizations: enough of them keep every connection for reads busy.
pub async fn keys(database: &TestDatabase, count: usize) -> Vec<String> {
    let mut keys = Vec::new();
    for number in 0..count {
        keys.push(organization(database, &format!("organization {number}")).await);
    }
    keys
}

/// Polls until `is_true`; panics when the time is over.
pub async fn eventually(what: &str, within: Duration, mut is_true: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !is_true().await {
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// How often each result occurred, to print.
pub fn tally(calls: &[Call]) -> String {
    let mut counts = BTreeMap::<String, u32>::new();
    for call in calls {
        let fate = match &call.fate {
            Fate::Answered { code, .. } => code.clone(),
            Fate::Lost { code, .. } => format!("lost:{code}"),
        };
        *counts.entry(format!("{}:{fate}", call.api.name())).or_default() += 1;
    }
    format!("{counts:?}")
}
