//! The gRPC API: the service behind the generated code, and the policies that apply to every call: authentication, deadline,
//! limits, log.

mod answer;
mod assign_device;
mod assign_devices;
mod authenticate;
mod batch_get_device_owners;
mod bulk_update_metadata;
mod call_log;
mod changes;
mod check_credentials;
mod create_or_update_customer;
mod create_or_update_device;
mod deadline;
mod delete_customer;
mod delete_device;
mod encoded_changes;
mod get_customer;
mod get_device;
mod identifiers;
mod keyless;
mod list_customers;
mod list_device_owners;
mod list_devices;
mod list_owner_devices;
mod message_errors;
mod method;
mod page;
mod panic;
mod policies;
mod rate_limit;
mod receive;
mod revision;
mod status;
mod stream;
mod timestamp;
mod transfer_devices;
mod unassign_devices;
mod violations;
mod write;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::HeaderName;
use tonic::{Request, Response, Status, service::Routes};
use tonic_health::server::HealthReporter;

pub use crate::domain::idempotency::MAX_KEY_CHARS;
pub use keyless::KeylessCalls;
pub use rate_limit::RATE_LIMIT_HEADERS;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use receive::fuzz as fuzz_message;
pub use revision::REVISION_HEADER;
pub use status::SCOPE_MISSING;
pub use stream::Unhurried;
pub use write::IDEMPOTENCY_KEY_HEADER;

use self::{
    call_log::Note,
    deadline::Deadline,
    encoded_changes::server::change_service_server::{ChangeService, ChangeServiceServer},
    method::Method,
    policies::with_policies,
    status::to_status,
};
use crate::{
    domain::{Cause, Error},
    pb::{
        self,
        customer_service_server::{CustomerService, CustomerServiceServer},
        device_assignment_service_server::{DeviceAssignmentService, DeviceAssignmentServiceServer, SERVICE_NAME},
        device_service_server::{DeviceService, DeviceServiceServer},
        organization_service_server::{OrganizationService, OrganizationServiceServer},
    },
    service::{Caller, Service},
    shares::{Holder, Shares},
};

/// What the gRPC API allows its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrpcSettings {
    /// The largest message that is accepted, in bytes.
    pub max_message_bytes: usize,
    /// The largest response, in bytes. A call whose response could be larger is rejected before it is carried out.
    pub max_answer_bytes: usize,
    /// How long a message may take to arrive.
    pub body_timeout: Duration,
    /// The deadline of a call that sets none.
    pub default_timeout: Duration,
    /// The longest deadline of a call.
    pub max_timeout: Duration,
    /// The most calls without a key in flight.
    pub max_keyless_calls: usize,
}

/// Whether the RPC of this name, without that of its service, changes something. A key needs the scope `write` for it.
pub fn is_write(rpc: &str) -> bool {
    Method::is_write(rpc)
}

/// The name of the service in health checks and reflection.
pub const SERVICE: &str = SERVICE_NAME;

/// The headers of responses that callers of the REST API receive as well.
pub const RESPONSE_HEADERS: [HeaderName; 4] = [
    rate_limit::POLICY,
    rate_limit::LEFT,
    REVISION_HEADER,
    write::REPLAYED_HEADER,
];

/// The largest message of a method without lists, in bytes.
const MAX_SMALL_MESSAGE_BYTES: usize = 16 * 1024;

/// Implements the generated traits. Each method is in the file of its operation.
#[derive(Debug, Clone)]
struct Handlers {
    service: Arc<Service>,
    max_answer_bytes: usize,
}

#[tonic::async_trait]
impl DeviceAssignmentService for Handlers {
    async fn assign_devices_to_owner(
        &self,
        request: Request<pb::AssignDevicesToOwnerRequest>,
    ) -> Result<Response<pb::AssignDevicesToOwnerResponse>, Status> {
        assign_devices::handle(&self.service, request).await
    }

    async fn assign_device_to_owners(
        &self,
        request: Request<pb::AssignDeviceToOwnersRequest>,
    ) -> Result<Response<pb::AssignDeviceToOwnersResponse>, Status> {
        assign_device::handle(&self.service, request).await
    }

    async fn transfer_devices_to_owner(
        &self,
        request: Request<pb::TransferDevicesToOwnerRequest>,
    ) -> Result<Response<pb::TransferDevicesToOwnerResponse>, Status> {
        transfer_devices::handle(&self.service, request).await
    }

    async fn unassign_devices_from_owner(
        &self,
        request: Request<pb::UnassignDevicesFromOwnerRequest>,
    ) -> Result<Response<pb::UnassignDevicesFromOwnerResponse>, Status> {
        unassign_devices::many(&self.service, request, self.max_answer_bytes).await
    }

    async fn unassign_device_from_owner(
        &self,
        request: Request<pb::UnassignDeviceFromOwnerRequest>,
    ) -> Result<Response<pb::UnassignDeviceFromOwnerResponse>, Status> {
        unassign_devices::one(&self.service, request, self.max_answer_bytes).await
    }

    async fn batch_get_device_owners(
        &self,
        request: Request<pb::BatchGetDeviceOwnersRequest>,
    ) -> Result<Response<pb::BatchGetDeviceOwnersResponse>, Status> {
        batch_get_device_owners::handle(&self.service, request, self.max_answer_bytes).await
    }

    async fn list_owner_devices(
        &self,
        request: Request<pb::ListOwnerDevicesRequest>,
    ) -> Result<Response<pb::ListOwnerDevicesResponse>, Status> {
        list_owner_devices::handle(&self.service, request).await
    }

    async fn list_device_owners(
        &self,
        request: Request<pb::ListDeviceOwnersRequest>,
    ) -> Result<Response<pb::ListDeviceOwnersResponse>, Status> {
        list_device_owners::handle(&self.service, request).await
    }
}

#[tonic::async_trait]
impl DeviceService for Handlers {
    async fn create_or_update_device(
        &self,
        request: Request<pb::CreateOrUpdateDeviceRequest>,
    ) -> Result<Response<pb::CreateOrUpdateDeviceResponse>, Status> {
        create_or_update_device::handle(&self.service, request).await
    }

    async fn bulk_update_device_metadata(
        &self,
        request: Request<pb::BulkUpdateDeviceMetadataRequest>,
    ) -> Result<Response<pb::BulkUpdateDeviceMetadataResponse>, Status> {
        bulk_update_metadata::handle(&self.service, request).await
    }

    async fn delete_device(
        &self,
        request: Request<pb::DeleteDeviceRequest>,
    ) -> Result<Response<pb::DeleteDeviceResponse>, Status> {
        delete_device::handle(&self.service, request).await
    }

    async fn get_device(
        &self,
        request: Request<pb::GetDeviceRequest>,
    ) -> Result<Response<pb::GetDeviceResponse>, Status> {
        get_device::handle(&self.service, request).await
    }

    async fn list_devices(
        &self,
        request: Request<pb::ListDevicesRequest>,
    ) -> Result<Response<pb::ListDevicesResponse>, Status> {
        list_devices::handle(&self.service, request).await
    }
}

#[tonic::async_trait]
impl CustomerService for Handlers {
    async fn create_or_update_customer(
        &self,
        request: Request<pb::CreateOrUpdateCustomerRequest>,
    ) -> Result<Response<pb::CreateOrUpdateCustomerResponse>, Status> {
        create_or_update_customer::handle(&self.service, request).await
    }

    async fn delete_customer(
        &self,
        request: Request<pb::DeleteCustomerRequest>,
    ) -> Result<Response<pb::DeleteCustomerResponse>, Status> {
        delete_customer::handle(&self.service, request).await
    }

    async fn query_customer(
        &self,
        request: Request<pb::QueryCustomerRequest>,
    ) -> Result<Response<pb::Customer>, Status> {
        get_customer::by_email(&self.service, request).await
    }

    async fn get_customer(&self, request: Request<pb::GetCustomerRequest>) -> Result<Response<pb::Customer>, Status> {
        get_customer::by_id(&self.service, request).await
    }

    async fn list_customers(
        &self,
        request: Request<pb::ListCustomersRequest>,
    ) -> Result<Response<pb::ListCustomersResponse>, Status> {
        list_customers::handle(&self.service, request).await
    }
}

#[tonic::async_trait]
impl OrganizationService for Handlers {
    async fn check_credentials(
        &self,
        request: Request<pb::CheckCredentialsRequest>,
    ) -> Result<Response<pb::CheckCredentialsResponse>, Status> {
        check_credentials::handle(&self.service, request).await
    }
}

#[tonic::async_trait]
impl ChangeService for Handlers {
    type WatchChangesStream = changes::Responses;

    async fn list_changes(
        &self,
        request: Request<pb::ListChangesRequest>,
    ) -> Result<Response<pb::ListChangesResponse>, Status> {
        changes::list(&self.service, request).await
    }

    async fn watch_changes(
        &self,
        request: Request<pb::WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        changes::watch(&self.service, request).await
    }
}

/// A call that passed the policies.
#[derive(Debug, Clone)]
struct Admitted {
    caller: Arc<Caller>,
    deadline: Instant,
    note: Arc<Note>,
    /// The idempotency key, or the first two if there are several.
    idempotency_keys: Vec<Vec<u8>>,
}

/// Splits a request that passed the policies.
fn admitted<M>(request: Request<M>) -> Result<(Admitted, M), Status> {
    let extensions = request.extensions();
    let (deadline, note) = (extensions.get(), extensions.get::<Arc<Note>>());
    let caller = note.and_then(|note| note.caller());
    match (caller, deadline, note) {
        (Some(caller), Some(&Deadline(deadline)), Some(note)) => {
            let (caller, note) = (Arc::clone(caller), Arc::clone(note));
            let headers = request.metadata().as_ref();
            let keys = headers.get_all(IDEMPOTENCY_KEY_HEADER).iter().take(2);
            let admitted = Admitted {
                caller,
                deadline,
                note,
                idempotency_keys: keys.map(|key| key.as_bytes().to_vec()).collect(),
            };
            Ok((admitted, request.into_inner()))
        }
        _ => {
            let cause = Cause::new("a call bypassed the policies");
            Err(to_status(&Error::Internal(cause)))
        }
    }
}

/// Every method with every policy, for a listener or for calls in the same process. `in_flight` bounds the bytes that calls
/// hold.
///
/// # Errors
/// If the descriptors for reflection are broken.
pub fn routes(
    service: Arc<Service>,
    settings: GrpcSettings,
    in_flight: Shares<Holder>,
) -> Result<(Routes, HealthReporter), tonic_reflection::server::Error> {
    let handlers = Handlers {
        service: Arc::clone(&service),
        max_answer_bytes: settings.max_answer_bytes,
    };
    let devices = DeviceAssignmentServiceServer::new(handlers.clone());
    let device = DeviceServiceServer::new(handlers.clone());
    let customer = CustomerServiceServer::new(handlers.clone());
    let organization = OrganizationServiceServer::new(handlers.clone());
    let changes = ChangeServiceServer::new(handlers);
    let (health_reporter, health) = tonic_health::server::health_reporter();

    let router = Routes::new(devices.max_decoding_message_size(settings.max_message_bytes))
        .add_service(device.max_decoding_message_size(settings.max_message_bytes))
        .add_service(customer.max_decoding_message_size(settings.max_message_bytes))
        .add_service(organization.max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES))
        .add_service(changes.max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES))
        .add_service(health.max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES))
        .add_service(
            reflection()
                .build_v1()?
                .max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES),
        )
        .add_service(
            reflection()
                .build_v1alpha()?
                .max_decoding_message_size(MAX_SMALL_MESSAGE_BYTES),
        )
        .into_axum_router();
    let router = with_policies(router, service, settings, in_flight);
    Ok((Routes::from(router), health_reporter))
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // Without these types, grpcurl prints error details as base64.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}

#[cfg(test)]
mod tests;
