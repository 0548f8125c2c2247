//! Every RPC of a running service, one at a time: the generated clients over one connection, with a key.

use std::time::Duration;

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use super::{
    ClientError, Target,
    connect::{IdempotencyKey, MAX_ANSWER, PROBE_TIMEOUT, answer, connected, failure, within},
};
use crate::{
    key_headers::X_API_KEY,
    pb::{
        CheckCredentialsRequest, CheckCredentialsResponse, change_service_client::ChangeServiceClient,
        customer_service_client::CustomerServiceClient,
        device_assignment_service_client::DeviceAssignmentServiceClient, device_service_client::DeviceServiceClient,
        organization_service_client::OrganizationServiceClient,
    },
};

/// The clients of a running service. Requests come from [`request`](Self::request), which adds the key. A lost connection is made
/// again by the next call; no call is sent twice.
#[derive(Debug, Clone)]
pub struct Services {
    /// Assignments, transfers, owners.
    pub assignments: DeviceAssignmentServiceClient<Channel>,
    /// Customers.
    pub customers: CustomerServiceClient<Channel>,
    /// Devices.
    pub devices: DeviceServiceClient<Channel>,
    /// The change log.
    pub changes: ChangeServiceClient<Channel>,
    organizations: OrganizationServiceClient<Channel>,
    key: MetadataValue<Ascii>,
    pub(super) timeout: Duration,
    idempotency_key: Option<IdempotencyKey>,
}

impl Services {
    /// Connects, and returns what the key is. `timeout` is how long a call may take.
    ///
    /// # Errors
    /// When nothing or another program answers at the URL, or the key is rejected.
    pub async fn connect(target: &Target, timeout: Duration) -> Result<(Self, CheckCredentialsResponse), ClientError> {
        let services = Self::open(target, timeout).await?;
        let credentials = services.check_credentials().await.map_err(|status| {
            failure(target, &status).unwrap_or_else(|| ClientError::Unreachable {
                url: target.url.clone(),
                problem: answer(&status),
            })
        })?;
        Ok((services, credentials))
    }

    /// Connects, without a call.
    pub(super) async fn open(target: &Target, timeout: Duration) -> Result<Self, ClientError> {
        let (channel, key) = connected(target).await?;
        Ok(Self {
            assignments: DeviceAssignmentServiceClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
            customers: CustomerServiceClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
            devices: DeviceServiceClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
            changes: ChangeServiceClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER),
            organizations: OrganizationServiceClient::new(channel),
            key,
            timeout,
            idempotency_key: None,
        })
    }

    /// What the key is.
    pub(super) async fn check_credentials(&self) -> Result<CheckCredentialsResponse, Status> {
        let request = self.request(CheckCredentialsRequest::default());
        within(PROBE_TIMEOUT, self.organizations.clone().check_credentials(request)).await
    }

    /// The same, with this idempotency key in every request. A key of characters that a header cannot have is left out.
    #[must_use]
    pub fn with_idempotency_key(self, key: &str) -> Self {
        self.with_key(IdempotencyKey::from(key))
    }

    /// The same, with this idempotency key in every request.
    pub(super) fn with_key(mut self, key: IdempotencyKey) -> Self {
        self.idempotency_key = Some(key);
        self
    }

    /// A request with the key and the timeout.
    pub fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(X_API_KEY, self.key.clone());
        if let Some(key) = &self.idempotency_key {
            key.add_to(&mut request);
        }
        request.set_timeout(self.timeout);
        request
    }
}
