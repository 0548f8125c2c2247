//! The REST API: a client of the gRPC service. It translates JSON to messages and statuses to HTTP; the service holds every
//! rule and policy. The service may run in the same process or at the other end of a channel.

pub mod access_log;
mod assign_device;
mod assign_devices;
mod batch_get_device_owners;
mod bulk_update_metadata;
mod call;
mod changes;
mod check_credentials;
mod compression;
mod console;
mod cors;
mod create_or_update_customer;
mod create_or_update_device;
mod delete_customer;
mod delete_device;
mod error_responses;
mod events;
mod fields;
mod get_customer;
mod get_device;
mod host;
mod json;
mod json_line;
mod known_keys;
mod list_customers;
mod list_device_owners;
mod list_devices;
mod list_owner_devices;
mod observe;
mod openapi;
mod operation;
mod pages;
mod parameters;
mod passed_on;
mod problem;
mod query;
mod transfer_devices;
mod unassign_devices;

use std::{error::Error, future::Future, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request as AxumRequest,
    http::{HeaderMap, HeaderValue, Method, Request as HttpRequest, Response as HttpResponse, header::AUTHORIZATION},
    middleware::from_fn,
    routing::{MethodRouter, get, post},
};
use tonic::{Request, Response, Status};
use tower::{
    Service, ServiceExt,
    util::{BoxCloneSyncService, option_layer},
};
use tower_http::catch_panic::CatchPanicLayer;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::json::fuzz as fuzz_json;
pub use self::openapi::document;
pub(crate) use self::{fields::with_json_names, openapi::give_json_names};
use self::{known_keys::KnownKeys, passed_on::PassedOn, problem::Problem};
use crate::{
    code::code_name,
    error_chain::error_chain,
    grpc::IDEMPOTENCY_KEY_HEADER,
    key_headers::{KEY_HEADERS, bearer_key},
    pb::{
        change_service_client::ChangeServiceClient, customer_service_client::CustomerServiceClient,
        device_assignment_service_client::DeviceAssignmentServiceClient, device_service_client::DeviceServiceClient,
        organization_service_client::OrganizationServiceClient,
    },
    peer, request_id,
    shares::{Holder, Shares},
    telemetry::trace,
};

/// What the REST API allows its callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySettings {
    /// The largest body that is accepted, in bytes.
    pub max_body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long the service may take to answer before the gateway gives up.
    pub upstream_timeout: Duration,
    /// The most device identifiers in one request. A longer list is rejected while it is read.
    pub max_devices_per_request: usize,
    /// The origins whose web pages may call the REST API. Without any, there is no CORS.
    pub cors_origins: Arc<[HeaderValue]>,
    /// Whether the console is served.
    pub console: bool,
}

type BoxError = Box<dyn Error + Send + Sync>;

/// The transport of an RPC: the service in the same process, or a channel to a remote one.
type Upstream = BoxCloneSyncService<HttpRequest<tonic::body::Body>, HttpResponse<tonic::body::Body>, Status>;

/// The longest header value that is passed on to the service, in bytes: several times the length of a key.
const MAX_PASSED_ON: usize = 256;

#[derive(Clone)]
struct Gateway {
    devices: DeviceAssignmentServiceClient<Upstream>,
    device: DeviceServiceClient<Upstream>,
    customer: CustomerServiceClient<Upstream>,
    organization: OrganizationServiceClient<Upstream>,
    changes: ChangeServiceClient<Upstream>,
    known_keys: KnownKeys,
    /// The bytes that request and response bodies hold.
    in_flight: Shares<Holder>,
    settings: GatewaySettings,
}

/// The routes of the REST API over `upstream`. `in_flight` bounds the bytes that bodies hold.
pub fn router<S>(upstream: S, settings: GatewaySettings, in_flight: Shares<Holder>) -> Router
where
    S: Service<HttpRequest<tonic::body::Body>, Response = HttpResponse<tonic::body::Body>>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    let upstream = BoxCloneSyncService::new(upstream.map_err(|error| unreachable(error.into())));
    let pages = pages::routes(&settings);
    let has_console = settings.console;
    let cors = (!settings.cors_origins.is_empty()).then(|| cors::layer(&settings.cors_origins));
    let gateway = Gateway {
        organization: OrganizationServiceClient::new(upstream.clone()),
        changes: ChangeServiceClient::new(upstream.clone()).max_decoding_message_size(usize::MAX),
        // The service itself bounds its answers.
        device: DeviceServiceClient::new(upstream.clone()).max_decoding_message_size(usize::MAX),
        customer: CustomerServiceClient::new(upstream.clone()).max_decoding_message_size(usize::MAX),
        devices: DeviceAssignmentServiceClient::new(upstream).max_decoding_message_size(usize::MAX),
        known_keys: KnownKeys::new(),
        in_flight,
        settings,
    };
    // The last layer is the outermost: it sees a request first.
    Router::new()
        .route(
            "/api/ext-v1/deviceAssignment/assignDevicesToOwner",
            post(assign_devices::handle).fallback(async || Problem::method_not_allowed(&[Method::POST])),
        )
        .route(
            "/api/ext-v1/deviceAssignment/assignDeviceToOwners",
            post(assign_device::handle).fallback(async || Problem::method_not_allowed(&[Method::POST])),
        )
        .route(
            "/api/ext-v1/deviceAssignment/transferDevicesToOwner",
            post(transfer_devices::handle).fallback(async || Problem::method_not_allowed(&[Method::POST])),
        )
        .route(
            "/api/ext-v1/deviceAssignment/unassignDevicesFromOwner",
            post(unassign_devices::many).fallback(async || Problem::method_not_allowed(&[Method::POST])),
        )
        .route(
            "/api/ext-v1/deviceAssignment/unassignDeviceFromOwner",
            post(unassign_devices::one).fallback(async || Problem::method_not_allowed(&[Method::POST])),
        )
        .route(
            "/api/ext-v1/deviceAssignment/batchGetDeviceOwners",
            post(batch_get_device_owners::handle).fallback(async || Problem::method_not_allowed(&[Method::POST])),
        )
        .route(
            "/api/ext-v1/device",
            post(create_or_update_device::handle)
                .get(get_device::handle)
                .head(async || Problem::method_not_allowed(&[Method::GET, Method::POST]))
                .fallback(async || Problem::method_not_allowed(&[Method::GET, Method::POST])),
        )
        .route(
            "/api/ext-v1/device/bulk-metadata",
            post(bulk_update_metadata::handle).fallback(async || Problem::method_not_allowed(&[Method::POST])),
        )
        .route(
            "/api/ext-v1/device/deleteDevice",
            post(delete_device::handle).fallback(async || Problem::method_not_allowed(&[Method::POST])),
        )
        .route(
            "/api/ext-v1/customer/createOrUpdateCustomer",
            post(create_or_update_customer::handle).fallback(async || Problem::method_not_allowed(&[Method::POST])),
        )
        .route(
            "/api/ext-v1/customer/deleteCustomer",
            post(delete_customer::handle).fallback(async || Problem::method_not_allowed(&[Method::POST])),
        )
        .route(
            "/api/ext-v1/deviceAssignment/listOwnerDevices",
            post(list_owner_devices::by_body).fallback(async || Problem::method_not_allowed(&[Method::POST])),
        )
        .route(
            "/api/ext-v1/deviceAssignment/devices",
            only_get(get(list_owner_devices::by_query)),
        )
        .route(
            "/api/ext-v1/deviceAssignment/owners",
            only_get(get(list_device_owners::handle)),
        )
        .route("/api/ext-v1/changes", only_get(get(changes::handle)))
        .route("/api/ext-v1/devices", only_get(get(list_devices::handle)))
        .route(
            "/api/ext-v1/customer/queryCustomer",
            post(get_customer::by_email).fallback(async || Problem::method_not_allowed(&[Method::POST])),
        )
        .route(
            "/api/ext-v1/customer/getCustomer/{telemetronCustomerId}",
            only_get(get(get_customer::by_id)),
        )
        .route(
            "/api/ext-v1/customer/listCustomers",
            post(list_customers::by_body).fallback(async || Problem::method_not_allowed(&[Method::POST])),
        )
        .route("/api/ext-v1/customers", only_get(get(list_customers::by_query)))
        .route("/api/ext-v1/credentials", only_get(get(check_credentials::handle)))
        .merge(pages)
        .fallback(async move |request: AxumRequest| pages::not_found(&request, has_console))
        .with_state(gateway)
        .layer(CatchPanicLayer::custom(|_| Problem::panicked()))
        .layer(from_fn(host::check))
        .layer(from_fn(compression::layer))
        .layer(from_fn(problem::render))
        .layer(option_layer(cors))
        .layer(from_fn(observe::layer))
}

/// The route of a GET, without HEAD and the other methods.
fn only_get(route: MethodRouter<Gateway>) -> MethodRouter<Gateway> {
    route
        .head(async || Problem::method_not_allowed(&[Method::GET]))
        .fallback(async || Problem::method_not_allowed(&[Method::GET]))
}

/// `router`, which rejects requests without one valid host, as the REST API does.
pub fn with_valid_host(router: Router) -> Router {
    router
        .layer(from_fn(host::check))
        .layer(from_fn(problem::render))
        .layer(from_fn(host::identify))
}

impl Gateway {
    /// Waits for an RPC, up to the upstream timeout.
    async fn answer<R>(
        &self,
        call: impl Future<Output = Result<Response<R>, Status>>,
    ) -> Result<ServiceResponse<R>, Problem> {
        self.answer_within(self.settings.upstream_timeout, call).await
    }

    /// Waits for an RPC, up to `timeout`.
    async fn answer_within<R>(
        &self,
        timeout: Duration,
        call: impl Future<Output = Result<Response<R>, Status>>,
    ) -> Result<ServiceResponse<R>, Problem> {
        match tokio::time::timeout(timeout, call).await {
            Ok(Ok(response)) => {
                let (metadata, answer, _) = response.into_parts();
                let headers = passed_on::read(metadata.as_ref());
                Ok(ServiceResponse { answer, headers })
            }
            Ok(Err(status)) => {
                if !Problem::is_of_the_service(&status) {
                    let (code, cause) = (code_name(status.code()), status.message());
                    tracing::warn!(
                        code,
                        cause,
                        "the upstream returned a status that is not from the service"
                    );
                }
                Err(Problem::from(status))
            }
            Err(_elapsed) => Err(Problem::from(Status::deadline_exceeded("Deadline exceeded"))),
        }
    }
}

/// An answer of the service, with the values of the headers that are passed on.
struct ServiceResponse<R> {
    answer: R,
    headers: PassedOn,
}

/// The status of an RPC whose transport failed: the service is down, or went down during the call. The outcome of the call is
/// unknown then.
fn unreachable(error: Box<dyn Error + Send + Sync>) -> Status {
    let cause = error_chain(error.as_ref());
    Status::unavailable(format!("the service cannot be reached: {cause}"))
}

/// Builds an RPC's request on behalf of a REST caller, with the caller's keys, request id, address and trace context. The address
/// is sent twice: a service in the same process reads the first entry, a remote one reads the second if it trusts the gateway
/// as a proxy.
fn on_behalf<M>(headers: &HeaderMap, message: M) -> Request<M> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut().as_mut();
    trace::pass_on(headers, metadata);
    if let Some(id) = headers.get(request_id::HEADER) {
        metadata.insert(request_id::HEADER, id.clone());
    }
    metadata.insert(peer::PROTOCOL, HeaderValue::from_static("rest"));
    for name in KEY_HEADERS {
        // Other credentials are not for the service.
        let is_for_service = |value: &&HeaderValue| name != AUTHORIZATION || bearer_key(value).is_some();
        let values = headers.get_all(&name).iter().filter(is_for_service);
        // The service rejects a repeated key, so it has to see the second value, but no more.
        for value in values.take(2) {
            // A longer value cannot be a key, and could be too long for the transport.
            let is_too_long = value.len() > MAX_PASSED_ON;
            let too_long = if name == AUTHORIZATION { "Bearer tlm_?" } else { "?" };
            let value = if is_too_long {
                HeaderValue::from_static(too_long)
            } else {
                value.clone()
            };
            metadata.append(&name, value);
        }
    }
    // The service rejects a repeated or empty idempotency key.
    for key in headers.get_all(IDEMPOTENCY_KEY_HEADER).iter().take(2) {
        let is_too_long = key.len() > MAX_PASSED_ON;
        let key = if is_too_long {
            HeaderValue::from_static("")
        } else {
            key.clone()
        };
        metadata.append(IDEMPOTENCY_KEY_HEADER, key);
    }
    if let Some(address) = headers.get(peer::HEADER) {
        metadata.insert(peer::HEADER, address.clone());
        metadata.insert(peer::FORWARDED_FOR, address.clone());
    }
    request
}

/// The response to a REST request, or the problem that becomes one.
type GatewayResult = Result<HttpResponse<Body>, Problem>;
