//! Looks up, lists and deletes devices and customers, one call at a time.

use std::time::Duration;

use tonic::{Code, Response, Status};

use super::{
    ClientError, Services, Target,
    connect::{IdempotencyKey, answer, failure, one_line, within},
    problems::Problems,
    retry::{Retry, may_succeed_later},
};
use crate::{
    list::RejectedRow,
    pb::{
        BatchGetDeviceOwnersRequest, DeleteCustomerRequest, DeleteCustomerResponse, DeleteDeviceRequest,
        DeleteDeviceResponse, DeviceOwners, ListCustomersRequest, ListCustomersResponse, ListDevicesRequest,
        ListDevicesResponse, ListOwnerDevicesRequest, ListOwnerDevicesResponse,
    },
};

/// The most identifiers of one look-up, unless the service is set to another limit.
const MAX_IDENTIFIERS: usize = 1_000;

/// The devices and customers at a running service. Temporary errors are retried.
#[derive(Clone)]
pub struct Records {
    services: Services,
    retry_for: Duration,
    on_trouble: fn(&str),
}

/// The result of looking up the owners of devices.
#[derive(Debug, Default)]
pub struct Found {
    /// The devices, known or not, in the order of the list.
    pub devices: Vec<DeviceOwners>,
    /// Rows that break a rule.
    pub refused: Vec<RejectedRow>,
}

impl Records {
    /// Connects. Each call has this timeout, and is retried for so long. `on_trouble` learns why a call is retried, as a clause, once
    /// for each call.
    ///
    /// # Errors
    /// When nothing or another program answers at the URL, or the key is rejected.
    pub async fn connect(
        target: &Target,
        timeout: Duration,
        retry_for: Duration,
        on_trouble: fn(&str),
    ) -> Result<Self, ClientError> {
        let services = Services::open(target, timeout).await?;
        let problem = services.check_credentials().await.err();
        // If the service is overloaded now, the calls will wait.
        match problem.and_then(|status| failure(target, &status)) {
            Some(error) => Err(error),
            None => Ok(Self {
                services,
                retry_for,
                on_trouble,
            }),
        }
    }

    /// Looks up the owners of any number of devices. Each row is an identifier with its line in the list.
    ///
    /// # Errors
    /// When the service rejects the key, or fails for too long.
    pub async fn owners(&self, rows: Vec<(u64, String)>) -> Result<Found, ClientError> {
        let mut found = Found::default();
        let mut parts = vec![rows];
        while let Some(mut rows) = parts.pop() {
            if rows.is_empty() {
                continue;
            }
            if rows.len() > MAX_IDENTIFIERS {
                parts.push(rows.split_off(MAX_IDENTIFIERS));
            }
            let message = BatchGetDeviceOwnersRequest {
                device_identifiers: rows.iter().map(|(_, identifier)| identifier.clone()).collect(),
                min_revision: 0,
            };
            let call = async || {
                let mut client = self.services.assignments.clone();
                client
                    .batch_get_device_owners(self.services.request(message.clone()))
                    .await
            };
            let status = match self.answered(call).await {
                Ok(response) => {
                    found.devices.extend(response.devices);
                    continue;
                }
                Err(Failure::Rejected(status)) => status,
                Err(Failure::Other(error)) => return Err(error),
            };
            let mut problems = Problems::of(&status);
            if problems.too_many && rows.len() > 1 {
                let half = rows.split_off(rows.len() / 2);
                parts.extend([half, rows]);
            } else if problems.rows.is_empty() {
                return Err(rejected(&status));
            } else {
                let mut place = 0;
                rows.retain(|(line, _)| {
                    let problem = problems.rows.remove(&place);
                    place += 1;
                    let is_valid = problem.is_none();
                    let refused = problem.map(|problem| RejectedRow { line: *line, problem });
                    found.refused.extend(refused);
                    is_valid
                });
                parts.push(rows);
            }
        }
        Ok(found)
    }

    /// Lists a page of the devices of a customer.
    ///
    /// # Errors
    /// When the customer does not exist, the service rejects the request, or fails for too long.
    pub async fn owner_devices(
        &self,
        message: ListOwnerDevicesRequest,
    ) -> Result<ListOwnerDevicesResponse, ClientError> {
        let call = async || {
            let mut client = self.services.assignments.clone();
            client.list_owner_devices(self.services.request(message.clone())).await
        };
        Ok(self.answered(call).await?)
    }

    /// Lists a page of devices.
    ///
    /// # Errors
    /// When the service rejects the request, or fails for too long.
    pub async fn devices(&self, message: ListDevicesRequest) -> Result<ListDevicesResponse, ClientError> {
        let call = async || {
            self.services
                .devices
                .clone()
                .list_devices(self.services.request(message.clone()))
                .await
        };
        Ok(self.answered(call).await?)
    }

    /// Lists a page of customers.
    ///
    /// # Errors
    /// When the service rejects the request, or fails for too long.
    pub async fn customers(&self, message: ListCustomersRequest) -> Result<ListCustomersResponse, ClientError> {
        let call = async || {
            self.services
                .customers
                .clone()
                .list_customers(self.services.request(message.clone()))
                .await
        };
        Ok(self.answered(call).await?)
    }

    /// Deletes a device.
    ///
    /// # Errors
    /// When the device does not exist, the service rejects the request, or fails for too long.
    pub async fn delete_device(&self, message: DeleteDeviceRequest) -> Result<DeleteDeviceResponse, ClientError> {
        let services = self.with_key();
        let call = async || {
            let request = services.request(message.clone());
            services.devices.clone().delete_device(request).await
        };
        Ok(self.answered(call).await?)
    }

    /// Deletes a customer with all its data.
    ///
    /// # Errors
    /// When the customer does not exist, the service rejects the request, or fails for too long.
    pub async fn delete_customer(&self, message: DeleteCustomerRequest) -> Result<DeleteCustomerResponse, ClientError> {
        let services = self.with_key();
        let call = async || {
            let request = services.request(message.clone());
            services.customers.clone().delete_customer(request).await
        };
        Ok(self.answered(call).await?)
    }

    /// The service, with a new idempotency key: when a deletion is repeated, the service returns the answer of the first one, instead
    /// of "does not exist".
    fn with_key(&self) -> Services {
        self.services.clone().with_key(IdempotencyKey::new())
    }

    /// Sends a call until it is answered.
    async fn answered<R>(&self, call: impl AsyncFn() -> Result<Response<R>, Status>) -> Result<R, Failure> {
        let mut retry = Retry::new(self.retry_for);
        let mut is_in_trouble = false;
        loop {
            let status = match within(self.services.timeout, call()).await {
                Ok(response) => return Ok(response),
                Err(status) => status,
            };
            match status.code() {
                Code::InvalidArgument => return Err(Failure::Rejected(status)),
                Code::NotFound => return Err(ClientError::NotFound(one_line(status.message())).into()),
                Code::Unauthenticated | Code::PermissionDenied => {
                    return Err(ClientError::KeyRejected(one_line(status.message())).into());
                }
                _ if may_succeed_later(&status) => {}
                _ => return Err(ClientError::CallFailed(answer(&status)).into()),
            }
            let wait = retry.pause(&status, None)?;
            if !std::mem::replace(&mut is_in_trouble, true) {
                (self.on_trouble)(&answer(&status));
            }
            tokio::time::sleep(wait).await;
        }
    }
}

/// Why a call has no result.
enum Failure {
    /// The request breaks a rule.
    Rejected(Status),
    Other(ClientError),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Other(error)
    }
}

impl From<Failure> for ClientError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Rejected(status) => rejected(&status),
            Failure::Other(error) => error,
        }
    }
}

fn rejected(status: &Status) -> ClientError {
    ClientError::Rejected(one_line(status.message()))
}
