//! What the program is told: flags, where one is absent the environment, and where that is silent a file, as one typed value a
//! subcommand.
//!
//! A setting is an option here that has an environment variable. Help, the file and its template, what is read from where
//! and what is said of mistakes all follow from that one definition. A parser judges a value by itself; what concerns
//! several settings is a [`Conflict`], and not one of clap's own relations, which know of flags alone.

mod client;
mod connections;
mod definition;
mod file;
mod health;
mod keys;
mod mistake;
mod rate_limits;
mod sources;
mod template;
mod tls;
mod trace;

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, ValueEnum};

pub use self::{
    client::ClientConfig,
    connections::ConnectionsConfig,
    definition::{map_args, with_switches},
    health::HealthConfig,
    keys::KeysConfig,
    mistake::{Conflict, Discreet, Mistake},
    rate_limits::RateLimitsConfig,
    sources::{Refusal, Sources, read},
    template::template,
    tls::{TlsConfig, UpstreamTlsConfig},
    trace::TraceConfig,
};

/// The embedded database in the working directory, which needs no set-up.
pub const EMBEDDED_DATABASE: &str = "sqlite://device-assignment.db?mode=rwc";

/// What every subcommand is told.
#[derive(Debug, Clone, Args)]
pub struct ProcessConfig {
    /// A file of settings, as `device-assignment config default` prints one
    #[arg(long, env = "CONFIG_FILE", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// How the log on stderr is written; RUST_LOG sets its level
    #[arg(
        long,
        env = "LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "auto",
        global = true,
        display_order = 900
    )]
    pub log_format: LogFormat,
}

/// Where the database is, and how long to wait for it. `Debug` prints no password.
#[derive(Clone, Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseConfig {
    /// sqlite://FILE?mode=rwc or postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(
        long,
        env = "DATABASE_URL",
        value_name = "URL",
        default_value = EMBEDDED_DATABASE,
        hide_env_values = true
    )]
    pub database_url: String,

    /// How long to wait for a database that is out of reach when the program starts
    #[arg(
        long,
        env = "CONNECT_TIMEOUT",
        value_name = "DURATION",
        default_value = "30s",
        value_parser = humantime::parse_duration
    )]
    pub connect_timeout: Duration,
}

impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("DatabaseConfig");
        debug.field("connect_timeout", &self.connect_timeout);
        debug.finish_non_exhaustive()
    }
}

/// What both `serve` and `gateway` tell operators.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Operators")]
pub struct AdminConfig {
    /// Where operators' tools are answered (health, metrics), or off; never for the public
    #[arg(long, env = "ADMIN_ADDR", value_name = "ADDR", default_value = "127.0.0.1:9090")]
    pub admin_addr: AdminAddr,
}

/// Where the admin listener is, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminAddr {
    /// There is none.
    Off,
    /// There.
    At(SocketAddr),
}

impl FromStr for AdminAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            _ => text
                .parse()
                .map(Self::At)
                .map_err(|_| "must be an address with a port, or off".to_owned()),
        }
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere
    Auto,
    /// For people
    Text,
    /// For machines: one object a line
    Json,
}

/// What `serve` is told.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Service")]
pub struct ServeConfig {
    /// Where gRPC listens
    #[arg(long, env = "GRPC_ADDR", value_name = "ADDR", default_value = "127.0.0.1:50051")]
    pub grpc_addr: SocketAddr,

    /// Where REST listens
    #[arg(long, env = "REST_ADDR", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub rest_addr: SocketAddr,

    /// A request is refused when its answer could be larger than this, in bytes
    #[arg(
        long,
        env = "MAX_ANSWER_BYTES",
        value_name = "BYTES",
        default_value = "8388608",
        value_parser = at_least_one
    )]
    pub max_answer_bytes: usize,

    /// The longest time that a call gets, whatever its caller asks for
    #[arg(
        long,
        env = "MAX_REQUEST_TIMEOUT",
        value_name = "DURATION",
        default_value = "60s",
        value_parser = at_most_a_day
    )]
    pub max_request_timeout: Duration,

    /// Bring the schema of a PostgreSQL database up to date before starting (SQLite always is)
    #[arg(long, env = "MIGRATE")]
    pub migrate: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as a heading")]
    pub admin: AdminConfig,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as a heading")]
    pub limits: LimitsConfig,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as a heading")]
    pub rate_limits: RateLimitsConfig,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as a heading")]
    pub keys: KeysConfig,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as a heading")]
    pub connections: ConnectionsConfig,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as a heading")]
    pub health: HealthConfig,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as a heading")]
    pub tls: TlsConfig,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as a heading")]
    pub traces: TraceConfig,
}

/// What both `serve` and `gateway` allow a request.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Requests")]
pub struct LimitsConfig {
    /// The largest request, in bytes
    #[arg(
        long,
        env = "MAX_REQUEST_BYTES",
        value_name = "BYTES",
        default_value = "8388608",
        value_parser = at_least_one
    )]
    pub max_request_bytes: usize,

    /// The most device identifiers in one request. A gateway and its service should have the same
    #[arg(
        long,
        env = "MAX_DEVICES_PER_REQUEST",
        value_name = "COUNT",
        default_value = "10000",
        value_parser = at_least_one
    )]
    pub max_devices_per_request: usize,

    /// The most bytes that all requests and answers in flight may hold. One organization, and one address, may have no
    /// more than is left for all others: half when alone
    #[arg(
        long,
        env = "MAX_BYTES_IN_FLIGHT",
        value_name = "BYTES",
        default_value = "67108864",
        value_parser = at_least_one
    )]
    pub max_bytes_in_flight: usize,

    /// How long a call may take when its caller does not say
    #[arg(
        long,
        env = "REQUEST_TIMEOUT",
        value_name = "DURATION",
        default_value = "10s",
        value_parser = at_most_a_day
    )]
    pub request_timeout: Duration,
}

/// What `gateway` is told.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Gateway")]
pub struct GatewayConfig {
    /// The gRPC address of the service, as in http://host:50051 or https://host:50051
    #[arg(long, env = "UPSTREAM", value_name = "URL")]
    pub upstream: String,

    /// Where REST listens
    #[arg(long, env = "REST_ADDR", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub rest_addr: SocketAddr,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as a heading")]
    pub admin: AdminConfig,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as a heading")]
    pub limits: LimitsConfig,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as a heading")]
    pub connections: ConnectionsConfig,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as a heading")]
    pub health: HealthConfig,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as a heading")]
    pub tls: TlsConfig,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as a heading")]
    pub upstream_tls: UpstreamTlsConfig,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as a heading")]
    pub traces: TraceConfig,
}

/// What `device import` is told.
#[derive(Debug, Clone, Args)]
pub struct ImportConfig {
    /// The organization that the devices belong to
    #[arg(long, value_name = "NAME")]
    pub organization: String,

    /// A CSV file whose first line is `identifier,type`, or - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

fn at_most_a_day(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() || duration > Duration::from_secs(24 * 3_600) => {
            Err("must be more than nothing and at most a day".into())
        }
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(count) => Ok(count),
        Err(error) => Err(format!("{error}")),
    }
}
