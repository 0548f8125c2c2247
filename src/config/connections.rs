use std::{net::IpAddr, time::Duration};

use clap::Args;
use ipnet::IpNet;

use super::{at_least_one, at_most_a_day};

/// What peers may take of `serve` and `gateway`, on each listener.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connections")]
pub struct ConnectionsConfig {
    /// The most connections of a listener. One address (IPv6: a /64 network) may have no more than are left for all
    /// others; trusted proxies may have all
    #[arg(long, env = "MAX_CONNECTIONS", value_name = "COUNT", default_value = "4096", value_parser = at_least_one)]
    pub max_connections: usize,

    /// How long a peer may take for the head of a request, and leave an HTTP/1.1 connection idle: a proxy's own must be shorter
    #[arg(long, env = "HEAD_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = at_most_a_day)]
    pub head_timeout: Duration,

    /// How long the body of a request may take to arrive
    #[arg(long, env = "BODY_TIMEOUT", value_name = "DURATION", default_value = "30s", value_parser = at_most_a_day)]
    pub body_timeout: Duration,

    /// How long a peer may leave an answer unread before its connection is closed
    #[arg(long, env = "WRITE_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = at_most_a_day)]
    pub write_timeout: Duration,

    /// The most requests under way on one HTTP/2 connection
    #[arg(long, env = "MAX_STREAMS", value_name = "COUNT", default_value = "128", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_streams: u32,

    /// How many resets an HTTP/2 peer may provoke before its connection is closed
    #[arg(long, env = "MAX_LOCAL_RESETS", value_name = "COUNT", default_value = "1024")]
    pub max_local_resets: usize,

    /// How many streams an HTTP/2 peer may reset before they were looked at
    #[arg(long, env = "MAX_PENDING_RESETS", value_name = "COUNT", default_value = "20")]
    pub max_pending_resets: usize,

    /// How many frames that ask for nothing (pings, settings) an HTTP/2 peer may send; each request makes room for 100 more
    #[arg(long, env = "MAX_CONTROL_FRAMES", value_name = "COUNT", default_value = "1000", value_parser = at_least_one)]
    pub max_control_frames: usize,

    /// The largest head of an HTTP/2 request, in bytes
    #[arg(long, env = "MAX_HEAD_BYTES", value_name = "BYTES", default_value = "16384", value_parser = clap::value_parser!(u32).range(1_024..))]
    pub max_head_bytes: u32,

    /// How often an HTTP/2 peer is asked whether it is still there
    #[arg(long, env = "KEEPALIVE_INTERVAL", value_name = "DURATION", default_value = "30s", value_parser = at_most_a_day)]
    pub keepalive_interval: Duration,

    /// How long it may take to answer that
    #[arg(long, env = "KEEPALIVE_TIMEOUT", value_name = "DURATION", default_value = "10s", value_parser = at_most_a_day)]
    pub keepalive_timeout: Duration,

    /// How long a connection lives, a tenth more or less
    #[arg(long, env = "MAX_CONNECTION_AGE", value_name = "DURATION", default_value = "15m", value_parser = at_most_a_day)]
    pub max_connection_age: Duration,

    /// How long what is under way may take after that
    #[arg(long, env = "MAX_CONNECTION_AGE_GRACE", value_name = "DURATION", default_value = "30s", value_parser = at_most_a_day)]
    pub max_connection_age_grace: Duration,

    /// The proxies in front, as addresses or networks (10.0.0.0/8), separated by commas: their X-Forwarded-For is believed. For
    /// a service behind `gateway`, that one's address
    #[arg(
        long,
        env = "TRUSTED_PROXIES",
        value_name = "NETWORKS",
        value_delimiter = ',',
        value_parser = network
    )]
    pub trusted_proxies: Vec<IpNet>,
}

/// A network, or a single address as one.
fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address
        .or_else(|_| text.parse())
        .map_err(|_| "must be an address or a network, as in 10.0.0.0/8".to_owned())
}
