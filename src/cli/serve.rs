use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;
use tokio::net::TcpListener;

use super::{
    Failure, asked_to_stop, connect,
    output::{print, say},
};
use crate::{
    config::{AdminAddr, AdminConfig, ConnectionsConfig, DatabaseConfig, EMBEDDED_DATABASE, LimitsConfig, ServeConfig},
    domain::{
        Error,
        organization::{ApiKeyLabel, OrganizationName},
    },
    server::{self, ConnectionSettings, Listeners, ServerSettings},
    service::{
        KeyUsageSettings, Limit, LimitSettings, ServiceSettings, api_keys, create_api_key, create_organization,
        organizations,
    },
    storage::{Database, WriterSettings},
};

/// The organization that a fresh embedded database has from the start.
const DEFAULT_ORGANIZATION: &str = "default";

#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    database: DatabaseConfig,

    #[command(flatten)]
    config: ServeConfig,
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Self { database: at, config } = self;
        let service = service_settings(&config)?;
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
        };
        let grpc = local_addr(&listeners.grpc)?;
        let rest = local_addr(&listeners.rest)?;
        // Before it says that it listens: whoever reads that may stop it.
        let asked_to_stop = asked_to_stop();
        print(&format!("gRPC listening on {grpc}"))?;
        print(&format!("REST listening on http://{rest}"))?;
        print_admin(listeners.admin.as_ref())?;
        if at.database_url == EMBEDDED_DATABASE {
            if is_fresh(&database).await? {
                welcome(&database, grpc, rest).await?;
            }
        } else if organizations(&database).await?.is_empty() {
            say(
                "there is no organization yet; create one with `device-assignment organization create NAME`, \
                 and a key for it with `device-assignment api-key create --organization NAME`",
            );
        }
        let settings = settings(service, &config.limits, &config.connections);
        server::serve(database, settings, listeners, asked_to_stop).await?;
        Ok(())
    }
}

/// What the use cases allow.
fn service_settings(config: &ServeConfig) -> Result<ServiceSettings, Failure> {
    let (limits, keys) = (&config.rate_limits, &config.keys);
    let devices = Limit::per_second(limits.key_devices_per_second, limits.key_devices_burst);
    if devices.is_some_and(|limit| (limit.burst() as usize) < config.max_devices_per_request) {
        return Err(Failure::Usage(format!(
            "--key-devices-burst (KEY_DEVICES_BURST) is {}, less than the {} of --max-devices-per-request \
             (MAX_DEVICES_PER_REQUEST): the largest request could never be made; raise the one or lower the other",
            limits.key_devices_burst, config.max_devices_per_request
        )));
    }
    Ok(ServiceSettings {
        max_devices_per_request: config.max_devices_per_request,
        key_usage: KeyUsageSettings {
            interval: keys.key_usage_interval,
            expiry_warning: keys.key_expiry_warning,
        },
        limits: LimitSettings {
            calls: Limit::per_second(limits.key_calls_per_second, limits.key_calls_burst),
            devices,
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
    })
}

/// What a server allows, as `serve` and `gateway` are told alike.
pub(super) fn settings(
    service: ServiceSettings,
    limits: &LimitsConfig,
    connections: &ConnectionsConfig,
) -> ServerSettings {
    ServerSettings {
        service,
        connections: ConnectionSettings {
            max_connections: connections.max_connections,
            head_timeout: connections.head_timeout,
            max_streams: connections.max_streams,
            max_local_resets: connections.max_local_resets,
            max_pending_resets: connections.max_pending_resets,
            max_head_bytes: connections.max_head_bytes,
            keepalive_interval: connections.keepalive_interval,
            keepalive_timeout: connections.keepalive_timeout,
            max_age: connections.max_connection_age,
            max_age_grace: connections.max_connection_age_grace,
        },
        trusted_proxies: connections.trusted_proxies.clone().into(),
        max_request_bytes: limits.max_request_bytes,
        body_timeout: connections.body_timeout,
        request_timeout: limits.request_timeout,
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
async fn welcome(database: &Database, grpc: SocketAddr, rest: SocketAddr) -> Result<(), Failure> {
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
    print(&format!(
        r#"
This database is new. It has an organization named default, with an API key that is shown only now:

  {key}

Assign two devices, over REST:

  curl -X POST http://{rest}/api/ext-v1/deviceAssignment/assignDevicesToOwner \
    -H 'x-api-key: {key}' \
    -H 'Content-Type: application/json' \
    -d '{{"customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001", "SN-002"], "autoCreateDevices": true, "deviceType": "sensor"}}'

or over gRPC:

  grpcurl -plaintext -H 'x-api-key: {key}' \
    -d '{{"customer_email": "john.doe@example.com", "device_identifiers": ["SN-001", "SN-002"], "auto_create_devices": true, "device_type": "sensor"}}' \
    {grpc} telemetron.device_assignment.v1.DeviceAssignmentService/AssignDevicesToOwner
"#
    ))
}

/// Where a client on this machine reaches a listener on every address.
fn reachable(address: SocketAddr) -> SocketAddr {
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
