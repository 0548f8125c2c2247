use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
};

use clap::Args;
use tokio::net::TcpListener;

use super::{CommandError, Signals, connect, tls, welcome::Welcome};
use crate::{
    config::{
        AdminAddr, AdminConfig, Conflict, ConnectionsConfig, DatabaseConfig, EMBEDDED_DATABASE, HealthConfig,
        LimitsConfig, RateLimitsConfig, ServeConfig, TlsConfig, TraceConfig,
    },
    server::{self, ConnectionSettings, Listeners, ServerSettings},
    service::{KeyUsageSettings, Limit, LimitSettings, ServiceSettings, organizations},
    storage::{HealthSettings, WriterSettings},
    telemetry::Exposition,
};

#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    database: DatabaseConfig,

    #[command(flatten)]
    config: ServeConfig,
}

impl Serve {
    pub(super) fn traces(&self) -> &TraceConfig {
        &self.config.traces
    }

    pub(super) async fn run(self) -> Result<ExitCode, CommandError> {
        let Self { database: at, config } = self;
        log_start();
        // Before anything is created or changed.
        let tls = tls::of_listeners(&config.tls)?;
        let figures = collect_figures(&config.admin)?;
        let database = if config.migrate {
            let database = connect::connect(&at).await?;
            connect::migrate(&database).await?;
            database
        } else {
            connect::connect_ready(&at).await?
        };
        let listeners = Listeners {
            grpc: bind(config.grpc_addr, "--grpc-addr (GRPC_ADDR)").await?,
            rest: bind(config.rest_addr, "--rest-addr (REST_ADDR)").await?,
            admin: bind_admin(&config.admin).await?,
            tls,
        };
        let grpc = local_addr(&listeners.grpc)?;
        let rest = local_addr(&listeners.rest)?;
        let welcome = if at.database_url == EMBEDDED_DATABASE {
            Welcome::prepare(&database).await?
        } else {
            if organizations(&database).await?.is_empty() {
                tracing::warn!(
                    "there is no organization yet; create one with `device-assignment organization create NAME`, \
                     and a key for it with `device-assignment api-key create --organization NAME`"
                );
            }
            None
        };
        // Whoever reads that the program listens may stop it at once.
        let signals = Signals::catch();
        let has_tls = listeners.tls.is_some();
        log_listening("grpc", grpc, has_tls);
        log_listening("rest", rest, has_tls);
        log_admin(listeners.admin.as_ref())?;
        if let Some(welcome) = welcome {
            welcome.show(grpc, rest, &config.tls)?;
        }
        let service = service_settings(&config);
        let settings = ServerSettings {
            max_answer_bytes: config.max_answer_bytes,
            max_request_timeout: config.max_request_timeout,
            max_keyless_calls: config.rate_limits.max_keyless_calls,
            ..settings(
                service,
                &config.limits,
                &config.connections,
                &config.health,
                &config.tls,
            )
        };
        signals
            .stop(|asked| server::serve(database, settings, listeners, figures, asked))
            .await
    }

    /// What is right by itself and does not go together.
    pub(super) fn conflicts(&self) -> Vec<Conflict> {
        let callers = [
            ("grpc-addr", self.config.grpc_addr),
            ("rest-addr", self.config.rest_addr),
        ];
        let mut conflicts = shared_addresses(callers.into_iter().chain(admin_listener(&self.config.admin)));
        conflicts.extend(self.config.tls.conflicts(&callers));
        let most = self.config.limits.max_devices_per_request;
        if devices_limit(&self.config.rate_limits).is_some_and(|limit| (limit.burst() as usize) < most) {
            conflicts.push(Conflict {
                settings: vec!["key-devices-burst", "max-devices-per-request"],
                problem: "the largest request could never be made; raise the burst or lower the other".into(),
            });
        }
        // Of the bytes in flight, one organization alone may have half.
        let largest = self
            .config
            .limits
            .max_request_bytes
            .saturating_add(self.config.max_answer_bytes);
        if self.config.limits.max_bytes_in_flight / 2 < largest {
            conflicts.push(Conflict {
                settings: vec!["max-bytes-in-flight", "max-request-bytes", "max-answer-bytes"],
                problem:
                    "the largest request and its answer need room for twice their bytes; raise the first or lower the \
                          others"
                        .into(),
            });
        }
        if self.config.max_request_timeout < self.config.limits.request_timeout {
            conflicts.push(Conflict {
                settings: vec!["max-request-timeout", "request-timeout"],
                problem: "no call would get the time that it gets without asking; raise the first or lower the other"
                    .into(),
            });
        }
        conflicts
    }
}

/// The admin listener's setting and address, if there is one.
pub(super) fn admin_listener(config: &AdminConfig) -> Option<(&'static str, SocketAddr)> {
    match config.admin_addr {
        AdminAddr::Off => None,
        AdminAddr::At(address) => Some(("admin-addr", address)),
    }
}

/// Listeners that would take each other's address.
pub(super) fn shared_addresses(listeners: impl Iterator<Item = (&'static str, SocketAddr)>) -> Vec<Conflict> {
    let listeners: Vec<_> = listeners.collect();
    let mut conflicts = Vec::new();
    for (index, (name, address)) in listeners.iter().enumerate() {
        for (other, _) in listeners.iter().skip(index + 1).filter(|(_, other)| other == address) {
            // Port 0 is a free one for each.
            if address.port() != 0 {
                conflicts.push(Conflict {
                    settings: vec![*name, *other],
                    problem: format!("both are {address}; each listener needs an address of its own"),
                });
            }
        }
    }
    conflicts
}

/// The limit on the devices of a key.
fn devices_limit(limits: &RateLimitsConfig) -> Option<Limit> {
    Limit::per_second(limits.key_devices_per_second, limits.key_devices_burst)
}

/// What the use cases allow.
fn service_settings(config: &ServeConfig) -> ServiceSettings {
    let (limits, keys) = (&config.rate_limits, &config.keys);
    ServiceSettings {
        max_devices_per_request: config.limits.max_devices_per_request,
        key_usage: KeyUsageSettings {
            interval: keys.key_usage_interval,
            expiry_warning: keys.key_expiry_warning,
        },
        limits: LimitSettings {
            calls: Limit::per_second(limits.key_calls_per_second, limits.key_calls_burst),
            devices: devices_limit(limits),
            failed_keys: Limit::per_second(limits.failed_keys_per_second, limits.failed_keys_burst),
            max_in_flight: (limits.max_in_flight > 0).then_some(limits.max_in_flight),
        },
        writer: WriterSettings {
            lanes: limits.writer_lanes,
            queue_calls: limits.queue_calls,
            queue_devices: limits.queue_devices,
            ..WriterSettings::default()
        },
        ..ServiceSettings::default()
    }
}

/// What a server allows, as `serve` and `gateway` are told alike.
pub(super) fn settings(
    service: ServiceSettings,
    limits: &LimitsConfig,
    connections: &ConnectionsConfig,
    health: &HealthConfig,
    tls: &TlsConfig,
) -> ServerSettings {
    ServerSettings {
        service,
        connections: ConnectionSettings {
            max_connections: connections.max_connections,
            handshake_timeout: tls.tls_handshake_timeout,
            head_timeout: connections.head_timeout,
            write_timeout: connections.write_timeout,
            max_streams: connections.max_streams,
            max_local_resets: connections.max_local_resets,
            max_pending_resets: connections.max_pending_resets,
            max_control_frames: connections.max_control_frames,
            max_head_bytes: connections.max_head_bytes,
            keepalive_interval: connections.keepalive_interval,
            keepalive_timeout: connections.keepalive_timeout,
            max_age: connections.max_connection_age,
            max_age_grace: connections.max_connection_age_grace,
        },
        trusted_proxies: connections.trusted_proxies.clone().into(),
        max_request_bytes: limits.max_request_bytes,
        max_bytes_in_flight: limits.max_bytes_in_flight,
        body_timeout: connections.body_timeout,
        request_timeout: limits.request_timeout,
        health: HealthSettings {
            interval: health.health_interval,
            timeout: health.health_timeout,
        },
        shutdown_grace: health.shutdown_grace,
        ..ServerSettings::default()
    }
}

/// Where a client on this machine reaches a listener on every address.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other.ip(),
    };
    SocketAddr::new(ip, address.port())
}

pub(super) async fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener, CommandError> {
    TcpListener::bind(address).await.map_err(|error| {
        CommandError::Failed(format!(
            "cannot listen on {address} ({error}); set {setting} to another address"
        ))
    })
}

pub(super) async fn bind_admin(config: &AdminConfig) -> Result<Option<TcpListener>, CommandError> {
    match config.admin_addr {
        AdminAddr::Off => Ok(None),
        AdminAddr::At(address) => Ok(Some(bind(address, "--admin-addr (ADMIN_ADDR)").await?)),
    }
}

/// Collects figures, where there is a listener that shows them.
pub(super) fn collect_figures(config: &AdminConfig) -> Result<Option<Exposition>, CommandError> {
    if config.admin_addr == AdminAddr::Off {
        return Ok(None);
    }
    let figures = Exposition::install();
    let figures = figures.map_err(|error| CommandError::Failed(format!("figures cannot be collected: {error}")))?;
    Ok(Some(figures))
}

/// Logs that the program starts.
pub(super) fn log_start() {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "starting");
}

/// Logs where an API listens. Programs read these lines: their fields do not change.
pub(super) fn log_listening(api: &'static str, address: SocketAddr, tls: bool) {
    tracing::info!(api, %address, tls, "listening");
}

pub(super) fn log_admin(listener: Option<&TcpListener>) -> Result<(), CommandError> {
    if let Some(listener) = listener {
        log_listening("admin", local_addr(listener)?, false);
    }
    Ok(())
}

pub(super) fn local_addr(listener: &TcpListener) -> Result<SocketAddr, CommandError> {
    listener
        .local_addr()
        .map_err(|error| CommandError::Failed(format!("a listener has no address: {error}")))
}
