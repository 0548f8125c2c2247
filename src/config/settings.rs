//! The declarations of all settings, in the order of the template.
//!
//! To add a setting, add two lines to a group: its help text and `name: Type = "default", UNIT, parser;`. The flag is `--name`,
//! the environment variable `NAME`. Leave out the default of an `Option`, a list or a required value, and the parser of a type
//! that clap can parse. An `#[arg(...)]` in front changes the option further.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgAction::Set, ValueEnum, builder::BoolishValueParser};
use http::{HeaderValue, Uri};
use ipnet::IpNet;

use super::parsers::{
    AdminAddr, DAY, GIB, MINUTE, MOST, MS, YEAR, admin_address, duration, listen_address, network, number, origin,
    otlp_endpoint, service_url,
};
use crate::storage::DatabaseUrl;

/// The default database: a SQLite file in the working directory.
pub const EMBEDDED_DATABASE: &str = "sqlite://device-assignment.db?mode=rwc";

/// The settings that `--help` shows first, without a heading.
const MAIN: Option<&str> = None;

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise
    Auto,
    /// Text for people
    Text,
    /// One JSON object per line
    Json,
}

/// Declares groups of settings, each a struct that clap reads. A line that begins with `..` includes another group.
macro_rules! settings {
    ($(
        $(#[$about:meta])* $group:ident in $heading:expr => {
            $($(#[$attribute:meta])* $name:ident: $type:ty $(= $default:expr)?, $unit:ident $(, $parser:expr)?;)*
            $(.. $part:ident: $part_type:ty;)*
        }
    )*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, clap::Args)]
        #[command(next_help_heading = $heading)]
        pub struct $group {
            $(
                #[arg(long, env, hide_env_values = true, value_name = stringify!($unit))]
                $(#[arg(default_value = $default)])?
                $(#[arg(value_parser = $parser)])?
                $(#[$attribute])*
                pub $name: $type,
            )*
            $(
                #[command(flatten)]
                #[expect(missing_docs, reason = "clap would print it in --help")]
                pub $part: $part_type,
            )*
        }
    )*};
}

settings! {
    /// Settings of every subcommand.
    ProcessConfig in MAIN => {
        /// TOML file with settings; `device-assignment config default` prints a template
        #[arg(env = "CONFIG_FILE", global = true, display_order = 507)]
        config: Option<PathBuf>, FILE;
        /// Format of the log on stderr; RUST_LOG sets its level
        #[arg(global = true, display_order = 508)]
        log_format: LogFormat = "auto", FORMAT;
    }

    /// The database, and how long to wait for it.
    DatabaseConfig in "Database" => {
        /// Database: sqlite://FILE?mode=rwc or postgres://USER:PASSWORD@HOST:PORT/DATABASE
        #[arg(help_heading = MAIN, display_order = 501)]
        database_url: DatabaseUrl = EMBEDDED_DATABASE, URL, DatabaseUrl::parse;
        /// How long to wait at startup for a database that cannot be reached
        connect_timeout: Duration = "30s", DURATION, duration(Duration::ZERO, YEAR);
    }

    /// Settings of `serve`, besides those of its database.
    ServeConfig in MAIN => {
        /// Address of the gRPC API, as in localhost:50051; :50051 listens on all interfaces
        #[arg(display_order = 502)]
        grpc_addr: SocketAddr = "127.0.0.1:50051", ADDR, listen_address;
        /// Update the schema of a PostgreSQL database before starting (SQLite is always updated)
        #[arg(action = Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        #[arg(hide_possible_values = true, help_heading = "Database")]
        migrate: bool = "false", BOOL, BoolishValueParser::new();
        /// PostgreSQL standby that calls read from while it is up to date: postgres://USER:PASSWORD@HOST:PORT/DATABASE
        #[arg(value_parser = DatabaseUrl::parse, help_heading = "Database")]
        read_database_url: Option<DatabaseUrl>, URL;
        /// Maximum size of a response, in bytes; a request whose response could be larger is rejected
        #[arg(help_heading = "Requests")]
        max_answer_bytes: usize = "8388608", BYTES, number(1..=GIB);
        /// Maximum timeout that a call can ask for
        #[arg(help_heading = "Requests")]
        max_request_timeout: Duration = "60s", DURATION, duration(MS, DAY);
        ..rate_limits: RateLimitsConfig;
        ..capacity: CapacityConfig;
        ..changes: ChangesConfig;
        ..keys: KeysConfig;
        ..server: ServerConfig;
    }

    /// Settings of `gateway`.
    GatewayConfig in MAIN => {
        /// gRPC address of the service, as in http://host:50051 or https://host:50051
        #[arg(display_order = 501)]
        upstream: Uri, URL, service_url;
        ..upstream_tls: UpstreamTlsConfig;
        ..server: ServerConfig;
    }

    /// Settings that `serve` and `gateway` share.
    ServerConfig in MAIN => {
        /// Address of the REST API, as in localhost:8080; :8080 listens on all interfaces
        #[arg(display_order = 503)]
        rest_addr: SocketAddr = "127.0.0.1:8080", ADDR, listen_address;
        ..requests: RequestsConfig;
        ..tls: TlsConfig;
        ..connections: ConnectionsConfig;
        ..browsers: BrowsersConfig;
        ..health: HealthConfig;
        ..admin: AdminConfig;
        ..traces: TraceConfig;
    }

    /// How fast callers of `serve` can call.
    RateLimitsConfig in "Rate limits (of this instance; a rate of 0 disables a limit)" => {
        /// Calls per second with one API key
        key_calls_per_second: u32 = "10000", COUNT, number(0..=1_000_000_000_u32);
        /// Calls with one API key allowed in a burst
        key_calls_burst: u32 = "20000", COUNT, number(1..=1_000_000_000_u32);
        /// Device identifiers per second with one API key
        key_devices_per_second: u32 = "1000000", COUNT, number(0..=1_000_000_000_u32);
        /// Device identifiers with one API key allowed in a burst; not less than in the largest request
        key_devices_burst: u32 = "2000000", COUNT, number(1..=1_000_000_000_u32);
        /// Invalid API keys per second from one address (IPv6: one /64 network)
        failed_keys_per_second: u32 = "10", COUNT, number(0..=1_000_000_000_u32);
        /// Invalid API keys from one address allowed in a burst
        failed_keys_burst: u32 = "100", COUNT, number(1..=1_000_000_000_u32);
    }

    /// How many calls `serve` carries out and queues.
    CapacityConfig in "Capacity" => {
        /// Maximum number of calls in progress; 0 disables the limit. One organization gets at most half
        max_in_flight: usize = "4096", COUNT, number(0..=MOST);
        /// Maximum number of calls without a key (health checks, reflection). One address gets at most half
        max_keyless_calls: usize = "1000", COUNT, number(1..=MOST);
        /// Maximum number of calls waiting to be written, in each of the queues for small and for large calls
        queue_calls: usize = "4096", COUNT, number(1..=MOST);
        /// Maximum number of device identifiers waiting to be written, in each of these queues
        queue_devices: usize = "1500000", COUNT, number(1..=MOST);
        /// Number of writer workers for small calls, each with a PostgreSQL connection, 1 to 64 (SQLite has one)
        writer_workers: usize = "4", COUNT, number(1..=64_usize);
        /// Number of writer workers for large calls, each with a PostgreSQL connection, 1 to 64; by default half the processor
        /// cores, at least 2 and at most 8 (SQLite has none)
        bulk_workers: Option<usize>, COUNT, number(1..=64_usize);
    }

    /// How many can follow the changes of `serve` at once.
    ChangesConfig in "Changes" => {
        /// Maximum number of streams of changes with one API key; a call that waits for a change counts as one
        key_change_streams: usize = "16", COUNT, number(0..=MOST);
        /// Maximum number of streams of changes; one organization can have at most half of them
        max_change_streams: usize = "1000", COUNT, number(0..=MOST);
    }

    /// How `serve` tracks the use of API keys.
    KeysConfig in "API keys" => {
        /// How often the last use of each key is stored
        key_usage_interval: Duration = "60s", DURATION, duration(MS, DAY);
        /// Warn in the log, once a day, about keys in use that expire within this time; 0s disables the warning
        key_expiry_warning: Duration = "14d", DURATION, duration(Duration::ZERO, YEAR);
    }

    /// What `serve` and `gateway` allow one request.
    RequestsConfig in "Requests" => {
        /// Maximum size of a request, in bytes
        max_request_bytes: usize = "8388608", BYTES, number(1..=GIB);
        /// Maximum number of device identifiers in one request; a gateway and its service should have the same value
        max_devices_per_request: usize = "10000", COUNT, number(1..=MOST);
        /// Maximum memory for requests and responses in progress, in bytes. One organization or address gets at most half
        max_bytes_in_flight: usize = "67108864", BYTES, number(1..=1024 * GIB);
        /// Timeout of a call that asks for none
        request_timeout: Duration = "10s", DURATION, duration(MS, DAY);
    }

    /// TLS of the listeners of `serve` and `gateway`.
    TlsConfig in "TLS" => {
        /// PEM file with the certificate of this server and its intermediates; enables TLS
        #[arg(help_heading = MAIN, display_order = 504)]
        tls_cert: Option<PathBuf>, FILE;
        /// PEM file with the private key of the certificate
        #[arg(help_heading = MAIN, display_order = 505)]
        tls_key: Option<PathBuf>, FILE;
        /// PEM file with CA certificates; clients then need a certificate of one of these CAs
        tls_client_ca: Option<PathBuf>, FILE;
        /// Timeout for the TLS handshake
        tls_handshake_timeout: Duration = "5s", DURATION, duration(MS, DAY);
        /// How often to look for new certificate and key files
        tls_reload_interval: Duration = "10s", DURATION, duration(MS, DAY);
        /// Listen on public addresses without TLS, because a proxy in front does TLS
        #[arg(action = Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        #[arg(hide_possible_values = true)]
        plaintext: bool = "false", BOOL, BoolishValueParser::new();
    }

    /// TLS of a gateway as a client of its service.
    UpstreamTlsConfig in "TLS to the service" => {
        /// PEM file with the CA certificates to trust; by default those that browsers trust
        upstream_ca: Option<PathBuf>, FILE;
        /// PEM file with the client certificate of this gateway
        upstream_cert: Option<PathBuf>, FILE;
        /// PEM file with the private key of that certificate
        upstream_key: Option<PathBuf>, FILE;
    }

    /// What clients of `serve` and `gateway` can use of each listener.
    ConnectionsConfig in "Connections" => {
        /// Maximum number of connections per listener. One address (IPv6: one /64 network) gets at most half, a trusted proxy all
        max_connections: usize = "4096", COUNT, number(1..=MOST);
        /// Timeout for the head of a request and for an idle HTTP/1.1 connection; that of a proxy must be shorter
        head_timeout: Duration = "10s", DURATION, duration(MS, DAY);
        /// Timeout for the body of a request
        body_timeout: Duration = "30s", DURATION, duration(MS, DAY);
        /// How long a client can leave a response unread before its connection is closed
        write_timeout: Duration = "10s", DURATION, duration(MS, DAY);
        /// Maximum number of requests in progress on one HTTP/2 connection; at least 100 for a service that a gateway calls
        max_streams: u32 = "128", COUNT, number(1..=u32::MAX);
        /// Stream resets that an HTTP/2 client can cause before its connection is closed; no limit for trusted proxies
        max_local_resets: usize = "1024", COUNT, number(0..=MOST);
        /// Streams that an HTTP/2 client can reset before the server has accepted them
        max_pending_resets: usize = "20", COUNT, number(0..=MOST);
        /// Control frames (PING, SETTINGS) that an HTTP/2 client can send; each of its requests allows 100 more
        max_control_frames: usize = "1000", COUNT, number(1..=MOST);
        /// Maximum size of the head of an HTTP/2 request, in bytes
        max_head_bytes: u32 = "16384", BYTES, number(1_024..=u32::MAX);
        /// How often an HTTP/2 client is sent a ping
        keepalive_interval: Duration = "30s", DURATION, duration(MS, DAY);
        /// How long an HTTP/2 client can take to answer a ping
        keepalive_timeout: Duration = "10s", DURATION, duration(MS, DAY);
        /// Age at which a connection is closed, plus or minus 10%
        max_connection_age: Duration = "15m", DURATION, duration(MS, DAY);
        /// Time for the calls in progress on a connection of that age to finish
        max_connection_age_grace: Duration = "30s", DURATION, duration(MS, DAY);
        /// Addresses or networks of proxies and gateways whose X-Forwarded-For is trusted, separated by commas
        #[arg(value_delimiter = ',')]
        trusted_proxies: Vec<IpNet>, NETWORKS, network;
    }

    /// What `serve` and `gateway` offer to browsers.
    BrowsersConfig in "Browsers" => {
        /// Origins of web pages that can call the REST API (CORS), as in https://app.example.com, separated by commas; by default
        /// browsers allow none
        #[arg(value_delimiter = ',')]
        cors_origin: Vec<HeaderValue>, ORIGINS, origin;
        /// Leave out the console, the page at /console where people look up and change assignments
        #[arg(action = Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        #[arg(hide_possible_values = true)]
        no_console: bool = "false", BOOL, BoolishValueParser::new();
    }

    /// How `serve` and `gateway` watch what they depend on, and how they stop.
    HealthConfig in "Health" => {
        /// How often to check the database (for a gateway: the service)
        health_interval: Duration = "500ms", DURATION, duration(MS, DAY);
        /// Time without a successful check after which calls fail at once
        health_timeout: Duration = "2s", DURATION, duration(MS, DAY);
        /// How long to accept calls after SIGTERM, so that load balancers notice; calls in progress then have 10s to finish
        shutdown_grace: Duration = "0s", DURATION, duration(Duration::ZERO, MINUTE);
    }

    /// The listener for operators of `serve` and `gateway`.
    AdminConfig in "Operations" => {
        /// Address for health checks and metrics, or off; must not be public
        admin_addr: AdminAddr = "127.0.0.1:9090", ADDR, admin_address;
    }

    /// Where `serve` and `gateway` send traces. The environment variables are those of OpenTelemetry.
    TraceConfig in "Traces" => {
        /// Where to send traces (OTLP over gRPC), as in http://host:4317; by default none are sent
        #[arg(env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
        otlp_endpoint: Option<String>, URL, otlp_endpoint;
        /// Share of the traces to send, from 0 to 1; a trace that a caller started is sent if the caller sends it
        #[arg(env = "OTEL_TRACES_SAMPLER_ARG")]
        trace_sample_ratio: f64 = "1.0", RATIO, number(0.0..=1.0_f64);
    }

    /// Settings of a client that makes calls in bulk.
    BulkConfig in "Service" => {
        ..client: ClientConfig;
        ..bulk: ParallelConfig;
    }

    /// How many calls a client makes at once.
    ParallelConfig in "Service" => {
        /// Number of calls in progress at once, 1 to 100
        #[arg(env = "DEVICE_ASSIGNMENT_PARALLEL")]
        parallel: u8 = "8", COUNT, number(1..=100_u8);
    }

    /// Settings of a client.
    ClientConfig in "Service" => {
        ..target: TargetConfig;
        ..calls: CallsConfig;
    }

    /// The service that a client calls.
    TargetConfig in "Service" => {
        /// gRPC address of the service, as in http://host:50051 or https://host:50051
        #[arg(env = "DEVICE_ASSIGNMENT_SERVER")]
        server: String = "http://127.0.0.1:50051", URL;
        /// PEM file with the CA certificates to trust; by default those that browsers trust
        #[arg(env = "DEVICE_ASSIGNMENT_CA")]
        ca: Option<PathBuf>, FILE;
        /// File with the API key; by default the key is read from the variable DEVICE_ASSIGNMENT_API_KEY
        #[arg(env = "DEVICE_ASSIGNMENT_API_KEY_FILE")]
        api_key_file: Option<PathBuf>, FILE;
    }

    /// Where `changes` posts changes.
    WebhookConfig in "Webhook" => {
        /// Post each change to this URL instead of printing it, as in https://host/path
        #[arg(env = "DEVICE_ASSIGNMENT_WEBHOOK")]
        webhook: Option<String>, URL;
        /// File that keeps how far the webhook has come; it is created if it does not exist
        #[arg(env = "DEVICE_ASSIGNMENT_CURSOR")]
        cursor: Option<PathBuf>, FILE;
        /// File with the secret that signs webhooks; by default it is read from the variable DEVICE_ASSIGNMENT_WEBHOOK_SECRET
        #[arg(env = "DEVICE_ASSIGNMENT_WEBHOOK_SECRET_FILE")]
        webhook_secret_file: Option<PathBuf>, FILE;
        /// PEM file with the CA certificates to trust for the webhook; by default those that browsers trust
        #[arg(env = "DEVICE_ASSIGNMENT_WEBHOOK_CA")]
        webhook_ca: Option<PathBuf>, FILE;
        /// How long the receiver may take to respond
        #[arg(env = "DEVICE_ASSIGNMENT_WEBHOOK_TIMEOUT")]
        webhook_timeout: Duration = "20s", DURATION, duration(MS, DAY);
    }

    /// How a client calls.
    CallsConfig in "Service" => {
        /// Timeout of each call
        #[arg(env = "DEVICE_ASSIGNMENT_TIMEOUT")]
        timeout: Duration = "30s", DURATION, duration(MS, DAY);
        /// How long to retry a call while the service is temporarily unavailable
        #[arg(env = "DEVICE_ASSIGNMENT_RETRY_FOR")]
        retry_for: Duration = "2m", DURATION, duration(Duration::ZERO, YEAR);
    }
}
