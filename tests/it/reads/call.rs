//! Calls that read, by name: the same request over gRPC and REST.

use device_assignment::pb::{
    BatchGetDeviceOwnersRequest, device_assignment_service_client::DeviceAssignmentServiceClient,
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
}

impl Read {
    pub const ALL: [Self; 1] = [Self::BatchGetDeviceOwners];

    /// The method and the path on REST.
    pub fn route(self) -> (Method, &'static str) {
        match self {
            Self::BatchGetDeviceOwners => (Method::POST, "/api/ext-v1/deviceAssignment/batchGetDeviceOwners"),
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
    let (method, path) = read.route();
    client
        .send(client.request(method, path).body(request.to_string()))
        .await
}

async fn over_grpc(client: &Client, read: Read, request: &Value) -> Answer {
    let mut devices: DeviceAssignmentServiceClient<Channel> = client.grpc();
    match read {
        Read::BatchGetDeviceOwners => {
            let request: Request<BatchGetDeviceOwnersRequest> = message(client, request);
            answer_of(devices.batch_get_device_owners(request).await)
        }
    }
}

fn message<M: DeserializeOwned>(client: &Client, request: &Value) -> Request<M> {
    client.signed(serde_json::from_value(request.clone()).expect("the JSON of a message"))
}
