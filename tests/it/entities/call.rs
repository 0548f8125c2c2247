//! The calls about devices and customers, through either API.

use device_assignment::pb::{
    customer_service_client::CustomerServiceClient, device_service_client::DeviceServiceClient,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Api, Client, client::answer_of};

/// A call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    SaveDevice,
    SaveMetadata,
    DeleteDevice,
    SaveCustomer,
    DeleteCustomer,
}

impl Call {
    pub const ALL: [Self; 5] = [
        Self::SaveDevice,
        Self::SaveMetadata,
        Self::DeleteDevice,
        Self::SaveCustomer,
        Self::DeleteCustomer,
    ];

    pub fn path(self) -> &'static str {
        match self {
            Self::SaveDevice => "/api/ext-v1/device",
            Self::SaveMetadata => "/api/ext-v1/device/bulk-metadata",
            Self::DeleteDevice => "/api/ext-v1/device/deleteDevice",
            Self::SaveCustomer => "/api/ext-v1/customer/createOrUpdateCustomer",
            Self::DeleteCustomer => "/api/ext-v1/customer/deleteCustomer",
        }
    }

    /// Makes the call that `request`, the documented JSON, describes.
    pub async fn make(self, client: &Client, request: &Value) -> Answer {
        if client.api != Api::Grpc {
            return self.post(client, &request.to_string()).await;
        }
        macro_rules! message {
            () => {
                client.signed(serde_json::from_value(request.clone()).expect("the JSON of a message"))
            };
        }
        let mut device = DeviceServiceClient::new(client.channel());
        let mut customer = CustomerServiceClient::new(client.channel());
        let answer = match self {
            Self::SaveDevice => answer_of(device.create_or_update_device(message!()).await),
            Self::SaveMetadata => answer_of(device.bulk_update_device_metadata(message!()).await),
            Self::DeleteDevice => answer_of(device.delete_device(message!()).await),
            Self::SaveCustomer => answer_of(customer.create_or_update_customer(message!()).await),
            Self::DeleteCustomer => answer_of(customer.delete_customer(message!()).await),
        };
        answer.in_json_names()
    }

    /// Posts a body.
    pub async fn post(self, client: &Client, body: &str) -> Answer {
        let request = client.request(Method::POST, self.path());
        let request = request.header("content-type", "application/json");
        client.send(request.body(body.to_owned())).await
    }
}

/// Creates a device or changes it.
pub async fn save_device(client: &Client, request: Value) -> Value {
    Call::SaveDevice.make(client, &request).await.ok().body
}

/// Replaces the properties of devices.
pub async fn save_metadata(client: &Client, devices: Value) -> Value {
    let request = json!({ "devices": devices });
    Call::SaveMetadata.make(client, &request).await.ok().body
}

/// Creates a customer or changes it. Returns the id.
pub async fn save_customer(client: &Client, request: Value) -> String {
    let answer = Call::SaveCustomer.make(client, &request).await.ok();
    let id = answer.body["telemetronCustomerId"].as_str().expect("an id");
    id.to_owned()
}
