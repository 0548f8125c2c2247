//! Composition: settings, bound listeners and a shutdown signal become a running service. The only file that names every
//! room.

mod connections;
mod flood;
mod http1_heads;
mod protocol;
mod readiness;
mod sending;
mod tls;

use std::{future::Future, sync::Arc, time::Duration};

use axum::{http::HeaderValue, middleware::from_fn_with_state};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use self::{connections::Terms, protocol::Protocol, readiness::Beacon};
pub use self::{
    connections::{ConnectionSettings, TrustedProxies},
    tls::{FaceTls, IdentityFiles, TlsError, Upstream, UpstreamFiles, UpstreamTls},
};

use crate::{
    admin::{self, Readiness},
    domain::Error,
    gateway::{self, GatewaySettings},
    grpc::{self, GrpcSettings},
    log_sampler::LogSampler,
    service::{Service, ServiceSettings},
    shares::Shares,
    storage::{self, Database, HealthSettings},
    telemetry::{Exposition, metrics},
};

/// How long connections may take to finish what they are doing once the service stops; the writer and the last traces have
/// the rest of the ten seconds within which the program ends.
const DRAIN: Duration = Duration::from_secs(7);
/// How long the writer may take to carry out what still waits after that.
const DRAIN_WRITER: Duration = Duration::from_millis(1_500);
/// How long closing the connections to the database may take: it waits for a database that may be silent.
const CLOSE: Duration = Duration::from_millis(200);
/// What the gateway waits beyond the deadline that the service keeps: the service's own answer says more.
const UPSTREAM_GRACE: Duration = Duration::from_secs(1);

/// What a running service allows itself and its callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// The use cases.
    pub service: ServiceSettings,
    /// What peers may take, on each face.
    pub connections: ConnectionSettings,
    /// The proxies that are believed when they say for whom they ask.
    pub trusted_proxies: TrustedProxies,
    /// The origins whose web pages may call the REST API (CORS).
    pub cors_origins: Arc<[HeaderValue]>,
    /// The largest request on either face, in bytes.
    pub max_request_bytes: usize,
    /// The largest answer, in bytes: a call is refused before it is carried out if its answer could be larger.
    pub max_answer_bytes: usize,
    /// The most bytes that requests and answers in flight hold. An organization, and an address, may have no more of them than
    /// are left for all others.
    pub max_bytes_in_flight: usize,
    /// The most calls without a key in flight.
    pub max_keyless_calls: usize,
    /// How long the body of a request may take to arrive.
    pub body_timeout: Duration,
    /// How long a call may take when its caller does not say.
    pub request_timeout: Duration,
    /// How long a call may take whatever its caller says.
    pub max_request_timeout: Duration,
    /// How closely what it depends on is watched: the database, or the service that it is the gateway of.
    pub health: HealthSettings,
    /// How long everybody is still served after it was asked to stop, while nobody should send it work any more.
    pub shutdown_grace: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            service: ServiceSettings::default(),
            connections: ConnectionSettings::default(),
            trusted_proxies: Arc::default(),
            cors_origins: Arc::default(),
            max_request_bytes: 8 * 1024 * 1024,
            max_answer_bytes: 8 * 1024 * 1024,
            max_bytes_in_flight: 64 * 1024 * 1024,
            max_keyless_calls: 1_000,
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(10),
            max_request_timeout: Duration::from_secs(60),
            health: HealthSettings::default(),
            shutdown_grace: Duration::ZERO,
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
            max_devices_per_request: self.service.max_devices_per_request,
            cors_origins: Arc::clone(&self.cors_origins),
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
    /// What callers have to speak; operators never.
    pub tls: Option<FaceTls>,
}

/// The sockets that a gateway is reached at.
#[derive(Debug)]
pub struct GatewayListeners {
    /// For REST.
    pub rest: TcpListener,
    /// For operators.
    pub admin: Option<TcpListener>,
    /// What callers have to speak; operators never.
    pub tls: Option<FaceTls>,
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

/// Serves both faces until `shutdown`; then says so to whoever asks whether it is ready, and after the grace takes no new
/// connections, finishes and answers what is under way, and returns. `figures` are what operators see, where they are
/// collected.
///
/// # Errors
/// As [`ServeError`] says.
pub async fn serve(
    database: Database,
    settings: ServerSettings,
    listeners: Listeners,
    figures: Option<Exposition>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let in_flight = Shares::new(settings.max_bytes_in_flight);
    let log_sampler = Arc::<LogSampler>::default();
    let service = Service::start(database.clone(), settings.service, Arc::clone(&log_sampler)).await?;
    let service = Arc::new(service);
    let (routes, health) = grpc::routes(
        Arc::clone(&service),
        GrpcSettings {
            max_message_bytes: settings.max_request_bytes,
            max_answer_bytes: settings.max_answer_bytes,
            body_timeout: settings.body_timeout,
            default_timeout: settings.request_timeout,
            max_timeout: settings.max_request_timeout,
            max_keyless_calls: settings.max_keyless_calls,
        },
        in_flight.clone(),
    )?;
    let (beacon, readiness) = Beacon::new(Some(health)).await;
    let rest = gateway::router(routes.clone(), settings.gateway(), in_flight);

    let figures = figures.map(|figures| {
        let database = database.clone();
        // Whoever starts the service has reached it.
        metrics::database_up(true);
        figures.looking(move || database.count_connections())
    });
    let _admin = Admin::start(listeners.admin, figures, settings.connections, readiness);
    let mut watching = JoinSet::new();
    watching.spawn(storage::watch(database.clone(), settings.health));
    watching.spawn(keep_telling(Arc::clone(&log_sampler)));
    let (stop, stopping) = watch::channel(false);
    let mut faces = JoinSet::new();
    for (listener, router, protocol) in [
        (listeners.grpc, routes.into_axum_router(), Protocol::Grpc),
        (listeners.rest, rest, Protocol::Rest),
    ] {
        let terms = Terms {
            tls: listeners.tls.clone(),
            settings: settings.connections,
            trusted_proxies: Arc::clone(&settings.trusted_proxies),
            stopping: stopping.clone(),
        };
        faces.spawn(connections::serve(listener, router, protocol, terms));
    }
    tokio::select! {
        () = beacon.follow_database(database.health()) => {}
        () = shutdown => {}
    }

    beacon.show(Readiness::Draining).await;
    tokio::time::sleep(settings.shutdown_grace).await;
    beacon.go_out().await;
    let _ = stop.send(true);
    drain(&mut faces).await;
    if tokio::time::timeout(DRAIN_WRITER, service.close()).await.is_err() {
        tracing::warn!("the writer did not finish in time; its last batches may not be answered");
    }
    // Not before: calls that wait are told when the database goes away.
    watching.shutdown().await;
    log_sampler.tell();
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
    upstream: Upstream,
    settings: ServerSettings,
    listeners: GatewayListeners,
    figures: Option<Exposition>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let channel = upstream.channel(settings.request_timeout);
    let in_flight = Shares::new(settings.max_bytes_in_flight);
    let rest = gateway::router(channel.clone(), settings.gateway(), in_flight);
    let log_sampler = Arc::<LogSampler>::default();
    let access_log = from_fn_with_state(Arc::clone(&log_sampler), gateway::access_log::layer);
    let rest = rest.layer(access_log);
    let mut telling = JoinSet::new();
    telling.spawn(keep_telling(Arc::clone(&log_sampler)));
    let (beacon, readiness) = Beacon::new(None).await;
    let _admin = Admin::start(listeners.admin, figures, settings.connections, readiness);
    let (stop, stopping) = watch::channel(false);
    let mut faces = JoinSet::new();
    let terms = Terms {
        tls: listeners.tls,
        settings: settings.connections,
        trusted_proxies: settings.trusted_proxies,
        stopping,
    };
    faces.spawn(connections::serve(listeners.rest, rest, Protocol::Rest, terms));
    tokio::select! {
        () = beacon.follow_upstream(channel, settings.health) => {}
        () = shutdown => {}
    }

    beacon.show(Readiness::Draining).await;
    tokio::time::sleep(settings.shutdown_grace).await;
    let _ = stop.send(true);
    drain(&mut faces).await;
    log_sampler.tell();
    Ok(())
}

async fn keep_telling(log_sampler: Arc<LogSampler>) {
    log_sampler.keep_telling().await;
}

/// The listener for operators: it answers until the very end, also while the others are drained, and ends when it is
/// dropped.
struct Admin {
    _stop: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Admin {
    fn start(
        listener: Option<TcpListener>,
        figures: Option<Exposition>,
        settings: ConnectionSettings,
        readiness: watch::Receiver<Readiness>,
    ) -> Self {
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        if let Some(figures) = figures.clone() {
            tasks.spawn(figures.keep_up());
        }
        if let Some(listener) = listener {
            let terms = Terms {
                tls: None,
                settings,
                trusted_proxies: TrustedProxies::default(),
                stopping,
            };
            let router = gateway::with_valid_host(admin::router(readiness, figures));
            tasks.spawn(connections::serve(listener, router, Protocol::Admin, terms));
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
