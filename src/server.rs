//! Composition: settings, bound listeners and a shutdown signal become a running service. The only file that names every
//! room.

mod connections;

use std::{future::Future, sync::Arc, time::Duration};

use axum::middleware::from_fn;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tonic::transport::Endpoint;

pub use self::connections::ConnectionSettings;
use self::connections::Protocol;

use crate::{
    admin,
    domain::Error,
    gateway::{self, GatewaySettings},
    grpc::{self, GrpcSettings},
    service::{Service, ServiceSettings},
    storage::Database,
};

/// How long connections may take to finish what they are doing once the service stops; the writer has the rest of the ten
/// seconds within which the program ends.
const DRAIN: Duration = Duration::from_secs(8);
/// How long the writer may take to carry out what still waits after that.
const DRAIN_WRITER: Duration = Duration::from_millis(1_500);
/// How long closing the connections to the database may take: it waits for a database that may be silent.
const CLOSE: Duration = Duration::from_millis(200);
/// What the gateway waits beyond the deadline that the service keeps: the service's own answer says more.
const UPSTREAM_GRACE: Duration = Duration::from_secs(1);

/// What a running service allows itself and its callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerSettings {
    /// The use cases.
    pub service: ServiceSettings,
    /// What peers may take, on each face.
    pub connections: ConnectionSettings,
    /// The largest request on either face, in bytes.
    pub max_request_bytes: usize,
    /// How long the body of a REST request may take to arrive. (That of a gRPC call counts among the call's time.)
    pub body_timeout: Duration,
    /// How long a call may take when its caller does not say.
    pub request_timeout: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            service: ServiceSettings::default(),
            connections: ConnectionSettings::default(),
            max_request_bytes: 8 * 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
        }
    }
}

impl ServerSettings {
    /// What the REST face in the service's process is told.
    pub fn gateway(&self) -> GatewaySettings {
        GatewaySettings {
            max_body_bytes: self.max_request_bytes,
            body_timeout: self.body_timeout,
            upstream_timeout: self.request_timeout + UPSTREAM_GRACE,
            max_devices_per_request: Some(self.service.max_devices_per_request),
        }
    }
}

/// The sockets that a service is reached at.
#[derive(Debug)]
pub struct Listeners {
    /// For gRPC.
    pub grpc: TcpListener,
    /// For REST.
    pub rest: TcpListener,
    /// For operators.
    pub admin: Option<TcpListener>,
}

/// The sockets that a gateway is reached at.
#[derive(Debug)]
pub struct GatewayListeners {
    /// For REST.
    pub rest: TcpListener,
    /// For operators.
    pub admin: Option<TcpListener>,
}

/// Why a service could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The use cases did not start.
    #[error(transparent)]
    Service(#[from] Error),
    /// The descriptors that reflection serves are broken.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves both faces until `shutdown`; then takes no new connections, finishes and answers what is under way, and
/// returns.
///
/// # Errors
/// As [`ServeError`] says.
pub async fn serve(
    database: Database,
    settings: ServerSettings,
    listeners: Listeners,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let service = Arc::new(Service::start(database.clone(), settings.service).await?);
    let (routes, health) = grpc::routes(
        Arc::clone(&service),
        GrpcSettings {
            max_message_bytes: settings.max_request_bytes,
            default_timeout: settings.request_timeout,
        },
    )?;
    health
        .set_service_status(grpc::SERVICE, tonic_health::ServingStatus::Serving)
        .await;
    let rest = gateway::router(routes.clone(), settings.gateway());

    let _admin = Admin::start(listeners.admin, settings.connections);
    let (stop, stopping) = watch::channel(false);
    let mut faces = JoinSet::new();
    for (listener, router, protocol) in [
        (listeners.grpc, routes.into_axum_router(), Protocol::Grpc),
        (listeners.rest, rest, Protocol::Rest),
    ] {
        let stopping = stopping.clone();
        faces.spawn(connections::serve(
            listener,
            router,
            protocol,
            settings.connections,
            stopping,
        ));
    }
    shutdown.await;

    for name in ["", grpc::SERVICE] {
        health
            .set_service_status(name, tonic_health::ServingStatus::NotServing)
            .await;
    }
    let _ = stop.send(true);
    drain(&mut faces).await;
    if tokio::time::timeout(DRAIN_WRITER, service.close()).await.is_err() {
        tracing::warn!("the writer did not finish in time; its last batches may not be answered");
    }
    if tokio::time::timeout(CLOSE, database.close()).await.is_err() {
        tracing::warn!("the database did not let go of its connections; they are cut");
    }
    Ok(())
}

/// Serves the REST face alone, for a service at the other end of `upstream`, until `shutdown`.
///
/// # Errors
/// As [`ServeError`] says.
pub async fn serve_gateway(
    upstream: Endpoint,
    settings: ServerSettings,
    listeners: GatewayListeners,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let channel = upstream
        .tcp_nodelay(true)
        .connect_timeout(settings.request_timeout)
        .connect_lazy();
    let rest = gateway::router(
        channel,
        GatewaySettings {
            max_devices_per_request: None,
            ..settings.gateway()
        },
    );
    let rest = rest.layer(from_fn(gateway::access_log::layer));
    let _admin = Admin::start(listeners.admin, settings.connections);
    let (stop, stopping) = watch::channel(false);
    let mut faces = JoinSet::new();
    faces.spawn(connections::serve(
        listeners.rest,
        rest,
        Protocol::Rest,
        settings.connections,
        stopping,
    ));
    shutdown.await;
    let _ = stop.send(true);
    drain(&mut faces).await;
    Ok(())
}

/// The listener for operators: it answers until the very end, also while the others are drained, and ends when it is
/// dropped.
struct Admin {
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Admin {
    fn start(listener: Option<TcpListener>, settings: ConnectionSettings) -> Self {
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        if let Some(listener) = listener {
            tasks.spawn(connections::serve(
                listener,
                admin::router(),
                Protocol::Rest,
                settings,
                stopping,
            ));
        }
        Self {
            _stop: stop,
            _tasks: tasks,
        }
    }
}

/// Waits until every connection is done, but not for ever: a peer may hold one open and be silent.
async fn drain(faces: &mut JoinSet<()>) {
    let all_done = async { while faces.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, all_done).await.is_err() {
        tracing::warn!("some connections did not finish in time; they are cut");
        faces.shutdown().await;
    }
}
