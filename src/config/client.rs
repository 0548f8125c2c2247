//! What a client of a running service is told.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::at_most_a_day;

/// The service that is called, and how.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Service")]
pub struct ClientConfig {
    /// The gRPC address of the service, as in http://host:50051 or https://host:50051
    #[arg(
        long,
        env = "DEVICE_ASSIGNMENT_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:50051"
    )]
    pub server: String,

    /// The certificates (PEM) of the authority to trust instead of the public ones
    #[arg(long, env = "DEVICE_ASSIGNMENT_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// A file with the API key; without it, the environment variable DEVICE_ASSIGNMENT_API_KEY has the key
    #[arg(long, env = "DEVICE_ASSIGNMENT_API_KEY_FILE", value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,

    /// How many calls are under way at once, 1 to 100
    #[arg(
        long,
        env = "DEVICE_ASSIGNMENT_PARALLEL",
        value_name = "COUNT",
        default_value = "8",
        value_parser = clap::value_parser!(u8).range(1..=100)
    )]
    pub parallel: u8,

    /// How long a call may take
    #[arg(
        long,
        env = "DEVICE_ASSIGNMENT_TIMEOUT",
        value_name = "DURATION",
        default_value = "30s",
        value_parser = at_most_a_day
    )]
    pub timeout: Duration,

    /// How long a call is made again that the service cannot carry out for the time being
    #[arg(
        long,
        env = "DEVICE_ASSIGNMENT_RETRY_FOR",
        value_name = "DURATION",
        default_value = "2m",
        value_parser = humantime::parse_duration
    )]
    pub retry_for: Duration,
}
