//! Many concurrent callers, their responses, and a check against the database.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use device_assignment::{code::code_name, pb::AssignDevicesToOwnerRequest};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Request;
use tonic_types::StatusExt;

use super::{Api, Client, Kind, PATH, TestDatabase, organization};

/// Longer than any deadline. A call that takes this long hangs.
const HANGS: Duration = Duration::from_secs(20);

/// The devices that each call assigns.
pub const DEVICES: usize = 3;

/// A call for a customer and devices of its own, all to be created.
#[derive(Debug)]
pub struct Call {
    pub api: Api,
    pub email: String,
    pub started: Instant,
    pub ended: Instant,
    pub fate: Fate,
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
    let started = Instant::now();
    let fate = tokio::time::timeout(HANGS, fate_of(client, &email)).await;
    Call {
        api: client.api,
        fate: fate.unwrap_or_else(|_| panic!("{email} hangs")),
        email,
        started,
        ended: Instant::now(),
    }
}

async fn fate_of(client: &Client, email: &str) -> Fate {
    if client.api == Api::Grpc {
        let mut request = Request::new(message(email));
        client.sign(request.metadata_mut());
        return match client.grpc().assign_devices_to_owner(request).await {
            Ok(_) => answered("OK", None),
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
    let body = json!({
        "customerEmail": email,
        "deviceIdentifiers": devices_of(email),
        "autoCreateDevices": true,
        "deviceType": "sensor",
    });
    match post(client, &body).await {
        Ok(fate) => fate,
        Err(error) => Fate::Lost {
            code: if error.is_connect() { "REFUSED" } else { "CUT" }.into(),
            text: format!("{error:?}"),
        },
    }
}

async fn post(client: &Client, body: &Value) -> Result<Fate, reqwest::Error> {
    let request = client.request(reqwest::Method::POST, PATH).json(body);
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
    AssignDevicesToOwnerRequest {
        validate_only: false,
        customer_email: email.to_owned(),
        device_identifiers: devices_of(email),
        auto_create_devices: true,
        device_type: Some("sensor".into()),
    }
}

/// Callers that make one call after another.
pub struct Load {
    stop: Arc<AtomicBool>,
    succeeded: Arc<AtomicU64>,
    callers: JoinSet<Vec<Call>>,
}

impl Load {
    /// Starts a caller for each client. `name` makes their customers differ from those of other loads.
    pub fn start(name: &str, clients: impl IntoIterator<Item = Client>) -> Self {
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
                    let call = create(&client, email).await;
                    if call.is_ok() {
                        succeeded.fetch_add(1, Ordering::Relaxed);
                    } else {
                        // As callers do after a rejection, so that immediate rejections do not use all of the CPU.
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    calls.push(call);
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

/// Compares the rows with the calls: each call is complete or absent, and complete if it was acknowledged. Returns what is
/// wrong. The database must hold only the effects of `calls`.
pub async fn faults(database: &TestDatabase, calls: &[Call]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut owned = owned(database).await;
    for call in calls {
        let found = owned.remove(&call.email);
        if let Some(found) = &found {
            let whole: BTreeSet<String> = devices_of(&call.email).into_iter().collect();
            if *found != whole {
                faults.push(format!("{} is there in part: {found:?}", call.email));
            }
        } else if call.is_ok() {
            faults.push(format!("{} was acknowledged and is not there", call.email));
        }
    }
    faults.extend(owned.into_keys().map(|email| format!("nobody asked for {email}")));

    let without_owner = "SELECT count(*) FROM device AS d WHERE NOT EXISTS (SELECT 1 FROM device_assignment AS a \
                         WHERE a.organization_id = d.organization_id AND a.device_id = d.id)";
    let without_customer = "SELECT count(*) FROM device_assignment AS a WHERE NOT EXISTS (SELECT 1 FROM customer AS c \
                            WHERE c.organization_id = a.organization_id AND c.id = a.customer_id)";
    let without_device = "SELECT count(*) FROM device_assignment AS a WHERE NOT EXISTS (SELECT 1 FROM device AS d \
                          WHERE d.organization_id = a.organization_id AND d.id = a.device_id)";
    for (what, sql) in [
        ("devices without an owner", without_owner),
        ("assignments without a customer", without_customer),
        ("assignments without a device", without_device),
    ] {
        let count = database.number(sql).await;
        if count != 0 {
            faults.push(format!("{count} {what}"));
        }
    }
    if database.kind == Kind::Sqlite {
        faults.extend(sqlite_faults(database).await);
    }
    faults
}

/// The devices of each customer, as of one moment. A customer without any is there too.
pub async fn owned(database: &TestDatabase) -> BTreeMap<String, BTreeSet<String>> {
    let sql = "SELECT c.email, d.identifier FROM customer AS c \
               LEFT JOIN device_assignment AS a ON a.organization_id = c.organization_id AND a.customer_id = c.id \
               LEFT JOIN device AS d ON d.organization_id = a.organization_id AND d.id = a.device_id";
    let mut owned = BTreeMap::<String, BTreeSet<String>>::new();
    for row in database.rows(sql).await {
        let email: String = row.try_get("", "email").expect("an email address");
        let device: Option<String> = row.try_get("", "identifier").expect("an identifier");
        owned.entry(email).or_default().extend(device);
    }
    owned
}

async fn sqlite_faults(database: &TestDatabase) -> Vec<String> {
    let integrity = database.rows("PRAGMA integrity_check").await;
    let said = integrity
        .iter()
        .map(|row| row.try_get_by_index::<String>(0).expect("text"));
    let mut faults: Vec<String> = said.filter(|text| text != "ok").collect();
    let broken = database.rows("PRAGMA foreign_key_check").await.len();
    if broken > 0 {
        faults.push(format!("{broken} rows break a foreign key"));
    }
    faults
}

/// Repeats every acknowledged call. Returns those of which anything is new or unknown.
pub async fn forgotten(calls: &[Call], clients: &[Client]) -> Vec<String> {
    let acknowledged = calls.iter().filter(|call| call.is_ok());
    let questions = acknowledged.zip(clients.iter().cycle()).map(async |(call, client)| {
        let devices = devices_of(&call.email);
        let devices: Vec<&str> = devices.iter().map(String::as_str).collect();
        let answer = client.assign(&call.email, &devices).await;
        let remembers = answer.code == "OK" && answer.identifiers("alreadyAssigned") == devices;
        (!remembers).then(|| format!("{}: {answer:?}", call.email))
    });
    let answers: Vec<Option<String>> = stream::iter(questions).buffer_unordered(32).collect().await;
    answers.into_iter().flatten().collect()
}
