//! Composition: settings, bound listeners and a shutdown future become a running service.

mod connections;
mod flood;
mod http1_heads;
mod protocol;
mod readiness;
mod sending;
mod tls;
mod upstream_connections;

use std::{future::Future, iter, sync::Arc, time::Duration};

use axum::{Router, http::HeaderValue, middleware::from_fn_with_state};
use futures_util::future::select_all;
use tokio::{net::TcpListener, sync::watch};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::tls::fuzz as fuzz_pem;
use self::{
    connections::ListenerSettings, protocol::Protocol, readiness::ReadinessReporter,
    upstream_connections::UpstreamConnections,
};
pub use self::{
    connections::{ConnectionSettings, TrustedProxies},
    tls::{IdentityFiles, ListenerTls, TlsError, Upstream, UpstreamFiles, UpstreamTls},
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
    supervision::{Supervisor, Tasks},
    telemetry::{Exposition, metrics},
};

/// How long connections have to finish once the service stops. The writer, the last traces and the last lines of the log get
/// the rest of the ten seconds within which the program ends.
const DRAIN: Duration = Duration::from_millis(5_500);
/// How long the writer then has to commit the calls that still wait.
const DRAIN_WRITER: Duration = Duration::from_millis(1_500);
/// How long closing the database connections may take: the database may not answer.
const CLOSE: Duration = Duration::from_millis(200);
/// How much longer than the service's deadline the gateway waits: the service's own error is more precise.
const UPSTREAM_GRACE: Duration = Duration::from_secs(1);

/// The settings of a running service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Settings of the use cases.
    pub service: ServiceSettings,
    /// Limits of connections, for each listener.
    pub connections: ConnectionSettings,
    /// The proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: TrustedProxies,
    /// The origins whose web pages may call the REST API (CORS).
    pub cors_origins: Arc<[HeaderValue]>,
    /// Whether the REST API serves the console.
    pub console: bool,
    /// The largest request over gRPC and REST, in bytes.
    pub max_request_bytes: usize,
    /// The largest response, in bytes. A call whose response could be larger is rejected before it changes anything.
    pub max_answer_bytes: usize,
    /// The most bytes that requests and responses in flight may hold. An organization or a network may hold no more than
    /// is left for all others.
    pub max_bytes_in_flight: usize,
    /// The most calls without an API key in flight.
    pub max_keyless_calls: usize,
    /// How long the body of a request may take to arrive.
    pub body_timeout: Duration,
    /// The deadline of a call that sets none.
    pub request_timeout: Duration,
    /// The longest deadline that a call may set.
    pub max_request_timeout: Duration,
    /// How often the database, or the upstream of a gateway, is checked.
    pub health: HealthSettings,
    /// How long requests are still served after a stop was requested, while the service reports that it is not ready.
    pub shutdown_grace: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            service: ServiceSettings::default(),
            connections: ConnectionSettings::default(),
            trusted_proxies: Arc::default(),
            cors_origins: Arc::default(),
            console: true,
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
    /// The settings of the REST gateway in the service's process.
    pub fn gateway(&self) -> GatewaySettings {
        GatewaySettings {
            max_body_bytes: self.max_request_bytes,
            body_timeout: self.body_timeout,
            upstream_timeout: self.request_timeout + UPSTREAM_GRACE,
            max_devices_per_request: self.service.max_devices_per_request,
            cors_origins: Arc::clone(&self.cors_origins),
            console: self.console,
        }
    }
}

/// The listening sockets of a service.
#[derive(Debug)]
pub struct Listeners {
    /// For gRPC.
    pub grpc: TcpListener,
    /// For REST.
    pub rest: TcpListener,
    /// For operators.
    pub admin: Option<TcpListener>,
    /// TLS for clients; the admin listener never uses it.
    pub tls: Option<ListenerTls>,
}

/// The listening sockets of a gateway.
#[derive(Debug)]
pub struct GatewayListeners {
    /// For REST.
    pub rest: TcpListener,
    /// For operators.
    pub admin: Option<TcpListener>,
    /// TLS for clients; the admin listener never uses it.
    pub tls: Option<ListenerTls>,
}

/// Why a service could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The service did not start.
    #[error(transparent)]
    Service(#[from] Error),
    /// The descriptors for reflection are invalid.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A task that the process needs has failed, see `ARCHITECTURE.md`.
    #[error("stopped because the task {0} failed; its errors are in the log")]
    TaskFailed(&'static str),
}

/// Serves gRPC and REST until `shutdown`. Then it reports that it is not ready, serves on for the grace period, stops to
/// accept connections, finishes the calls in flight, and returns. The metrics of `exposition` are served to operators.
/// If a task fails that the service needs, it stops in the same way, and returns [`ServeError::TaskFailed`].
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(
    database: Database,
    settings: ServerSettings,
    listeners: Listeners,
    exposition: Option<Exposition>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let in_flight = Shares::new(settings.max_bytes_in_flight);
    let log_sampler = Arc::<LogSampler>::default();
    let supervisor = Supervisor::default();
    let service = Service::start(
        database.clone(),
        settings.service,
        Arc::clone(&log_sampler),
        &supervisor,
    );
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
    let (reporter, readiness) = ReadinessReporter::new(Some(health)).await;
    let rest = gateway::router(routes.clone(), settings.gateway(), in_flight);

    let exposition = exposition.map(|exposition| {
        let database = database.clone();
        // The service has just started on it.
        metrics::database_up(true);
        exposition.before_rendering(move || database.count_connections())
    });
    let _admin = AdminServer::start(
        listeners.admin,
        exposition,
        settings.connections,
        readiness,
        &supervisor,
    );
    let mut background = Tasks::new(&supervisor);
    background.keep_running("health_check", {
        let database = database.clone();
        move || storage::watch(database.clone(), settings.health)
    });
    if let Some(replica) = database.replica().cloned() {
        metrics::replica_up(true);
        background.keep_running("replica_health_check", move || {
            storage::watch(replica.clone(), settings.health)
        });
    }
    keep_logging(&mut background, &log_sampler);
    let (stop, stopping) = watch::channel(false);
    let mut listening = Tasks::new(&supervisor);
    for (socket, router, protocol) in [
        (listeners.grpc, routes.into_axum_router(), Protocol::Grpc),
        (listeners.rest, rest, Protocol::Rest),
    ] {
        let listener = ListenerSettings {
            tls: listeners.tls.clone(),
            settings: settings.connections,
            trusted_proxies: Arc::clone(&settings.trusted_proxies),
            stopping: stopping.clone(),
        };
        listen(&mut listening, socket, router, protocol, listener);
    }
    let failed = tokio::select! {
        () = reporter.follow_database(database.health()) => None,
        () = shutdown => None,
        failed = failure(&supervisor, listeners.tls.as_ref().map(ListenerTls::supervisor)) => Some(failed),
    };
    supervisor.stop();

    reporter.set(Readiness::Draining).await;
    tokio::time::sleep(settings.shutdown_grace).await;
    reporter.set_not_ready().await;
    service.end_streams();
    let _ = stop.send(true);
    drain(&mut listening).await;
    if tokio::time::timeout(DRAIN_WRITER, service.close()).await.is_err() {
        tracing::warn!("the writer did not finish in time; the last calls may get no response");
    }
    // Only now: until the writer has finished, waiting calls must learn when the database goes away.
    background.shut_down().await;
    log_sampler.log_left_out();
    if tokio::time::timeout(CLOSE, database.close()).await.is_err() {
        tracing::warn!("the database connections did not close in time; they are dropped");
    }
    failed.map_or(Ok(()), |failed| Err(ServeError::TaskFailed(failed)))
}

/// Serves REST for the service at `upstream` until `shutdown`.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve_gateway(
    upstream: Upstream,
    settings: ServerSettings,
    listeners: GatewayListeners,
    exposition: Option<Exposition>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let upstream_tls = upstream.tls.as_ref().map(|tls| tls.supervisor().clone());
    let upstream = UpstreamConnections::new(|| upstream.channel(settings.request_timeout));
    let in_flight = Shares::new(settings.max_bytes_in_flight);
    let rest = gateway::router(upstream.clone(), settings.gateway(), in_flight);
    let log_sampler = Arc::<LogSampler>::default();
    let access_log = from_fn_with_state(Arc::clone(&log_sampler), gateway::access_log::layer);
    let rest = rest.layer(access_log);
    let supervisor = Supervisor::default();
    let mut background = Tasks::new(&supervisor);
    keep_logging(&mut background, &log_sampler);
    let (reporter, readiness) = ReadinessReporter::new(None).await;
    let _admin = AdminServer::start(
        listeners.admin,
        exposition,
        settings.connections,
        readiness,
        &supervisor,
    );
    let (stop, stopping) = watch::channel(false);
    let mut listening = Tasks::new(&supervisor);
    let listener = ListenerSettings {
        tls: listeners.tls.clone(),
        settings: settings.connections,
        trusted_proxies: settings.trusted_proxies,
        stopping,
    };
    listen(&mut listening, listeners.rest, rest, Protocol::Rest, listener);
    let tls = [
        listeners.tls.as_ref().map(ListenerTls::supervisor),
        upstream_tls.as_ref(),
    ];
    let failed = tokio::select! {
        () = reporter.follow_upstream(upstream, settings.health) => None,
        () = shutdown => None,
        failed = failure(&supervisor, tls.into_iter().flatten()) => Some(failed),
    };
    supervisor.stop();

    reporter.set(Readiness::Draining).await;
    tokio::time::sleep(settings.shutdown_grace).await;
    let _ = stop.send(true);
    drain(&mut listening).await;
    log_sampler.log_left_out();
    failed.map_or(Ok(()), |failed| Err(ServeError::TaskFailed(failed)))
}

/// Waits until a task of the process or of its TLS fails, and returns its name.
async fn failure<'s>(supervisor: &'s Supervisor, tls: impl IntoIterator<Item = &'s Supervisor>) -> &'static str {
    let failures = iter::once(supervisor)
        .chain(tls)
        .map(|supervisor| Box::pin(supervisor.failure()));
    select_all(failures).await.0
}

fn keep_logging(background: &mut Tasks, log_sampler: &Arc<LogSampler>) {
    let log_sampler = Arc::clone(log_sampler);
    background.keep_running("log_summary", move || {
        let log_sampler = Arc::clone(&log_sampler);
        async move { log_sampler.keep_logging().await }
    });
}

/// Starts a listener. It cannot be started again, because its connections end with it.
fn listen(listening: &mut Tasks, socket: TcpListener, router: Router, protocol: Protocol, listener: ListenerSettings) {
    let name = match protocol {
        Protocol::Grpc => "grpc_listener",
        Protocol::Rest => "rest_listener",
        Protocol::Admin => "admin_listener",
    };
    listening.run_once(name, connections::serve(socket, router, protocol, listener));
}

/// The admin listener. It serves until it is dropped, so also while the other listeners drain.
struct AdminServer {
    _stop: watch::Sender<bool>,
    _tasks: Tasks,
}

impl AdminServer {
    fn start(
        socket: Option<TcpListener>,
        exposition: Option<Exposition>,
        settings: ConnectionSettings,
        readiness: watch::Receiver<Readiness>,
        supervisor: &Supervisor,
    ) -> Self {
        let (stop, stopping) = watch::channel(false);
        let mut tasks = Tasks::new(supervisor);
        if let Some(exposition) = exposition.clone() {
            tasks.keep_running("metrics_upkeep", move || exposition.clone().run_upkeep());
        }
        if let Some(socket) = socket {
            let listener = ListenerSettings {
                tls: None,
                settings,
                trusted_proxies: TrustedProxies::default(),
                stopping,
            };
            let router = gateway::with_valid_host(admin::router(readiness, exposition));
            listen(&mut tasks, socket, router, Protocol::Admin, listener);
        }
        Self {
            _stop: stop,
            _tasks: tasks,
        }
    }
}

/// Waits until every connection is closed, for a bounded time: a silent peer may hold one open.
async fn drain(listening: &mut Tasks) {
    if tokio::time::timeout(DRAIN, listening.ended()).await.is_err() {
        tracing::warn!("some connections did not finish in time; they are closed");
        listening.shut_down().await;
    }
}
