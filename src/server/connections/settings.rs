use std::time::Duration;

/// What peers may take before anything is known of them. The figures follow the defaults of the large proxies, where
/// there are any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// The most connections of a listener. A network that is no trusted proxy's may have no more of them than are left for
    /// all others; further ones are closed.
    pub max_connections: usize,
    /// How long a peer may take for the TLS handshake, where there is one.
    pub handshake_timeout: Duration,
    /// How long a peer may take for the head of a request, the first one after it has connected included. So it is also how
    /// long an HTTP/1.1 connection may be idle: a proxy in front has to give up its own sooner.
    pub head_timeout: Duration,
    /// How long a peer may leave an answer unread, all of it or the rest, before its connection is closed.
    pub write_timeout: Duration,
    /// The most requests that one HTTP/2 connection may have under way.
    pub max_streams: u32,
    /// How many streams an HTTP/2 peer may make the service reset before its connection is closed.
    pub max_local_resets: usize,
    /// How many streams an HTTP/2 peer may reset before they were looked at (CVE-2023-44487).
    pub max_pending_resets: usize,
    /// How many frames that ask for nothing (pings, settings) an HTTP/2 peer may send. Each request makes room for 100 more,
    /// and each KiB that it is sent for one.
    pub max_control_frames: usize,
    /// The largest head of an HTTP/2 request, in bytes.
    pub max_head_bytes: u32,
    /// How often an HTTP/2 peer is asked whether it is still there.
    pub keepalive_interval: Duration,
    /// How long it may take to answer that.
    pub keepalive_timeout: Duration,
    /// How long a connection lives, so that load spreads over instances that were added since. A tenth more or less.
    pub max_age: Duration,
    /// How long what is under way may take after that.
    pub max_age_grace: Duration,
}

impl Default for ConnectionSettings {
    fn default() -> Self {
        Self {
            max_connections: 4_096,
            handshake_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            max_streams: 128,
            max_local_resets: 1_024,
            max_pending_resets: 20,
            max_control_frames: 1_000,
            max_head_bytes: 16 * 1024,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            max_age: Duration::from_secs(15 * 60),
            max_age_grace: Duration::from_secs(30),
        }
    }
}
