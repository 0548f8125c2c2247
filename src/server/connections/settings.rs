use std::time::Duration;

/// The limits of connections. The defaults follow those of the large proxies, where they have any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// The most connections of a listener. A network, except that of a trusted proxy, may have no more of them than are left
    /// for all others; further ones are closed.
    pub max_connections: usize,
    /// The timeout of the TLS handshake.
    pub handshake_timeout: Duration,
    /// The timeout for the head of a request, including the first one on a connection. An HTTP/1.1 connection may be idle for
    /// as long, so a proxy in front must close its idle connections sooner.
    pub head_timeout: Duration,
    /// How long a peer may leave a response unread before its connection is closed.
    pub write_timeout: Duration,
    /// The most concurrent streams of an HTTP/2 connection.
    pub max_streams: u32,
    /// How many streams the service may have to reset on an HTTP/2 connection before it closes the connection. That of a trusted
    /// proxy has no such limit.
    pub max_local_resets: usize,
    /// How many streams an HTTP/2 peer may reset before they were accepted (CVE-2023-44487).
    pub max_pending_resets: usize,
    /// How many control frames (pings, settings) an HTTP/2 peer may send. Each request allows 100 more, and each KiB of
    /// response one more.
    pub max_control_frames: usize,
    /// The largest head of an HTTP/2 request, in bytes.
    pub max_head_bytes: u32,
    /// The interval of HTTP/2 keepalive pings.
    pub keepalive_interval: Duration,
    /// How long the peer may take to answer a keepalive ping.
    pub keepalive_timeout: Duration,
    /// The maximum age of a connection, give or take a tenth, so that load spreads to new instances.
    pub max_age: Duration,
    /// How long calls in flight may take after that.
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
