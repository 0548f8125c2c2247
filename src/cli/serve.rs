use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
};

use clap::Args;
use tokio::net::TcpListener;

use super::{
    Failure, Signals, connect,
    output::{print, say},
    tls,
};
use crate::{
    config::{
        AdminAddr, AdminConfig, Conflict, ConnectionsConfig, DatabaseConfig, EMBEDDED_DATABASE, HealthConfig,
        LimitsConfig, RateLimitsConfig, ServeConfig, TlsConfig, TraceConfig,
    },
    domain::{
        Error,
        organization::{ApiKeyLabel, OrganizationName},
    },
    server::{self, ConnectionSettings, Listeners, ServerSettings},
    service::{
        KeyUsageSettings, Limit, LimitSettings, ServiceSettings, api_keys, create_api_key, create_organization,
        organizations,
    },
    storage::{Database, HealthSettings, WriterSettings},
    telemetry::Exposition,
};

/// The organization that a fresh embedded database has from the start.
const DEFAULT_ORGANIZATION: &str = "default";

/// What goes with lines that take any certificate: that of the service is seldom made out to the address in them.
const INSECURE: &str = "
--insecure and -insecure take any certificate, for a try on this machine. Elsewhere leave them out, and write --cacert FILE
and -cacert FILE where the authority is a private one.
";
/// As [`INSECURE`], where clients need a certificate, too.
const INSECURE_MUTUAL: &str = "
client.crt and client.key stand for a certificate of an authority in --tls-client-ca, and for its key. --insecure and
-insecure take any certificate of the service, for a try on this machine. Elsewhere leave them out, and write --cacert FILE
and -cacert FILE where its authority is a private one.
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
        &self.config.traces
    }

    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let Self { database: at, config } = self;
        // Before anything is made or changed, and before anything counts.
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
        // Before it says that it listens: whoever reads that may stop it.
        let signals = Signals::catch();
        let (grpc_scheme, rest_scheme) = match listeners.tls {
            None => ("", "http://"),
            Some(_) => ("https://", "https://"),
        };
        print(&format!("gRPC listening on {grpc_scheme}{grpc}"))?;
        print(&format!("REST listening on {rest_scheme}{rest}"))?;
        print_admin(listeners.admin.as_ref())?;
        if at.database_url == EMBEDDED_DATABASE {
            if is_fresh(&database).await? {
                welcome(&database, grpc, rest, &config.tls).await?;
            }
        } else if organizations(&database).await?.is_empty() {
            say(
                "there is no organization yet; create one with `device-assignment organization create NAME`, \
                 and a key for it with `device-assignment api-key create --organization NAME`",
            );
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

/// Whether nobody can call yet, and nobody has begun to change that: a welcome that was cut short counts as none.
async fn is_fresh(database: &Database) -> Result<bool, Failure> {
    match organizations(database).await?.as_slice() {
        [] => Ok(true),
        [only] if only.name == DEFAULT_ORGANIZATION => Ok(api_keys(database, DEFAULT_ORGANIZATION).await?.is_empty()),
        _ => Ok(false),
    }
}

/// Makes a fresh embedded database usable, and says how to use it.
async fn welcome(database: &Database, grpc: SocketAddr, rest: SocketAddr, tls: &TlsConfig) -> Result<(), Failure> {
    let named = |problem| Failure::Failed(format!("a name {problem}"));
    let name = OrganizationName::parse(DEFAULT_ORGANIZATION).map_err(named)?;
    let label = ApiKeyLabel::parse("created at the first start").map_err(named)?;
    match create_organization(database, &name).await {
        // It is there already when an earlier start ended before it had a key.
        Ok(_) | Err(Error::AlreadyExists(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let key = create_api_key(database, name.as_str(), &label, None).await?;
    let key = key.secret.reveal();
    let (grpc, rest) = (reachable(grpc), reachable(rest));
    let Spoken {
        curl,
        scheme,
        grpcurl,
        note,
    } = Spoken::with(tls);
    print(&format!(
        r#"
This database is new. It has an organization named default, with an API key that is shown only now:

  {key}

Assign two devices, over REST:

  curl{curl} -X POST {scheme}://{rest}/api/ext-v1/deviceAssignment/assignDevicesToOwner \
    -H 'x-api-key: {key}' \
    -H 'Content-Type: application/json' \
    -d '{{"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001", "SN-002"], "autoCreateDevices": true, "deviceType": "sensor"}}'

or over gRPC:

  grpcurl {grpcurl} -H 'x-api-key: {key}' \
    -d '{{"customer_email": "john.doe@example.com", "device_identifiers": ["SN-001", "SN-002"], "auto_create_devices": true, "device_type": "sensor"}}' \
    {grpc} telemetron.device_assignment.v1.DeviceAssignmentService/AssignDevicesToOwner
{note}"#
    ))
}

/// What the lines to paste need, for what is spoken on the listeners.
struct Spoken {
    curl: &'static str,
    scheme: &'static str,
    grpcurl: &'static str,
    note: &'static str,
}

impl Spoken {
    fn with(tls: &TlsConfig) -> Self {
        match (&tls.tls_cert, &tls.tls_client_ca) {
            (None, _) => Self {
                curl: "",
                scheme: "http",
                grpcurl: "-plaintext",
                note: "",
            },
            (Some(_), None) => Self {
                curl: " --insecure",
                scheme: "https",
                grpcurl: "-insecure",
                note: INSECURE,
            },
            (Some(_), Some(_)) => Self {
                curl: " --insecure --cert client.crt --key client.key",
                scheme: "https",
                grpcurl: "-insecure -cert client.crt -key client.key",
                note: INSECURE_MUTUAL,
            },
        }
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

pub(super) async fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::Failed(format!(
            "cannot listen on {address} ({error}); set {setting} to another address"
        ))
    })
}

pub(super) async fn bind_admin(config: &AdminConfig) -> Result<Option<TcpListener>, Failure> {
    match config.admin_addr {
        AdminAddr::Off => Ok(None),
        AdminAddr::At(address) => Ok(Some(bind(address, "--admin-addr (ADMIN_ADDR)").await?)),
    }
}

/// Collects figures, where there is a listener that shows them.
pub(super) fn collect_figures(config: &AdminConfig) -> Result<Option<Exposition>, Failure> {
    if config.admin_addr == AdminAddr::Off {
        return Ok(None);
    }
    let figures = Exposition::install();
    let figures = figures.map_err(|error| Failure::Failed(format!("figures cannot be collected: {error}")))?;
    Ok(Some(figures))
}

pub(super) fn print_admin(listener: Option<&TcpListener>) -> Result<(), Failure> {
    match listener {
        Some(listener) => print(&format!("admin listening on http://{}", local_addr(listener)?)),
        None => Ok(()),
    }
}

pub(super) fn local_addr(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener
        .local_addr()
        .map_err(|error| Failure::Failed(format!("a listener has no address: {error}")))
}
