use std::process::ExitCode;

use clap::Args;

use super::{
    CommandError, Signals, connect,
    listeners::{admin_listener, bind, bind_admin, local_addr, log_admin, log_listening, shared_addresses},
    tls,
    welcome::Welcome,
};
use crate::{
    config::{
        AdminAddr, AdminConfig, Conflict, DatabaseConfig, EMBEDDED_DATABASE, RateLimitsConfig, ServeConfig,
        ServerConfig, TraceConfig,
    },
    server::{self, ConnectionSettings, Listeners, ServerSettings},
    service::{KeyUsageSettings, Limit, LimitSettings, ServiceSettings, StreamSettings, organizations},
    storage::{DatabaseUrl, HealthSettings, WriterSettings},
    telemetry::Exposition,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  device-assignment serve
      start with a SQLite database in this directory
  device-assignment serve --database-url postgres://app@db/devices
      start with PostgreSQL
  device-assignment serve --grpc-addr :50051 --rest-addr :8080 \\
      --tls-cert server.crt --tls-key server.key
      listen on all interfaces, with TLS
  device-assignment serve --config settings.toml
      read the settings from a file; `config default` prints a template
";

#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    database: DatabaseConfig,

    #[command(flatten)]
    config: ServeConfig,
}

impl Serve {
    pub(super) fn traces(&self) -> &TraceConfig {
        &self.config.server.traces
    }

    pub(super) async fn run(self) -> Result<ExitCode, CommandError> {
        let Self { database: at, config } = self;
        log_start();
        // Certificates have metrics.
        let metrics = collect_metrics(&config.server.admin)?;
        // Before anything is created or changed.
        let tls = tls::of_listeners(&config.server.tls)?;
        let database = if config.migrate {
            let database = connect::connect(&at).await?;
            connect::migrate(&database).await?;
            database.follow_timeline().await?;
            database
        } else {
            connect::connect_ready(&at).await?
        };
        let database = match &config.read_database_url {
            // It may be out of reach: then calls read from the primary.
            Some(url) => database.with_replica(connect::open(url).await?),
            None => database,
        };
        let listeners = Listeners {
            grpc: bind(config.grpc_addr, "--grpc-addr (GRPC_ADDR)").await?,
            rest: bind(config.server.rest_addr, "--rest-addr (REST_ADDR)").await?,
            admin: bind_admin(&config.server.admin).await?,
            tls,
        };
        let grpc = local_addr(&listeners.grpc)?;
        let rest = local_addr(&listeners.rest)?;
        let welcome = if DatabaseUrl::parse(EMBEDDED_DATABASE).as_ref() == Ok(&at.database_url) {
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
            welcome.show(grpc, rest, &config.server.tls)?;
        }
        let service = service_settings(&config);
        let settings = ServerSettings {
            max_answer_bytes: config.max_answer_bytes,
            max_request_timeout: config.max_request_timeout,
            max_keyless_calls: config.capacity.max_keyless_calls,
            ..settings(service, &config.server)
        };
        signals
            .stop(|asked| server::serve(database, settings, listeners, metrics, asked))
            .await
    }

    /// The conflicts between settings.
    pub(super) fn conflicts(&self) -> Vec<Conflict> {
        let (config, server) = (&self.config, &self.config.server);
        let requests = &server.requests;
        let listeners = [("grpc-addr", config.grpc_addr), ("rest-addr", server.rest_addr)];
        let mut conflicts = shared_addresses(listeners.into_iter().chain(admin_listener(&server.admin)));
        conflicts.extend(server.tls.conflicts(&listeners));
        let burst = devices_limit(&config.rate_limits).map(|limit| limit.burst() as usize);
        // One organization can use at most half of the bytes in flight.
        let largest = requests.max_request_bytes.saturating_add(config.max_answer_bytes);
        let others = [
            Conflict::when(
                burst.is_some_and(|burst| burst < requests.max_devices_per_request),
                &["key-devices-burst", "max-devices-per-request"],
                "the largest request would always exceed the limit; raise the first or lower the second",
            ),
            Conflict::when(
                requests.max_bytes_in_flight / 2 < largest,
                &["max-bytes-in-flight", "max-request-bytes", "max-answer-bytes"],
                "the first must be at least twice the sum of the others; raise it or lower them",
            ),
            Conflict::when(
                config.read_database_url.as_ref().is_some_and(DatabaseUrl::is_sqlite)
                    || (config.read_database_url.is_some() && self.database.database_url.is_sqlite()),
                &["read-database-url", "database-url"],
                "only PostgreSQL has a read database; leave out the first, or use PostgreSQL for both",
            ),
            Conflict::when(
                config.max_request_timeout < requests.request_timeout,
                &["max-request-timeout", "request-timeout"],
                "the first must not be shorter than the second; raise it or lower the second",
            ),
        ];
        conflicts.extend(others.into_iter().flatten());
        conflicts
    }
}

/// The limit on the devices of a key.
fn devices_limit(limits: &RateLimitsConfig) -> Option<Limit> {
    Limit::per_second(limits.key_devices_per_second, limits.key_devices_burst)
}

/// What the use cases allow.
fn service_settings(config: &ServeConfig) -> ServiceSettings {
    let (limits, capacity, keys) = (&config.rate_limits, &config.capacity, &config.keys);
    let writer = WriterSettings::default();
    let changes = &config.changes;
    ServiceSettings {
        max_devices_per_request: config.server.requests.max_devices_per_request,
        key_usage: KeyUsageSettings {
            interval: keys.key_usage_interval,
            expiry_warning: keys.key_expiry_warning,
        },
        limits: LimitSettings {
            calls: Limit::per_second(limits.key_calls_per_second, limits.key_calls_burst),
            devices: devices_limit(limits),
            failed_keys: Limit::per_second(limits.failed_keys_per_second, limits.failed_keys_burst),
            max_in_flight: (capacity.max_in_flight > 0).then_some(capacity.max_in_flight),
        },
        streams: StreamSettings {
            max_of_key: changes.key_change_streams,
            max: changes.max_change_streams,
        },
        writer: WriterSettings {
            workers: capacity.writer_workers,
            bulk_workers: capacity.bulk_workers.unwrap_or(writer.bulk_workers),
            queue_calls: capacity.queue_calls,
            queue_devices: capacity.queue_devices,
            ..writer
        },
        ..ServiceSettings::default()
    }
}

/// What a server allows, as `serve` and `gateway` are told alike.
pub(super) fn settings(service: ServiceSettings, config: &ServerConfig) -> ServerSettings {
    let (connections, requests) = (&config.connections, &config.requests);
    ServerSettings {
        service,
        connections: ConnectionSettings {
            max_connections: connections.max_connections,
            handshake_timeout: config.tls.tls_handshake_timeout,
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
        cors_origins: config.browsers.cors_origin.clone().into(),
        console: !config.browsers.no_console,
        max_request_bytes: requests.max_request_bytes,
        max_bytes_in_flight: requests.max_bytes_in_flight,
        body_timeout: connections.body_timeout,
        request_timeout: requests.request_timeout,
        health: HealthSettings {
            interval: config.health.health_interval,
            timeout: config.health.health_timeout,
        },
        shutdown_grace: config.health.shutdown_grace,
        ..ServerSettings::default()
    }
}

/// Collects metrics, where there is a listener that shows them.
pub(super) fn collect_metrics(config: &AdminConfig) -> Result<Option<Exposition>, CommandError> {
    if config.admin_addr == AdminAddr::Off {
        return Ok(None);
    }
    let metrics = Exposition::install();
    let metrics = metrics.map_err(|error| CommandError::Failed(format!("metrics cannot be collected: {error}")))?;
    Ok(Some(metrics))
}

/// Logs that the program starts.
pub(super) fn log_start() {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "starting");
}
