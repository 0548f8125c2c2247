//! What the program is told: flags, and the environment where a flag is absent, as one typed value a subcommand.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

/// The embedded database in the working directory, which needs no set-up.
pub const EMBEDDED_DATABASE: &str = "sqlite://device-assignment.db?mode=rwc";

/// Where the database is, and how long to wait for it.
#[derive(Debug, Clone, Args)]
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
pub struct ServeConfig {
    /// Where gRPC listens
    #[arg(long, env = "GRPC_ADDR", value_name = "ADDR", default_value = "127.0.0.1:50051")]
    pub grpc_addr: SocketAddr,

    /// Where REST listens
    #[arg(long, env = "REST_ADDR", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub rest_addr: SocketAddr,

    /// The most device identifiers in one request
    #[arg(
        long,
        env = "MAX_DEVICES_PER_REQUEST",
        value_name = "COUNT",
        default_value = "10000",
        value_parser = at_least_one
    )]
    pub max_devices_per_request: usize,

    /// Bring the schema of a PostgreSQL database up to date before starting (SQLite always is)
    #[arg(long, env = "MIGRATE")]
    pub migrate: bool,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as a heading")]
    pub limits: LimitsConfig,
}

/// What both `serve` and `gateway` allow a request.
#[derive(Debug, Clone, Args)]
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
pub struct GatewayConfig {
    /// The gRPC address of the service, as in http://host:50051
    #[arg(long, env = "UPSTREAM", value_name = "URL")]
    pub upstream: String,

    /// Where REST listens
    #[arg(long, env = "REST_ADDR", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub rest_addr: SocketAddr,

    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would show it as a heading")]
    pub limits: LimitsConfig,
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
