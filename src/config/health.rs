use std::time::Duration;

use clap::Args;

use super::at_most_a_day;

/// How `serve` and `gateway` watch what they depend on, and how they stop.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Health")]
pub struct HealthConfig {
    /// How often the database (for the gateway: the service) is asked whether it is there
    #[arg(long, env = "HEALTH_INTERVAL", value_name = "DURATION", default_value = "500ms", value_parser = at_most_a_day)]
    pub health_interval: Duration,

    /// How long nothing may be heard of it before it counts as out of reach, and calls are refused at once
    #[arg(long, env = "HEALTH_TIMEOUT", value_name = "DURATION", default_value = "2s", value_parser = at_most_a_day)]
    pub health_timeout: Duration,

    /// How long everybody is still served after SIGTERM, so that load balancers find out; the 10 s for the rest come on top
    #[arg(long, env = "SHUTDOWN_GRACE", value_name = "DURATION", default_value = "0s", value_parser = at_most_a_minute)]
    pub shutdown_grace: Duration,
}

fn at_most_a_minute(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration > Duration::from_secs(60) => Err("must be at most a minute".into()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}
