//! Calls of every kind that writes, whose answers are kept as bytes.

use std::time::Duration;

use device_assignment::pb::{
    AssignDeviceToOwnersRequest, AssignDeviceToOwnersResponse, AssignDevicesToOwnerRequest,
    AssignDevicesToOwnerResponse, BulkUpdateDeviceMetadataRequest, BulkUpdateDeviceMetadataResponse,
    CreateOrUpdateCustomerRequest, CreateOrUpdateCustomerResponse, CreateOrUpdateDeviceRequest,
    CreateOrUpdateDeviceResponse, DeleteCustomerRequest, DeleteCustomerResponse, DeleteDeviceRequest,
    DeleteDeviceResponse, TransferDevicesToOwnerRequest, TransferDevicesToOwnerResponse,
    UnassignDeviceFromOwnerRequest, UnassignDeviceFromOwnerResponse, UnassignDevicesFromOwnerRequest,
    UnassignDevicesFromOwnerResponse,
};
use prost::{
    Message,
    bytes::{Buf, BufMut, Bytes},
};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tonic::{
    Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
};
use tonic_types::StatusExt;

use crate::support::{Api, Client};

/// A call that writes, of one of the [`WRITES`].
#[derive(Debug, Clone)]
pub struct Write {
    kind: &'static WriteKind,
    /// The JSON of its message.
    request: Value,
}

/// A kind of calls that write.
#[derive(Debug)]
pub struct WriteKind {
    rpc: &'static str,
    path: &'static str,
    /// The request of a number, which no other call resembles. The customer `owner-N@example.com`, of this id, owns the devices
    /// `OLD-N` and `OTHER-N`.
    request: fn(u32, &str) -> Value,
    encode: fn(&Value) -> Vec<u8>,
    /// The JSON of an answer, which gRPC gave as these bytes.
    json: fn(&[u8]) -> Value,
}

macro_rules! kind {
    ($service:literal $method:literal $path:literal $request:ident $response:ident $body:expr) => {
        kind!($service $method $path $request $response $body, encode::<$request>)
    };
    ($service:literal $method:literal $path:literal $request:ident $response:ident $body:expr, $encode:expr) => {
        WriteKind {
            rpc: concat!("/telemetron.device_assignment.v1.", $service, "/", $method),
            path: concat!("/api/ext-v1/", $path),
            request: $body,
            encode: $encode,
            json: json_of::<$response>,
        }
    };
}

/// Every kind. Each changes something the first time. Carried out again, all except the updates of a customer and of metadata would
/// answer something else.
pub const WRITES: &[WriteKind] = &[
    kind!("DeviceAssignmentService" "AssignDevicesToOwner" "deviceAssignment/assignDevicesToOwner"
    AssignDevicesToOwnerRequest AssignDevicesToOwnerResponse |n, _| json!({
        "customerEmail": email(n), "deviceIdentifiers": [format!("NEW-{n}"), format!("OLD-{n}")],
        "autoCreateDevices": true, "deviceType": "sensor"
    })),
    kind!("DeviceAssignmentService" "AssignDeviceToOwners" "deviceAssignment/assignDeviceToOwners"
    AssignDeviceToOwnersRequest AssignDeviceToOwnersResponse |n, _| json!({
        "deviceIdentifier": format!("OLD-{n}"), "customerEmails": [email(n), format!("new-{n}@example.com")]
    })),
    kind!("DeviceAssignmentService" "TransferDevicesToOwner" "deviceAssignment/transferDevicesToOwner"
    TransferDevicesToOwnerRequest TransferDevicesToOwnerResponse |n, owner| json!({
        "customerEmail": format!("new-{n}@example.com"), "deviceIdentifiers": [format!("OLD-{n}")], "expectedOwner": owner
    })),
    kind!("DeviceAssignmentService" "UnassignDevicesFromOwner" "deviceAssignment/unassignDevicesFromOwner"
        UnassignDevicesFromOwnerRequest UnassignDevicesFromOwnerResponse |n, _| json!({
            "customerEmail": email(n), "deviceIdentifiers": [format!("OLD-{n}"), "nowhere"]
        }),
        |request| UnassignDevicesFromOwnerRequest { include_remaining: true, ..message(request) }.encode_to_vec()),
    kind!("DeviceAssignmentService" "UnassignDeviceFromOwner" "deviceAssignment/unassignDeviceFromOwner"
        UnassignDeviceFromOwnerRequest UnassignDeviceFromOwnerResponse |n, _| json!({
            "customerEmail": email(n), "deviceIdentifier": format!("OLD-{n}")
        }),
        |request| UnassignDeviceFromOwnerRequest { include_remaining: true, ..message(request) }.encode_to_vec()),
    kind!("DeviceService" "CreateOrUpdateDevice" "device"
    CreateOrUpdateDeviceRequest CreateOrUpdateDeviceResponse |n, _| json!({
        "identifier": format!("NEW-{n}"), "type": "sensor", "properties": { "number": n }
    })),
    kind!("DeviceService" "BulkUpdateDeviceMetadata" "device/bulk-metadata"
    BulkUpdateDeviceMetadataRequest BulkUpdateDeviceMetadataResponse |n, _| json!({
        "devices": { (format!("OLD-{n}")): { "number": n }, "nowhere": {} }
    })),
    kind!("DeviceService" "DeleteDevice" "device/deleteDevice"
        DeleteDeviceRequest DeleteDeviceResponse |n, _| json!({ "identifier": format!("OLD-{n}") })),
    kind!("CustomerService" "CreateOrUpdateCustomer" "customer/createOrUpdateCustomer"
    CreateOrUpdateCustomerRequest CreateOrUpdateCustomerResponse |n, _| json!({
        "email": format!("new-{n}@example.com"), "name": "New"
    })),
    kind!("CustomerService" "CreateOrUpdateCustomer" "customer/createOrUpdateCustomer"
    CreateOrUpdateCustomerRequest CreateOrUpdateCustomerResponse |n, owner| json!({
        "email": email(n), "name": "Changed", "telemetronCustomerId": owner
    })),
    kind!("CustomerService" "DeleteCustomer" "customer/deleteCustomer"
        DeleteCustomerRequest DeleteCustomerResponse |n, _| json!({ "email": email(n) })),
];

fn email(number: u32) -> String {
    format!("owner-{number}@example.com")
}

fn message<M: DeserializeOwned>(request: &Value) -> M {
    serde_json::from_value(request.clone()).expect("the JSON of a message")
}

fn encode<M: DeserializeOwned + Message>(request: &Value) -> Vec<u8> {
    message::<M>(request).encode_to_vec()
}

fn json_of<M: Message + Default + Serialize>(bytes: &[u8]) -> Value {
    serde_json::to_value(M::decode(bytes).expect("a message")).expect("JSON")
}

impl WriteKind {
    /// The call of this kind with a number, for the customer of that number.
    pub fn of(&'static self, number: u32, customer: &str) -> Write {
        Write {
            kind: self,
            request: (self.request)(number, customer),
        }
    }
}

/// A successful answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub api: Api,
    /// The message on gRPC, the body on REST.
    pub bytes: Vec<u8>,
    pub json: Value,
    pub revision: u64,
    /// Whether it is the stored answer of an earlier call.
    pub replayed: bool,
}

/// Reasons of errors after which a caller sends the call again: the outcome is unknown, or the service has too much to do.
const TRY_AGAIN: [&str; 3] = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "QUEUE_FULL"];

/// Makes a call through one client after the other until it succeeds, as a caller does that does not know the outcome. Returns why
/// it failed before, too.
pub async fn until_it_succeeds(write: &Write, clients: &[Client]) -> (Answer, Vec<String>) {
    let mut failures = Vec::new();
    for client in clients.iter().cycle() {
        match write.call(client).await {
            Ok(answer) => return (answer, failures),
            Err(reason) => failures.push(reason),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    unreachable!("there are clients")
}

/// What is told of an attempt without an answer: the instance was killed.
const KILLED: &str = "no answer";

impl Write {
    /// Makes the call.
    ///
    /// # Errors
    /// Why the call has to be sent again.
    async fn call(&self, client: &Client) -> Result<Answer, String> {
        let answer = match client.api {
            Api::Grpc => self.over_grpc(client).await,
            _ => self.over_rest(client).await,
        };
        answer.inspect_err(|reason| {
            assert!(
                reason == KILLED || TRY_AGAIN.contains(&reason.as_str()),
                "{self:?}: {reason}"
            );
        })
    }

    async fn over_grpc(&self, client: &Client) -> Result<Answer, String> {
        let killed = || KILLED.to_owned();
        let mut grpc = Grpc::new(client.channel());
        grpc.ready().await.map_err(|_| killed())?;
        let request = client.signed((self.kind.encode)(&self.request));
        let path = PathAndQuery::from_static(self.kind.rpc);
        match grpc.unary(request, path, BytesCodec).await {
            Ok(response) => {
                let (metadata, bytes, _) = response.into_parts();
                let json = (self.kind.json)(&bytes);
                Ok(answer(Api::Grpc, bytes.into(), json, &metadata.into_headers()))
            }
            // Without details, it is not the service that says so.
            Err(status) => Err(status.get_details_error_info().map_or_else(killed, |info| info.reason)),
        }
    }

    async fn over_rest(&self, client: &Client) -> Result<Answer, String> {
        let request = client.request(Method::POST, self.kind.path);
        let request = request.header("content-type", "application/json");
        let request = request.body(self.request.to_string());
        let response = request.send().await.map_err(|_| KILLED)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.map_err(|_| KILLED)?;
        let json: Value = serde_json::from_slice(&bytes).expect("JSON");
        if status != StatusCode::OK {
            return Err(json["reason"].as_str().expect("a reason").to_owned());
        }
        Ok(answer(Api::Rest, bytes.into(), json, &headers))
    }
}

fn answer(api: Api, bytes: Vec<u8>, json: Value, headers: &HeaderMap) -> Answer {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().expect("text"));
    Answer {
        api,
        bytes,
        json,
        revision: text("x-revision").expect("a revision").parse().expect("a number"),
        replayed: text("idempotency-replayed") == Some("true"),
    }
}

/// Sends and receives messages as they are.
#[derive(Debug, Clone, Copy)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
