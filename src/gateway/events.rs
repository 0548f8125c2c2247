//! Server-sent events (HTML Living Standard, 9.2), made of the responses of `WatchChanges`.

use std::convert::Infallible;

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, Response, header},
};
use futures_util::stream;
use serde::Serialize;
use serde_json::json;
use tonic::{Status, Streaming};

use super::{ServiceResponse, passed_on, problem::Problem};
use crate::{
    grpc::Unhurried,
    pb::{Change, WatchChangesResponse},
};

/// Tells nginx to pass each event on at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long a client waits before it connects again, in milliseconds.
const RETRY: &str = "retry: 1000\n\n";

/// The response with the events of a stream.
pub(super) fn response(stream: ServiceResponse<Streaming<WatchChangesResponse>>) -> Response<Body> {
    let ServiceResponse { answer, headers } = stream;
    let events = stream::unfold((Some(answer), RETRY.to_owned()), async |(stream, before)| {
        let mut stream = stream?;
        let (text, next) = match stream.message().await {
            Ok(Some(message)) => (events_of(&message), Some(stream)),
            Ok(None) => (String::new(), None),
            Err(status) => (end(status), None),
        };
        Some((
            Ok::<_, Infallible>(Bytes::from([before, text].concat())),
            (next, String::new()),
        ))
    });
    let mut response = Response::new(Body::from_stream(events));
    passed_on::write(headers, response.headers_mut());
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (ACCEL_BUFFERING, "no"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response.extensions_mut().insert(Unhurried);
    response
}

fn events_of(
    WatchChangesResponse {
        changes,
        revision,
        history,
    }: &WatchChangesResponse,
) -> String {
    if changes.is_empty() {
        let data = json!({ "revision": revision.to_string() });
        return event(Some((history, *revision)), "heartbeat", &data);
    }
    let change = |change: &Change| event(Some((&change.history, change.revision)), "change", change);
    changes.iter().map(change).collect()
}

/// The last event of a stream that the service ends.
fn end(status: Status) -> String {
    event(None, "end", &Problem::from(status).members())
}

/// An event. JSON has no line ends between the brackets.
fn event(position: Option<(&str, u64)>, name: &str, data: &impl Serialize) -> String {
    let id = position.map_or(String::new(), |(history, revision)| {
        format!("id: {history}:{revision}\n")
    });
    let data = serde_json::to_string(data).unwrap_or_else(|error| {
        tracing::error!(%error, "an event cannot be written as JSON");
        "null".to_owned()
    });
    format!("{id}event: {name}\ndata: {data}\n\n")
}

/// The history and the revision in the id of an event.
pub(super) fn position(id: &str) -> Option<(String, u64)> {
    let (history, revision) = id.split_once(':')?;
    let is_number = revision.bytes().all(|byte| byte.is_ascii_digit());
    let revision = revision.parse().ok().filter(|_| is_number)?;
    (!history.is_empty()).then(|| (history.to_owned(), revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_event_is_a_position() {
        assert_eq!(position("hist_1:4711"), Some(("hist_1".to_owned(), 4711)));
        for id in [
            "",
            ":",
            "4711",
            ":4711",
            "hist_1:",
            "hist_1:-1",
            "hist_1:+1",
            "hist_1:1:2",
            "hist_1:18446744073709551616",
        ] {
            assert_eq!(position(id), None, "{id:?}");
        }
    }

    #[test]
    fn a_heartbeat_is_an_event() {
        let heartbeat = WatchChangesResponse {
            changes: Vec::new(),
            revision: 4711,
            history: "hist_1".to_owned(),
        };
        let expected = "id: hist_1:4711\nevent: heartbeat\ndata: {\"revision\":\"4711\"}\n\n";
        assert_eq!(events_of(&heartbeat), expected);
    }
}
