//! One client for both apis, so that one test can speak to either.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use device_assignment::{
    code::code_name,
    pb::{
        AssignDeviceToOwnersRequest, AssignDevicesToOwnerRequest, TransferDevicesToOwnerRequest,
        UnassignDeviceFromOwnerRequest, UnassignDevicesFromOwnerRequest,
        device_assignment_service_client::DeviceAssignmentServiceClient,
    },
};
use serde_json::{Value, json};
use tonic::{
    Request, Status,
    metadata::{MetadataMap, MetadataValue},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

use super::server::Api;

pub const PATH: &str = "/api/ext-v1/deviceAssignment/assignDevicesToOwner";
pub const ASSIGN_ONE_PATH: &str = "/api/ext-v1/deviceAssignment/assignDeviceToOwners";
pub const TRANSFER_PATH: &str = "/api/ext-v1/deviceAssignment/transferDevicesToOwner";
pub const UNASSIGN_PATH: &str = "/api/ext-v1/deviceAssignment/unassignDevicesFromOwner";
pub const UNASSIGN_ONE_PATH: &str = "/api/ext-v1/deviceAssignment/unassignDeviceFromOwner";

/// What a caller without a key, or without a valid one, is told.
pub const MISSING_KEY: &str = "Missing API key: send it in the x-api-key header";
pub const INVALID_KEY: &str = "Invalid API key: check that it is complete, not expired and not revoked";

/// A caller with an API key.
#[derive(Clone)]
pub struct Client {
    pub api: Api,
    address: SocketAddr,
    key: Option<String>,
    /// What is sent along beside the key.
    headers: Vec<(&'static str, String)>,
    http: reqwest::Client,
    channel: Channel,
}

/// What a call was answered, whatever the api.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The name of the gRPC code.
    pub code: String,
    /// The documented JSON; null for an error.
    pub body: Value,
    /// The sentence of an error.
    pub error: String,
    /// Field, by its JSON name, and description.
    pub violations: Vec<(String, String)>,
    pub request_id: String,
    /// The status and headers, on REST.
    pub http: Option<(u16, BTreeMap<String, String>)>,
    /// The reason of an error.
    pub reason: Option<String>,
    /// The numbers of an error.
    pub metadata: BTreeMap<String, String>,
    /// Seconds to wait before trying again.
    pub retry_after: Option<u64>,
    /// `RateLimit-Policy` and `RateLimit`.
    pub limits: [Option<String>; 2],
    /// `x-revision`.
    pub revision: Option<u64>,
    /// Whether it is the stored answer of an earlier call.
    pub replayed: bool,
}

/// The names of [`Answer::limits`].
const LIMITS: [&str; 2] = ["ratelimit-policy", "ratelimit"];

/// An HTTP client that closes idle connections before the service does (docs/REST.md): a request on a connection that is just
/// being closed has no answer.
fn http() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .pool_idle_timeout(Duration::from_secs(5))
}

impl Client {
    pub fn new(api: Api, address: SocketAddr, key: &str) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an endpoint");
        Self {
            api,
            address,
            key: Some(key.to_owned()),
            headers: Vec::new(),
            http: http().build().expect("a client"),
            channel: endpoint.connect_lazy(),
        }
    }

    /// The same client at another address of this machine.
    pub fn at(&self, local: IpAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("an endpoint");
        let http = http().local_address(local).build();
        Self {
            http: http.expect("a client"),
            channel: endpoint.local_address(Some(local)).connect_lazy(),
            ..self.clone()
        }
    }

    /// Sends a header along, or a metadata entry.
    pub fn with_header(&self, name: &'static str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name, value.to_owned()));
        client
    }

    pub fn with_key(&self, key: Option<&str>) -> Self {
        Self {
            key: key.map(str::to_owned),
            ..self.clone()
        }
    }

    /// Asks to assign devices, creating none.
    pub async fn assign(&self, email: &str, identifiers: &[&str]) -> Answer {
        self.call(&json!({ "customerEmail": email, "deviceIdentifiers": identifiers }))
            .await
    }

    /// Asks to assign devices, creating those that are unknown.
    pub async fn create(&self, email: &str, identifiers: &[&str]) -> Answer {
        self.call(&json!({
            "customerEmail": email,
            "deviceIdentifiers": identifiers,
            "autoCreateDevices": true,
            "deviceType": "sensor",
        }))
        .await
    }

    /// Asks to unassign devices.
    pub async fn unassign(&self, email: &str, identifiers: &[&str]) -> Answer {
        self.call_unassign(&json!({ "customerEmail": email, "deviceIdentifiers": identifiers }))
            .await
    }

    /// Asks to unassign one device.
    pub async fn unassign_one(&self, email: &str, identifier: &str) -> Answer {
        self.call_unassign_one(&json!({ "customerEmail": email, "deviceIdentifier": identifier }))
            .await
    }

    /// Makes the call to unassign devices that `request`, the documented JSON, describes. Asks for the list of the remaining
    /// devices.
    pub async fn call_unassign(&self, request: &Value) -> Answer {
        if self.api != Api::Grpc {
            return self.post_at(UNASSIGN_PATH, request).await;
        }
        let message: UnassignDevicesFromOwnerRequest = serde_json::from_value(request.clone()).expect("a message");
        let message = UnassignDevicesFromOwnerRequest {
            include_remaining: true,
            ..message
        };
        answer_of(self.grpc().unassign_devices_from_owner(self.signed(message)).await)
    }

    /// As [`call_unassign`](Self::call_unassign), for one device.
    pub async fn call_unassign_one(&self, request: &Value) -> Answer {
        if self.api != Api::Grpc {
            return self.post_at(UNASSIGN_ONE_PATH, request).await;
        }
        let message: UnassignDeviceFromOwnerRequest = serde_json::from_value(request.clone()).expect("a message");
        let message = UnassignDeviceFromOwnerRequest {
            include_remaining: true,
            ..message
        };
        answer_of(self.grpc().unassign_device_from_owner(self.signed(message)).await)
    }

    /// Makes the call at `path` of REST, whatever the API, that `request`, the documented JSON, describes.
    pub async fn call_at(&self, path: &str, request: &Value) -> Answer {
        match path {
            UNASSIGN_PATH => self.call_unassign(request).await,
            UNASSIGN_ONE_PATH => self.call_unassign_one(request).await,
            PATH => self.call(request).await,
            _ if self.api != Api::Grpc => self.post_at(path, request).await,
            ASSIGN_ONE_PATH => {
                let message: AssignDeviceToOwnersRequest = serde_json::from_value(request.clone()).expect("a message");
                answer_of(self.grpc().assign_device_to_owners(self.signed(message)).await)
            }
            TRANSFER_PATH => {
                let message: TransferDevicesToOwnerRequest =
                    serde_json::from_value(request.clone()).expect("a message");
                answer_of(self.grpc().transfer_devices_to_owner(self.signed(message)).await)
            }
            _ => panic!("no write at {path}"),
        }
    }

    /// A request with the key and what is sent along.
    pub fn signed<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        self.sign(request.metadata_mut());
        request
    }

    async fn post_at(&self, path: &str, request: &Value) -> Answer {
        self.send(self.request(reqwest::Method::POST, path).body(request.to_string()))
            .await
    }

    /// Makes the call that `request`, the documented JSON, describes.
    pub async fn call(&self, request: &Value) -> Answer {
        match self.api {
            Api::Grpc => {
                let message = serde_json::from_value(request.clone()).expect("the JSON of a message");
                self.call_grpc(message, None).await
            }
            Api::Rest | Api::RemoteRest => self.post(request.to_string(), Some("application/json")).await,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn grpc(&self) -> DeviceAssignmentServiceClient<Channel> {
        DeviceAssignmentServiceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub async fn call_grpc(&self, message: AssignDevicesToOwnerRequest, request_id: Option<&str>) -> Answer {
        let mut request = Request::new(message);
        self.sign(request.metadata_mut());
        if let Some(id) = request_id {
            let id = MetadataValue::try_from(id).expect("metadata");
            request.metadata_mut().insert("x-request-id", id);
        }
        self.send_grpc(request).await
    }

    /// Makes a call whose metadata is complete.
    pub async fn send_grpc(&self, request: Request<AssignDevicesToOwnerRequest>) -> Answer {
        answer_of(self.grpc().assign_devices_to_owner(request).await)
    }

    /// Puts the key where it belongs, and what is sent along.
    pub fn sign(&self, metadata: &mut MetadataMap) {
        for (name, value) in &self.headers {
            metadata.append(*name, MetadataValue::try_from(value).expect("metadata"));
        }
        if let Some(key) = &self.key {
            metadata.append("x-api-key", MetadataValue::try_from(key).expect("metadata"));
        }
    }

    /// Posts any body to the REST api.
    pub async fn post(&self, body: impl Into<reqwest::Body>, content_type: Option<&str>) -> Answer {
        let mut request = self.request(reqwest::Method::POST, PATH).body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        self.send(request).await
    }

    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method, format!("http://{}{path}", self.address));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        match &self.key {
            Some(key) => request.header("x-api-key", key),
            None => request,
        }
    }

    /// Sends a REST request, and reads the answer as what it must be: the documented JSON, or the error envelope.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        match request.send().await {
            Ok(response) => answer_of_rest(response).await,
            Err(error) => panic!("no answer: {error:?}"),
        }
    }
}

/// What a gRPC call was answered.
pub fn answer_of<M: serde::Serialize>(result: Result<tonic::Response<M>, Status>) -> Answer {
    match result {
        Ok(response) => Answer {
            code: "OK".into(),
            request_id: request_id_of(response.metadata()),
            limits: limits_of(response.metadata()),
            revision: revision_of(response.metadata()),
            replayed: replayed_of(response.metadata()),
            body: serde_json::to_value(response.into_inner()).expect("JSON"),
            error: String::new(),
            violations: Vec::new(),
            http: None,
            reason: None,
            metadata: BTreeMap::new(),
            retry_after: None,
        },
        Err(status) => Answer::from(status),
    }
}

/// What a REST call was answered.
pub async fn answer_of_rest(response: reqwest::Response) -> Answer {
    let status = response.status().as_u16();
    let headers: BTreeMap<String, String> = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().expect("text").to_owned()))
        .collect();
    let text = response.text().await.expect("a body");
    let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text:?}"));
    let request_id = headers.get("x-request-id").cloned().unwrap_or_default();
    let retry_after = headers
        .get("retry-after")
        .map(|seconds| seconds.parse().expect("seconds"));
    let limits = LIMITS.map(|name| headers.get(name).cloned());
    let replayed = headers
        .get("idempotency-replayed")
        .is_some_and(|replayed| replayed == "true");
    let revision = headers
        .get("x-revision")
        .map(|revision| revision.parse().expect("a number"));
    let mut answer = Answer {
        code: "OK".into(),
        body: Value::Null,
        error: String::new(),
        violations: Vec::new(),
        request_id,
        http: Some((status, headers)),
        reason: None,
        metadata: BTreeMap::new(),
        retry_after,
        limits,
        revision,
        replayed,
    };
    if status == 200 {
        answer.body = body;
        return answer;
    }
    assert!(
        text.starts_with("{\"error\":"),
        "an envelope begins with the error: {text}"
    );
    assert_eq!(
        body["requestId"], answer.request_id,
        "the envelope and the header name one id"
    );
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    answer.code = text(&body["code"]);
    answer.error = text(&body["error"]);
    answer.reason = Some(text(&body["reason"]));
    for (name, value) in body["metadata"].as_object().into_iter().flatten() {
        answer.metadata.insert(name.clone(), text(value));
    }
    for violation in body["fieldViolations"].as_array().into_iter().flatten() {
        let pair = (text(&violation["field"]), text(&violation["description"]));
        answer.violations.push(pair);
    }
    answer
}

impl From<Status> for Answer {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let violations = details
            .bad_request()
            .map(|bad_request| bad_request.field_violations.clone());
        Self {
            code: code_name(status.code()).into(),
            body: Value::Null,
            error: status.message().into(),
            violations: violations
                .unwrap_or_default()
                .into_iter()
                .map(|violation| (json_name(&violation.field), violation.description))
                .collect(),
            request_id: request_id_of(status.metadata()),
            limits: limits_of(status.metadata()),
            revision: revision_of(status.metadata()),
            replayed: replayed_of(status.metadata()),
            http: None,
            metadata: details
                .error_info()
                .map(|info| info.metadata.clone().into_iter().collect())
                .unwrap_or_default(),
            reason: details.error_info().map(|info| {
                assert_eq!(info.domain, "telemetron.ai");
                info.reason.clone()
            }),
            retry_after: details
                .retry_info()
                .map(|info| info.retry_delay.expect("a delay").as_secs()),
        }
    }
}

impl Answer {
    /// This answer with the names of JSON in its sentences, whatever the API.
    pub fn in_json_names(mut self) -> Self {
        self.error = json_name(&self.error);
        for (_, description) in &mut self.violations {
            *description = json_name(description);
        }
        self
    }

    /// The identifiers of one of the three lists.
    pub fn identifiers(&self, list: &str) -> Vec<&str> {
        let list = self.body[list].as_array().expect("a list");
        list.iter()
            .map(|entry| {
                entry
                    .as_str()
                    .or_else(|| entry["identifier"].as_str())
                    .expect("an identifier")
            })
            .collect()
    }

    /// This answer, which must be a success.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, "OK", "{self:?}");
        self
    }
}

fn request_id_of(metadata: &MetadataMap) -> String {
    let id = metadata.get("x-request-id").expect("every answer has an id");
    id.to_str().expect("text").to_owned()
}

fn limits_of(metadata: &MetadataMap) -> [Option<String>; 2] {
    LIMITS.map(|name| metadata.get(name).map(|value| value.to_str().expect("text").to_owned()))
}

fn replayed_of(metadata: &MetadataMap) -> bool {
    metadata
        .get("idempotency-replayed")
        .is_some_and(|replayed| replayed == "true")
}

fn revision_of(metadata: &MetadataMap) -> Option<u64> {
    let revision = metadata.get("x-revision")?.to_str().expect("text");
    Some(revision.parse().expect("a number"))
}

/// `text` with the names of JSON for the fields of the proto.
fn json_name(text: &str) -> String {
    let text = text
        .replace("properties_json", "properties")
        .replace("metadata_json", "metadata");
    let mut name = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let is_inside = char == '_' && name.ends_with(|before: char| before.is_ascii_lowercase());
        match chars.peek() {
            Some(next) if is_inside && next.is_ascii_lowercase() => {
                name.push(next.to_ascii_uppercase());
                chars.next();
            }
            _ => name.push(char),
        }
    }
    name
}
