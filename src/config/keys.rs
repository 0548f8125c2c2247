use std::time::Duration;

use clap::Args;

use super::at_most_a_day;

/// How `serve` watches the use of API keys.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "API keys")]
pub struct KeysConfig {
    /// How often the time of their last use is stored
    #[arg(long, env = "KEY_USAGE_INTERVAL", value_name = "DURATION", default_value = "60s", value_parser = at_most_a_day)]
    pub key_usage_interval: Duration,

    /// How long before it expires the log warns of a key that is used, once a day; 0s is never
    #[arg(
        long,
        env = "KEY_EXPIRY_WARNING",
        value_name = "DURATION",
        default_value = "14d",
        value_parser = humantime::parse_duration
    )]
    pub key_expiry_warning: Duration,
}
