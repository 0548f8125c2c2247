//! A follower of changes over either API.

use std::{collections::VecDeque, time::Duration};

use device_assignment::pb::{
    ListChangesRequest, WatchChangesRequest, WatchChangesResponse, change_service_client::ChangeServiceClient,
};
use reqwest::Method;
use serde_json::Value;
use tonic::{Streaming, transport::Channel};

use crate::support::{
    Answer, Api, Client,
    client::{answer_of, answer_of_rest},
};

pub const PATH: &str = "/api/ext-v1/changes";

/// Longer than the time between two heartbeats.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a follower begins, and what it wants.
#[derive(Debug, Clone, Default)]
pub struct From {
    pub after: u64,
    pub history: String,
    pub include_names: bool,
}

impl From {
    pub fn after(after: u64) -> Self {
        Self {
            after,
            ..Self::default()
        }
    }

    fn query(&self) -> String {
        let history = if self.history.is_empty() {
            String::new()
        } else {
            format!("&history={}", self.history)
        };
        format!("after={}{history}&includeNames={}", self.after, self.include_names)
    }
}

pub fn service(client: &Client) -> ChangeServiceClient<Channel> {
    ChangeServiceClient::new(client.channel()).max_decoding_message_size(usize::MAX)
}

/// A page of changes.
pub async fn list(client: &Client, from: &From, page_size: u32, wait_seconds: u32) -> Answer {
    if client.api == Api::Grpc {
        let mut request = client.signed(ListChangesRequest {
            after_revision: from.after,
            page_size,
            history: from.history.clone(),
            include_names: from.include_names,
            wait_seconds,
        });
        request.set_timeout(Duration::from_secs(60));
        return answer_of(service(client).list_changes(request).await);
    }
    let query = from.query();
    get(
        client,
        &format!("{query}&pageSize={page_size}&waitSeconds={wait_seconds}"),
    )
    .await
}

/// What REST answers to a query.
pub async fn get(client: &Client, query: &str) -> Answer {
    client
        .send(client.request(Method::GET, &format!("{PATH}?{query}")))
        .await
}

/// What a stream told.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Change(Value),
    /// The revision that the stream has reached.
    Heartbeat(u64),
    /// The last one: code, reason and the revision to go on from.
    End(String, String, u64),
}

impl Event {
    /// The change that this must be.
    #[track_caller]
    pub fn change(self) -> Value {
        match self {
            Self::Change(change) => change,
            other => panic!("no change: {other:?}"),
        }
    }
}

pub fn revision(change: &Value) -> u64 {
    change["revision"].as_str().expect("text").parse().expect("a number")
}

enum Source {
    Grpc(Box<Streaming<WatchChangesResponse>>),
    Rest(reqwest::Response, String),
}

/// A stream that is open.
pub struct Follower {
    source: Source,
    read: VecDeque<Event>,
    pub history: String,
}

impl Follower {
    pub async fn start(client: &Client, from: &From) -> Result<Self, Answer> {
        let (source, history) = if client.api == Api::Grpc {
            let request = client.signed(WatchChangesRequest {
                after_revision: from.after,
                history: from.history.clone(),
                include_names: from.include_names,
            });
            let stream = service(client).watch_changes(request).await.map_err(Answer::from)?;
            (Source::Grpc(Box::new(stream.into_inner())), String::new())
        } else {
            let request = client.request(Method::GET, &format!("{PATH}?{}", from.query()));
            (Self::events(request).await?, String::new())
        };
        let read = VecDeque::new();
        Ok(Self { source, read, history })
    }

    /// A stream of events that goes on after the event with this id.
    pub async fn after_event(client: &Client, id: &str) -> Result<Self, Answer> {
        let request = client.request(Method::GET, PATH).header("last-event-id", id);
        Ok(Self {
            source: Self::events(request).await?,
            read: VecDeque::new(),
            history: String::new(),
        })
    }

    async fn events(request: reqwest::RequestBuilder) -> Result<Source, Answer> {
        let request = request.header("accept", "text/event-stream");
        let response = request.send().await.expect("an answer");
        if response.status() != 200 {
            return Err(answer_of_rest(response).await);
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Ok(Source::Rest(response, String::new()))
    }

    /// The next event; `None` at the end, and when the connection is lost.
    pub async fn next(&mut self) -> Option<Event> {
        let next = tokio::time::timeout(PATIENCE, self.read());
        next.await.expect("a heartbeat in time")
    }

    /// The next change.
    pub async fn change(&mut self) -> Value {
        loop {
            match self.next().await.expect("a stream that goes on") {
                Event::Heartbeat(_) => {}
                event => return event.change(),
            }
        }
    }

    /// The next changes, until this revision.
    pub async fn until(&mut self, last: u64) -> Vec<Value> {
        let mut changes = Vec::new();
        while changes.last().is_none_or(|change| revision(change) < last) {
            changes.push(self.change().await);
        }
        changes
    }

    /// What the stream ends with, after the changes that it still tells.
    pub async fn end(&mut self) -> (String, String, u64) {
        loop {
            match self.next().await.expect("an end that is told") {
                Event::End(code, reason, revision) => return (code, reason, revision),
                Event::Change(_) | Event::Heartbeat(_) => {}
            }
        }
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Some(event);
            }
            match &mut self.source {
                Source::Grpc(stream) => match stream.message().await {
                    Ok(message) => {
                        let message = message?;
                        self.history.clone_from(&message.history);
                        if message.changes.is_empty() {
                            self.read.push_back(Event::Heartbeat(message.revision));
                        }
                        for change in message.changes {
                            let change = serde_json::to_value(change).expect("JSON");
                            self.read.push_back(Event::Change(change));
                        }
                    }
                    Err(status) => {
                        let answer = Answer::from(with_request_id(status));
                        return Some(end(
                            answer.code,
                            answer.reason,
                            answer.metadata.get("revision").cloned(),
                        ));
                    }
                },
                Source::Rest(response, text) => {
                    let chunk = response.chunk().await.ok()??;
                    text.push_str(std::str::from_utf8(&chunk).expect("whole characters in ASCII"));
                    while let Some((event, rest)) = text.split_once("\n\n") {
                        let (event, rest) = (event.to_owned(), rest.to_owned());
                        *text = rest;
                        self.read.extend(parse(&event, &mut self.history));
                    }
                }
            }
        }
    }
}

/// The status of a stream comes in trailers, without the headers.
fn with_request_id(mut status: tonic::Status) -> tonic::Status {
    status
        .metadata_mut()
        .insert("x-request-id", "trailers".parse().expect("metadata"));
    status
}

fn end(code: String, reason: Option<String>, revision: Option<String>) -> Event {
    let revision = revision.map_or(0, |revision| revision.parse().expect("a number"));
    Event::End(code, reason.unwrap_or_default(), revision)
}

/// Reads an event as a browser does.
fn parse(event: &str, last_history: &mut String) -> Option<Event> {
    let field = |name: &str| {
        let prefix = format!("{name}: ");
        event.lines().find_map(|line| line.strip_prefix(&prefix))
    };
    let data: Value = serde_json::from_str(field("data")?).expect("JSON");
    if let Some(id) = field("id") {
        let (history, told) = id.split_once(':').expect("a history and a revision");
        assert_eq!(told, data["revision"], "{event}");
        history.clone_into(last_history);
    }
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(match field("event").expect("a name") {
        "change" => {
            assert_eq!(data["history"], last_history.as_str());
            Event::Change(data)
        }
        "heartbeat" => Event::Heartbeat(revision(&data)),
        "end" => end(
            text(&data["code"]).expect("a code"),
            text(&data["reason"]),
            text(&data["metadata"]["revision"]),
        ),
        other => panic!("an unknown event: {other}"),
    })
}
