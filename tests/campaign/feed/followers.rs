//! Followers of every kind. Each goes on by itself after an interruption, and ends with a fault.

use std::{fmt, future::Future, time::Duration};

use device_assignment::{
    client::{ChangeFollower, Followed, Position, Target},
    pb::{ListChangesRequest, WatchChangesRequest, change_service_client::ChangeServiceClient},
};
use reqwest::{Method, Response};
use serde::Deserialize;
use serde_json::Value;
use tonic::{Status, transport::Channel};

use super::record::{Record, Told};
use crate::{
    fleet::is_interruption,
    support::{Api, Client},
};

const PATH: &str = "/api/ext-v1/changes";
/// Heartbeats come every 10 seconds at least.
const SILENCE: Duration = Duration::from_secs(30);
/// The pause after an interruption.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest wait of a page.
const WAIT_SECONDS: u32 = 5;

/// How a follower follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The follower of the crate's client.
    Crate,
    Stream,
    Events,
    GrpcPages,
    RestPages,
}

impl Kind {
    pub const ALL: [Self; 5] = [
        Self::Crate,
        Self::Stream,
        Self::Events,
        Self::GrpcPages,
        Self::RestPages,
    ];

    pub fn api(self) -> Api {
        match self {
            Self::Crate | Self::Stream | Self::GrpcPages => Api::Grpc,
            Self::Events | Self::RestPages => Api::Rest,
        }
    }

    /// Follows without an end, and returns the first fault.
    pub async fn follow(self, client: Client, key: String, record: Record) -> String {
        if self == Self::Crate {
            return of_crate(&client, key, &record).await.unwrap_or_else(|fault| fault);
        }
        loop {
            let interrupted = match self {
                Self::Crate | Self::Stream => stream(&client, &record).await,
                Self::Events => events(&client, &record).await,
                Self::GrpcPages => grpc_pages(&client, &record).await,
                Self::RestPages => rest_pages(&client, &record).await,
            };
            if let Err(fault) = interrupted {
                return fault;
            }
            record.received().interruptions += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn of_crate(client: &Client, key: String, record: &Record) -> Result<String, String> {
    let target = Target {
        url: format!("http://{}", client.address()),
        ca: None,
        key,
    };
    let follower = ChangeFollower::new(&target, Position::default(), false);
    let mut follower = follower.map_err(|error| error.to_string())?;
    loop {
        match follower.next().await {
            Ok(Followed::Changes { changes, .. }) => {
                record.add(&follower.position().history, changes.into_iter().map(Told::from))?;
            }
            Ok(Followed::UpToDate) => {}
            // It would try again for ever.
            Ok(Followed::Interrupted(problem)) if problem.contains("Internal error") => return Ok(problem),
            Ok(Followed::Interrupted(_)) => record.received().interruptions += 1,
            Err(error) => return Ok(error.to_string()),
        }
    }
}

fn service(client: &Client) -> ChangeServiceClient<Channel> {
    ChangeServiceClient::new(client.channel()).max_decoding_message_size(usize::MAX)
}

/// # Errors
/// An error that is no interruption.
fn interrupted(status: &Status) -> Result<(), String> {
    if is_interruption(status) {
        return Ok(());
    }
    Err(format!("{:?}: {}", status.code(), status.message()))
}

async fn in_time<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let result = tokio::time::timeout(SILENCE, future).await;
    result.map_err(|_| format!("nothing came for {SILENCE:?}"))
}

async fn stream(client: &Client, record: &Record) -> Result<(), String> {
    let request = client.signed(WatchChangesRequest {
        after_revision: record.revision(),
        history: record.received().history.clone(),
        include_names: false,
    });
    let mut stream = match in_time(service(client).watch_changes(request)).await? {
        Ok(response) => response.into_inner(),
        Err(status) => return interrupted(&status),
    };
    loop {
        match in_time(stream.message()).await? {
            Ok(Some(message)) if message.changes.is_empty() => record.heartbeat(message.revision)?,
            Ok(Some(message)) => record.add(&message.history, message.changes.into_iter().map(Told::from))?,
            Ok(None) => return Ok(()),
            Err(status) => return interrupted(&status),
        }
    }
}

async fn grpc_pages(client: &Client, record: &Record) -> Result<(), String> {
    loop {
        let request = client.signed(ListChangesRequest {
            after_revision: record.revision(),
            history: record.received().history.clone(),
            page_size: 1_000,
            wait_seconds: WAIT_SECONDS,
            include_names: false,
        });
        match in_time(service(client).list_changes(request)).await? {
            Ok(response) => {
                let page = response.into_inner();
                record.add(&page.history, page.changes.into_iter().map(Told::from))?;
            }
            Err(status) => return interrupted(&status),
        }
    }
}

#[derive(Deserialize)]
struct Page {
    history: String,
    changes: Vec<Told>,
}

async fn rest_pages(client: &Client, record: &Record) -> Result<(), String> {
    loop {
        let (after, history) = (record.revision(), record.received().history.clone());
        let history = if history.is_empty() {
            history
        } else {
            format!("&history={history}")
        };
        let query = format!("?after={after}{history}&pageSize=1000&waitSeconds={WAIT_SECONDS}");
        let request = client.request(Method::GET, &format!("{PATH}{query}"));
        let Ok(response) = in_time(request.send()).await? else {
            return Ok(());
        };
        let is_page = response.status() == 200;
        let Ok(body) = in_time(response.bytes()).await? else {
            return Ok(());
        };
        if !is_page {
            return ended(&json(&body)?);
        }
        let page: Page = json(&body)?;
        record.add(&page.history, page.changes)?;
    }
}

fn json<T: for<'de> Deserialize<'de>>(text: &[u8]) -> Result<T, String> {
    serde_json::from_slice(text).map_err(|error| format!("{error}: {}", String::from_utf8_lossy(text)))
}

/// # Errors
/// An error that is no interruption, as an envelope or the last event of a stream tells it.
fn ended(problem: &Value) -> Result<(), String> {
    if ["UNAVAILABLE", "DEADLINE_EXCEEDED"]
        .iter()
        .any(|code| problem["code"] == *code)
    {
        return Ok(());
    }
    Err(format!("{}: {}", problem["code"], problem["error"]))
}

async fn events(client: &Client, record: &Record) -> Result<(), String> {
    let mut request = client.request(Method::GET, PATH).header("accept", "text/event-stream");
    {
        let received = record.received();
        if !received.history.is_empty() {
            let id = format!("{}:{}", received.history, received.digests.len());
            request = request.header("last-event-id", id);
        }
    }
    let Ok(response) = in_time(request.send()).await? else {
        return Ok(());
    };
    if response.status() != 200 {
        let Ok(body) = in_time(response.bytes()).await? else {
            return Ok(());
        };
        return ended(&json(&body)?);
    }
    let mut events = Events::new(response);
    while let Some(event) = events.next().await? {
        match event.name.as_str() {
            "change" => {
                let told: Told = json(event.data.as_bytes())?;
                record.add(event.history()?, [told])?;
            }
            "heartbeat" => {
                let told: Value = json(event.data.as_bytes())?;
                let revision = told["revision"].as_str().and_then(|revision| revision.parse().ok());
                record.heartbeat(revision.ok_or_else(|| event.to_string())?)?;
            }
            "end" => return ended(&json(event.data.as_bytes())?),
            _ => return Err(event.to_string()),
        }
    }
    Ok(())
}

struct Event {
    id: String,
    name: String,
    data: String,
}

impl Event {
    fn history(&self) -> Result<&str, String> {
        let position = self.id.split_once(':');
        position.map(|(history, _)| history).ok_or_else(|| self.to_string())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "event {}: {} {}", self.id, self.name, self.data)
    }
}

struct Events {
    response: Response,
    read: Vec<u8>,
}

impl Events {
    fn new(response: Response) -> Self {
        Self {
            response,
            read: Vec::new(),
        }
    }

    /// The next event that is whole; `None` when the connection has ended.
    async fn next(&mut self) -> Result<Option<Event>, String> {
        loop {
            let end = self.read.windows(2).position(|window| window == b"\n\n");
            if let Some(end) = end {
                let text: Vec<u8> = self.read.drain(..end + 2).collect();
                let text = String::from_utf8(text).map_err(|error| error.to_string())?;
                let field = |name: &str| {
                    let value = text.lines().find_map(|line| line.strip_prefix(name));
                    value.unwrap_or_default().to_owned()
                };
                let event = Event {
                    id: field("id: "),
                    name: field("event: "),
                    data: field("data: "),
                };
                // The first block says how long to wait.
                if event.data.is_empty() {
                    continue;
                }
                return Ok(Some(event));
            }
            match in_time(self.response.chunk()).await? {
                Ok(Some(chunk)) => self.read.extend_from_slice(&chunk),
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    }
}
