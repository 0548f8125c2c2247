//! Calls that read, by name: the same request over gRPC and REST.

use std::fmt::Write as _;

use device_assignment::pb::{
    BatchGetDeviceOwnersRequest, ListDeviceOwnersRequest, ListOwnerDevicesRequest,
    device_assignment_service_client::DeviceAssignmentServiceClient,
};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tonic::{Request, transport::Channel};

use crate::support::{Answer, Api, Client, client::answer_of};

/// A call that reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    BatchGetDeviceOwners,
    ListOwnerDevices,
    ListDeviceOwners,
}

impl Read {
    pub const ALL: [Self; 3] = [
        Self::BatchGetDeviceOwners,
        Self::ListOwnerDevices,
        Self::ListDeviceOwners,
    ];

    /// The method and the path on REST, for a request.
    fn route(self, request: &Value) -> (Method, &'static str) {
        match self {
            Self::BatchGetDeviceOwners => (Method::POST, "/api/ext-v1/deviceAssignment/batchGetDeviceOwners"),
            Self::ListOwnerDevices if request.get("customerEmail").is_some() => {
                (Method::POST, "/api/ext-v1/deviceAssignment/listOwnerDevices")
            }
            Self::ListOwnerDevices => (Method::GET, "/api/ext-v1/deviceAssignment/devices"),
            Self::ListDeviceOwners => (Method::GET, "/api/ext-v1/deviceAssignment/owners"),
        }
    }
}

/// Makes the call that `request`, the JSON of its message, describes.
pub async fn read(client: &Client, read: Read, request: &Value) -> Answer {
    let answer = call(client, read, request).await;
    let revision = answer.revision.map(|revision| revision.to_string());
    assert_eq!(
        answer.body["revision"].as_str(),
        revision.as_deref(),
        "in body and header"
    );
    assert_eq!(revision.is_some(), answer.code == "OK", "{answer:?}");
    answer
}

async fn call(client: &Client, read: Read, request: &Value) -> Answer {
    if client.api == Api::Grpc {
        return over_grpc(client, read, request).await;
    }
    let (method, path) = read.route(request);
    if method == Method::GET {
        let path = format!("{path}?{}", query(request));
        return client.send(client.request(method, &path)).await;
    }
    client
        .send(client.request(method, path).body(request.to_string()))
        .await
}

/// The members of an object as a query string, every byte of a value encoded.
pub fn query(request: &Value) -> String {
    let mut query = String::new();
    for (name, value) in request.as_object().expect("an object") {
        let text = match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        write!(query, "{name}=").expect("a string");
        for byte in text.bytes() {
            write!(query, "%{byte:02x}").expect("a string");
        }
        query.push('&');
    }
    query
}

async fn over_grpc(client: &Client, read: Read, request: &Value) -> Answer {
    let mut devices: DeviceAssignmentServiceClient<Channel> = client.grpc();
    match read {
        Read::BatchGetDeviceOwners => {
            let request: Request<BatchGetDeviceOwnersRequest> = message(client, request);
            answer_of(devices.batch_get_device_owners(request).await)
        }
        Read::ListOwnerDevices => {
            let request: Request<ListOwnerDevicesRequest> = message(client, request);
            answer_of(devices.list_owner_devices(request).await)
        }
        Read::ListDeviceOwners => {
            let request: Request<ListDeviceOwnersRequest> = message(client, request);
            answer_of(devices.list_device_owners(request).await)
        }
    }
}

fn message<M: DeserializeOwned>(client: &Client, request: &Value) -> Request<M> {
    client.signed(serde_json::from_value(request.clone()).expect("the JSON of a message"))
}
