use clap::Args;

use super::at_least_one;

/// What `serve` lets callers take. Each instance counts for itself.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits (of this instance; a rate of 0 is no limit)")]
pub struct RateLimitsConfig {
    /// How many calls a second an API key may make
    #[arg(long, env = "KEY_CALLS_PER_SECOND", value_name = "COUNT", default_value = "10000", value_parser = rate)]
    pub key_calls_per_second: u32,

    /// How many at once, after a rest
    #[arg(long, env = "KEY_CALLS_BURST", value_name = "COUNT", default_value = "20000", value_parser = burst)]
    pub key_calls_burst: u32,

    /// How many device identifiers a second an API key may name
    #[arg(long, env = "KEY_DEVICES_PER_SECOND", value_name = "COUNT", default_value = "1000000", value_parser = rate)]
    pub key_devices_per_second: u32,

    /// How many at once, after a rest; at least --max-devices-per-request
    #[arg(long, env = "KEY_DEVICES_BURST", value_name = "COUNT", default_value = "2000000", value_parser = burst)]
    pub key_devices_burst: u32,

    /// How many wrong API keys a second an address (IPv6: a /64 network) may show
    #[arg(long, env = "FAILED_KEYS_PER_SECOND", value_name = "COUNT", default_value = "10", value_parser = rate)]
    pub failed_keys_per_second: u32,

    /// How many at once, after a rest
    #[arg(long, env = "FAILED_KEYS_BURST", value_name = "COUNT", default_value = "100", value_parser = burst)]
    pub failed_keys_burst: u32,

    /// The most calls in flight; 0 is no limit. One organization may have no more than are left for all others: half when
    /// alone
    #[arg(long, env = "MAX_IN_FLIGHT", value_name = "COUNT", default_value = "4096")]
    pub max_in_flight: usize,

    /// The most calls without a key in flight (health checks, reflection). One address may have no more than are left for all
    /// others
    #[arg(long, env = "MAX_KEYLESS_CALLS", value_name = "COUNT", default_value = "1000", value_parser = at_least_one)]
    pub max_keyless_calls: usize,

    /// The most calls that wait to be written, of small and of large ones each
    #[arg(long, env = "QUEUE_CALLS", value_name = "COUNT", default_value = "4096", value_parser = at_least_one)]
    pub queue_calls: usize,

    /// The most device identifiers that wait to be written, of small and of large calls each
    #[arg(long, env = "QUEUE_DEVICES", value_name = "COUNT", default_value = "1500000", value_parser = at_least_one)]
    pub queue_devices: usize,

    /// How many connections write small calls to PostgreSQL at once (SQLite has one writer)
    #[arg(long, env = "WRITER_LANES", value_name = "COUNT", default_value = "4", value_parser = lanes)]
    pub writer_lanes: usize,
}

/// Beyond this, a unit of a rate would take less than a nanosecond.
const MOST: u32 = 1_000_000_000;

fn rate(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(units) if units > MOST => Err(format!("must be at most {MOST}; 0 is no limit")),
        Ok(units) => Ok(units),
        Err(error) => Err(format!("{error}")),
    }
}

fn burst(text: &str) -> Result<u32, String> {
    match rate(text)? {
        0 => Err("must be at least 1; it is the rate that switches a limit off".into()),
        units => Ok(units),
    }
}

fn lanes(text: &str) -> Result<usize, String> {
    match at_least_one(text)? {
        lanes if lanes > 64 => Err("must be at most 64".into()),
        lanes => Ok(lanes),
    }
}
