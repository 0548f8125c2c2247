//! The gRPC face: the service over the generated code, and the policies that every call passes, whichever way it
//! comes: who calls, how long it may take, what is logged.

mod assign_devices;
mod authenticate;
mod call_log;
mod deadline;
mod method;
mod panic;
mod rate_limit;
mod refusal;
mod status;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Request as AxumRequest, State},
    middleware::{Next, from_fn_with_state},
    response::Response as AxumResponse,
};
use tonic::{Request, Response, Status, service::Routes};
use tonic_health::server::HealthReporter;
use tracing::{Instrument, Span};

pub use rate_limit::RATE_LIMIT_HEADERS;

use self::{
    call_log::Note,
    deadline::Deadline,
    method::Method,
    status::{code_of, to_status},
};
use crate::{
    domain::{Cause, Error},
    pb::{
        self,
        device_assignment_service_server::{DeviceAssignmentService, DeviceAssignmentServiceServer, SERVICE_NAME},
    },
    request_id,
    service::{Caller, Service},
    telemetry::trace,
};

/// What the face allows its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrpcSettings {
    /// The largest message that is accepted, in bytes.
    pub max_message_bytes: usize,
    /// How long a call may take when its caller does not say.
    pub default_timeout: Duration,
}

/// The name under which health and reflection know the service.
pub const SERVICE: &str = SERVICE_NAME;

/// The largest message that those may send who show no key: many times the longest name.
const MAX_PUBLIC_MESSAGE_BYTES: usize = 16 * 1024;

/// The service as the generated server wants it: each method a line that leads to the operation's own file.
#[derive(Debug)]
struct Handlers {
    service: Arc<Service>,
}

#[tonic::async_trait]
impl DeviceAssignmentService for Handlers {
    async fn assign_devices_to_owner(
        &self,
        request: Request<pb::AssignDevicesToOwnerRequest>,
    ) -> Result<Response<pb::AssignDevicesToOwnerResponse>, Status> {
        assign_devices::handle(&self.service, request).await
    }
}

/// What the policies say of a call that they let through.
#[derive(Debug, Clone)]
struct Admitted {
    caller: Arc<Caller>,
    deadline: Instant,
    note: Arc<Note>,
}

/// Takes a request that came through the policies apart.
fn admitted<M>(request: Request<M>) -> Result<(Admitted, M), Status> {
    let extensions = request.extensions();
    let (deadline, note) = (extensions.get(), extensions.get::<Arc<Note>>());
    let caller = note.and_then(|note| note.caller());
    match (caller, deadline, note) {
        (Some(caller), Some(&Deadline(deadline)), Some(note)) => {
            let (caller, note) = (Arc::clone(caller), Arc::clone(note));
            Ok((Admitted { caller, deadline, note }, request.into_inner()))
        }
        _ => {
            let cause = Cause::new("a call came past the policies");
            Err(to_status(&Error::Internal(cause)))
        }
    }
}

/// Every method, with every policy: to be served on a listener, or called in the same process.
///
/// # Errors
/// When the descriptors that reflection serves are broken.
pub fn routes(
    service: Arc<Service>,
    settings: GrpcSettings,
) -> Result<(Routes, HealthReporter), tonic_reflection::server::Error> {
    let handlers = DeviceAssignmentServiceServer::new(Handlers {
        service: Arc::clone(&service),
    })
    .max_decoding_message_size(settings.max_message_bytes);
    let (health_reporter, health) = tonic_health::server::health_reporter();

    let router = Routes::new(handlers)
        .add_service(health.max_decoding_message_size(MAX_PUBLIC_MESSAGE_BYTES))
        .add_service(
            reflection()
                .build_v1()?
                .max_decoding_message_size(MAX_PUBLIC_MESSAGE_BYTES),
        )
        .add_service(
            reflection()
                .build_v1alpha()?
                .max_decoding_message_size(MAX_PUBLIC_MESSAGE_BYTES),
        )
        .into_axum_router();
    Ok((Routes::from(with_policies(router, service, settings)), health_reporter))
}

/// Puts before every method of `router` what every call must pass.
fn with_policies(router: Router, service: Arc<Service>, settings: GrpcSettings) -> Router {
    router.layer(from_fn_with_state(Arc::new(Policies { service, settings }), policies))
}

/// What the policies go by.
struct Policies {
    service: Arc<Service>,
    settings: GrpcSettings,
}

/// Every policy, the outermost first. One function and not a layer each, because a layer costs several allocations a call.
async fn policies(State(of): State<Arc<Policies>>, mut request: AxumRequest, next: Next) -> AxumResponse {
    let id = request_id::give(request.headers_mut());
    let method = Method::at(request.uri().path());
    let mut response = if authenticate::is_public(request.uri().path()) {
        // Probes call every few seconds, and among these methods are streams that are meant to stay open: no line in the
        // log, no deadline.
        let start = Instant::now();
        let response = panic::catch(next.run(request)).await;
        let response = refusal::rephrase(response, of.settings.max_message_bytes);
        if let Some(method) = method {
            method.record(code_of(response.headers()), start.elapsed());
        }
        response
    } else {
        let span = method.map_or_else(Span::none, |method| trace::call(request.headers(), method.name));
        let line = call_log::Line::begin(&mut request, id.clone(), span, of.service.log_sampler());
        let deadline = deadline::of(&request, of.settings.default_timeout);
        request.extensions_mut().insert(deadline);
        let call = carry_out(&of, request, next, line.note());
        let mut response = panic::catch(deadline::hold(deadline, call))
            // The inner one is what further spans are part of.
            .instrument(line.trace().clone())
            .instrument(line.span())
            .await;
        if let Some(caller) = line.note().caller() {
            rate_limit::tell(response.headers_mut(), caller);
        }
        line.finish(response.headers());
        response
    };
    response.headers_mut().insert(request_id::HEADER, id);
    response
}

/// Carries out a call if there is room for it, its key is good, and the key's limit not reached.
async fn carry_out(of: &Policies, request: AxumRequest, next: Next, note: &Note) -> AxumResponse {
    let headers = request.headers();
    let admit = async {
        let place = of.service.enter()?;
        let caller = Arc::new(authenticate::caller(&of.service, headers).await?);
        note.set_caller(Arc::clone(&caller));
        of.service.count_call(&caller)?;
        Ok(place)
    };
    match admit.await {
        Ok(_place) => refusal::rephrase(next.run(request).await, of.settings.max_message_bytes),
        Err(error) => to_status(&error).into_http(),
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // Without the types of the error details, grpcurl prints those as base64.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}

#[cfg(test)]
mod tests;
