//! Composition: settings, bound listeners and a shutdown signal become a running service. The only file that names every
//! room.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use axum::{Router, middleware::from_fn, serve::ListenerExt};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tonic::{
    service::Routes,
    transport::{Endpoint, Server, server::TcpIncoming},
};
use tower::util::MapRequestLayer;

use crate::{
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
    /// The largest request on either face, in bytes.
    pub max_request_bytes: usize,
    /// How long a call may take when its caller does not say.
    pub request_timeout: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            service: ServiceSettings::default(),
            max_request_bytes: 8 * 1024 * 1024,
            request_timeout: Duration::from_secs(10),
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
    /// The gRPC listener failed.
    #[error("gRPC: {0}")]
    Grpc(#[from] tonic::transport::Error),
    /// The REST listener failed.
    #[error("REST: {0}")]
    Rest(#[from] io::Error),
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
    let rest = gateway::router(
        routes.clone(),
        GatewaySettings {
            max_body_bytes: settings.max_request_bytes,
            upstream_timeout: settings.request_timeout + UPSTREAM_GRACE,
        },
    );

    let (stop, stopping) = watch::channel(false);
    let mut faces = JoinSet::new();
    faces.spawn(serve_grpc(listeners.grpc, routes, stopped(stopping.clone())));
    faces.spawn(serve_rest(listeners.rest, rest, stopped(stopping)));
    let result = run_until(shutdown, &mut faces).await;

    for name in ["", grpc::SERVICE] {
        health
            .set_service_status(name, tonic_health::ServingStatus::NotServing)
            .await;
    }
    let _ = stop.send(true);
    let result = result.and(drain(&mut faces).await);
    if tokio::time::timeout(DRAIN_WRITER, service.close()).await.is_err() {
        tracing::warn!("the writer did not finish in time; its last batches may not be answered");
    }
    if tokio::time::timeout(CLOSE, database.close()).await.is_err() {
        tracing::warn!("the database did not let go of its connections; they are cut");
    }
    result
}

/// Serves the REST face alone, for a service at the other end of `upstream`, until `shutdown`.
///
/// # Errors
/// As [`ServeError`] says.
pub async fn serve_gateway(
    upstream: Endpoint,
    settings: ServerSettings,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let channel = upstream
        .tcp_nodelay(true)
        .connect_timeout(settings.request_timeout)
        .connect_lazy();
    let rest = gateway::router(
        channel,
        GatewaySettings {
            max_body_bytes: settings.max_request_bytes,
            upstream_timeout: settings.request_timeout + UPSTREAM_GRACE,
        },
    );
    let rest = rest.layer(from_fn(gateway::access_log::layer));
    let (stop, stopping) = watch::channel(false);
    let mut faces = JoinSet::new();
    faces.spawn(serve_rest(listener, rest, stopped(stopping)));
    let result = run_until(shutdown, &mut faces).await;
    let _ = stop.send(true);
    result.and(drain(&mut faces).await)
}

type Faces = JoinSet<Result<(), ServeError>>;

async fn serve_grpc(
    listener: TcpListener,
    routes: Routes,
    stopped: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .layer(MapRequestLayer::new(grpc::note_arrival))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stopped)
        .await?;
    Ok(())
}

async fn serve_rest(
    listener: TcpListener,
    router: Router,
    stopped: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    axum::serve(listener, router).with_graceful_shutdown(stopped).await?;
    Ok(())
}

/// Returns when `shutdown` does, or when a face fails before.
async fn run_until(shutdown: impl Future<Output = ()>, faces: &mut Faces) -> Result<(), ServeError> {
    let mut shutdown = pin!(shutdown);
    tokio::select! {
        () = &mut shutdown => Ok(()),
        Some(face) = faces.join_next() => face.unwrap_or_else(|error| Err(io::Error::other(error).into())),
    }
}

/// Waits until every connection is done, but not for ever: a peer may hold one open and be silent.
async fn drain(faces: &mut Faces) -> Result<(), ServeError> {
    let all_done = async {
        while let Some(face) = faces.join_next().await {
            face.unwrap_or_else(|error| Err(io::Error::other(error).into()))?;
        }
        Ok(())
    };
    if let Ok(result) = tokio::time::timeout(DRAIN, all_done).await {
        return result;
    }
    tracing::warn!("some connections did not finish in time; they are cut");
    faces.shutdown().await;
    Ok(())
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
