//! `GET /api/ext-v1/changes`: a page of changes, at once or when there are some, or a stream of events.

use std::time::{Duration, Instant};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Uri, header::ACCEPT},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Gateway, GatewayResult,
    error_responses::ErrorResponses,
    events,
    fields::{Kind, Member},
    on_behalf,
    operation::Operation,
    parameters::RequestIdHeader,
    problem::Problem,
    query,
};
use crate::pb::{ListChangesRequest, ListChangesResponse, WatchChangesRequest};

/// The header with the id of the last event that a client received.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const EVENT_STREAM: &str = "text/event-stream";

/// The parameters of the query.
const PARAMETERS: [Member; 5] = [
    parameter("after", Kind::Revision),
    parameter("history", Kind::String),
    parameter("pageSize", Kind::Revision),
    parameter("waitSeconds", Kind::Revision),
    parameter("includeNames", Kind::Boolean),
];

const fn parameter(name: &'static str, kind: Kind) -> Member {
    Member {
        name,
        kind,
        is_list: false,
    }
}

/// The values of the parameters.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Parameters {
    after: u64,
    history: String,
    page_size: u64,
    wait_seconds: u64,
    include_names: bool,
}

/// The longest wait for the first change, in seconds. The service has the same limit.
const MAX_WAIT_SECONDS: u32 = 60;

/// The parameters of the query.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its description is used")]
struct ChangesParameters {
    /// The revision before the first change: 0 for the beginning. No revision has more than 19 digits.
    #[param(value_type = Option<String>, pattern = "^[0-9]{1,19}$", example = "4711")]
    after: u64,
    /// The history that `after` belongs to, as an earlier response named it. If it is another one now, the answer is 410.
    #[param(required = false)]
    history: String,
    /// The most changes of a page: 100 if absent or 0. More than 1,000 count as 1,000. Streams have no pages.
    #[param(required = false, minimum = 0, maximum = 2147483647)]
    page_size: u32,
    /// How many seconds to wait for a change if there is none: not at all if absent or 0. More than 60 count as 60. Streams wait
    /// by themselves.
    #[param(required = false, minimum = 0, maximum = 2147483647)]
    wait_seconds: u32,
    /// Whether to add the emails of customers and the identifiers of devices to each change.
    #[param(required = false)]
    include_names: bool,
}

/// The request header that resumes a stream.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only its description is used")]
struct LastEventIdHeader {
    /// The id of the last event that you received. A stream goes on after it, whatever `after` and `history` say; for a page it
    /// has no meaning. Clients for server-sent events send it by themselves.
    #[param(
        rename = "last-event-id",
        required = false,
        pattern = "^(hist_[0-7][0-9a-hjkmnp-tv-z]{25}:[0-9]{1,19})?$"
    )]
    id: String,
}

#[utoipa::path(
    get,
    path = "/api/ext-v1/changes",
    operation_id = "listChanges",
    tag = "Changes",
    summary = "List or follow changes",
    description = concat!(
        include_str!(concat!(env!("OUT_DIR"), "/ListChanges.md")),
        "\n\nWith `Accept: text/event-stream` the answer is a stream of server-sent events that does not end: each change is an event \
         `change`, and at least every 10 seconds there is an event `heartbeat` with the revision that the stream has reached. The \
         id of an event is the history, a colon and the revision. If the service ends the stream, the last event is `end`, with \
         the members of an error."
    ),
    params(RequestIdHeader, LastEventIdHeader, ChangesParameters),
    responses(
        (
            status = 200,
            description = "A page of changes, or a stream of events",
            content(
                (
                    ListChangesResponse = "application/json",
                    example = json!({
                        "changes": [{
                            "revision": "4711",
                            "history": "hist_01m835zmv6e3ts9whpry4tgqhh",
                            "at": "2026-11-26T08:00:00.123Z",
                            "kind": "assign",
                            "actor": { "apiKeyId": "key_01m835zmv6e3ts9whps1149tvb", "operator": null },
                            "requestId": "0190163d-8694-739b-aea5-966c26f8ad91",
                            "assigned": [{
                                "customerId": "cust_01m835zmv6e3ts9whpry4tgqhh",
                                "deviceIds": ["dev_01m835zmv6e3ts9whps1149tvb"],
                            }],
                            "unassigned": [],
                            "customersCreated": ["cust_01m835zmv6e3ts9whpry4tgqhh"],
                            "customersUpdated": [],
                            "customersDeleted": [],
                            "devicesCreated": [],
                            "devicesUpdated": [],
                            "devicesDeleted": [],
                            "customers": [],
                            "devices": [],
                        }],
                        "revision": "4711",
                        "history": "hist_01m835zmv6e3ts9whpry4tgqhh",
                    })
                ),
                (
                    String = "text/event-stream",
                    example = "id: hist_01m835zmv6e3ts9whpry4tgqhh:4711\nevent: heartbeat\ndata: {\"revision\":\"4711\"}\n\n"
                ),
            ),
            headers(
                ("x-request-id" = String, description = "The id of the request"),
                ("x-revision" = String, description = "The newest revision of the organization. Absent from streams"),
                ("RateLimit-Policy" = String, description = "The limits of the key (draft-ietf-httpapi-ratelimit-headers). Absent if the key has no limits"),
                ("RateLimit" = String, description = "What is left of these limits"),
            ),
        ),
        ErrorResponses,
    ),
    security(("apiKey" = []), ("bearer" = [])),
)]
pub(super) async fn handle(State(gateway): State<Gateway>, request: Request) -> GatewayResult {
    let start = Instant::now();
    let (parts, _no_body) = request.into_parts();
    let headers = &parts.headers;
    gateway.check_key(headers).await?;
    let result = if wants_events(headers) {
        watch_request(&parts.uri, headers).map(Wanted::Events)
    } else {
        // A page begins where `after` says. The header is checked all the same: an error is found sooner.
        last_event(headers)
            .and_then(|_| list_request(&parts.uri))
            .map(Wanted::Page)
    };
    match result {
        Ok(Wanted::Page(message)) => gateway.page(headers, message).await,
        Ok(Wanted::Events(message)) => gateway.events(headers, message).await,
        Err(problem) => {
            let operation = Operation {
                name: "ListChanges",
                list: None,
                answer_list_bytes: 0,
            };
            Err(gateway.count_rejected(headers, operation, problem.into(), start).await)
        }
    }
}

/// What a request asks for.
enum Wanted {
    Page(ListChangesRequest),
    Events(WatchChangesRequest),
}

impl Gateway {
    async fn page(&self, headers: &HeaderMap, message: ListChangesRequest) -> GatewayResult {
        let mut client = self.changes.clone();
        let wait = Duration::from_secs(message.wait_seconds.min(MAX_WAIT_SECONDS).into());
        let mut request = on_behalf(headers, message);
        if wait.is_zero() {
            return self.get(headers, client.list_changes(request)).await;
        }
        let timeout = wait + self.settings.upstream_timeout;
        request.set_timeout(timeout);
        self.get_within(timeout, headers, client.list_changes(request)).await
    }

    async fn events(&self, headers: &HeaderMap, message: WatchChangesRequest) -> GatewayResult {
        let mut client = self.changes.clone();
        let stream = self
            .call(headers, client.watch_changes(on_behalf(headers, message)))
            .await?;
        Ok(events::response(stream))
    }
}

/// Whether the client names the type of event streams.
fn wants_events(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).into_iter();
    let mut types = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','));
    types.any(|of| {
        of.split(';')
            .next()
            .is_some_and(|name| name.trim().eq_ignore_ascii_case(EVENT_STREAM))
    })
}

fn list_request(uri: &Uri) -> Result<ListChangesRequest, Problem> {
    let parameters: Parameters = query::read(uri.query().unwrap_or_default(), &PARAMETERS, None, [])?;
    // The service has lower limits of its own; these are the bounds of the described type.
    let bounded = |name: &str, number: u64| {
        let number = i32::try_from(number).map_err(|_| {
            let sentence = format!("{name} must be a number of 0 to {}", i32::MAX);
            Problem::invalid_query(sentence)
        });
        number.map(i32::unsigned_abs)
    };
    Ok(ListChangesRequest {
        after_revision: parameters.after,
        page_size: bounded("pageSize", parameters.page_size)?,
        history: parameters.history,
        include_names: parameters.include_names,
        wait_seconds: bounded("waitSeconds", parameters.wait_seconds)?,
    })
}

/// Where the header says that a stream goes on, if it says so.
fn last_event(headers: &HeaderMap) -> Result<Option<(String, u64)>, Problem> {
    let Some(id) = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty()) else {
        return Ok(None);
    };
    let position = id.to_str().ok().and_then(events::position).ok_or_else(|| {
        let sentence = "Last-Event-ID must be the id of an event: the history, a colon and the revision";
        Problem::invalid_query(sentence.into())
    })?;
    Ok(Some(position))
}

fn watch_request(uri: &Uri, headers: &HeaderMap) -> Result<WatchChangesRequest, Problem> {
    let request = list_request(uri)?;
    let begin = (request.history, request.after_revision);
    let (history, after_revision) = last_event(headers)?.unwrap_or(begin);
    Ok(WatchChangesRequest {
        after_revision,
        history,
        include_names: request.include_names,
    })
}
