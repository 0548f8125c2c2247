//! Calls that read, by name: the same request over gRPC and REST.

use std::fmt::Write as _;

use device_assignment::pb::{
    BatchGetDeviceOwnersRequest, GetCustomerRequest, GetDeviceRequest, ListCustomersRequest, ListDeviceOwnersRequest,
    ListDevicesRequest, ListOwnerDevicesRequest, QueryCustomerRequest, customer_service_client::CustomerServiceClient,
    device_assignment_service_client::DeviceAssignmentServiceClient, device_service_client::DeviceServiceClient,
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
    GetDevice,
    ListDevices,
    QueryCustomer,
    GetCustomer,
    ListCustomers,
}

impl Read {
    /// Every call whose request names no id.
    pub const ALL: [Self; 7] = [
        Self::BatchGetDeviceOwners,
        Self::ListOwnerDevices,
        Self::ListDeviceOwners,
        Self::GetDevice,
        Self::ListDevices,
        Self::QueryCustomer,
        Self::ListCustomers,
    ];

    /// The method and the path on REST, for a request.
    fn route(self, request: &Value) -> (Method, &'static str) {
        match self {
            Self::BatchGetDeviceOwners => (Method::POST, "/api/ext-v1/deviceAssignment/batchGetDeviceOwners"),
            Self::ListOwnerDevices if request.get("customerEmail").is_none() && request.get("customerId").is_some() => {
                (Method::GET, "/api/ext-v1/deviceAssignment/devices")
            }
            Self::ListOwnerDevices => (Method::POST, "/api/ext-v1/deviceAssignment/listOwnerDevices"),
            Self::ListDeviceOwners => (Method::GET, "/api/ext-v1/deviceAssignment/owners"),
            Self::GetDevice => (Method::GET, "/api/ext-v1/device"),
            Self::ListDevices => (Method::GET, "/api/ext-v1/devices"),
            Self::QueryCustomer => (Method::POST, "/api/ext-v1/customer/queryCustomer"),
            Self::GetCustomer => (Method::GET, "/api/ext-v1/customer/getCustomer"),
            Self::ListCustomers if request.get("emailPrefix").is_some() => {
                (Method::POST, "/api/ext-v1/customer/listCustomers")
            }
            Self::ListCustomers => (Method::GET, "/api/ext-v1/customers"),
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
    if read == Read::GetCustomer {
        // The id is in the path.
        let mut rest = request.clone();
        let id = rest
            .as_object_mut()
            .and_then(|members| members.remove("telemetronCustomerId"));
        let id = id.expect("an id");
        let path = format!("{path}/{}?{}", id.as_str().expect("text"), query(&rest));
        return client.send(client.request(method, &path)).await;
    }
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
    let mut device = DeviceServiceClient::new(client.channel());
    let mut customer = CustomerServiceClient::new(client.channel());
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
        Read::GetDevice => {
            let request: Request<GetDeviceRequest> = message(client, request);
            answer_of(device.get_device(request).await)
        }
        Read::ListDevices => {
            let request: Request<ListDevicesRequest> = message(client, request);
            answer_of(device.list_devices(request).await)
        }
        Read::QueryCustomer => {
            let request: Request<QueryCustomerRequest> = message(client, request);
            answer_of(customer.query_customer(request).await)
        }
        Read::GetCustomer => {
            let request: Request<GetCustomerRequest> = message(client, request);
            answer_of(customer.get_customer(request).await)
        }
        Read::ListCustomers => {
            let request: Request<ListCustomersRequest> = message(client, request);
            answer_of(customer.list_customers(request).await)
        }
    }
}

fn message<M: DeserializeOwned>(client: &Client, request: &Value) -> Request<M> {
    client.signed(serde_json::from_value(request.clone()).expect("the JSON of a message"))
}
