//! Accepts connections, enforces their limits, and closes them when the service stops.
//!
//! The accept loops of axum and tonic have no limit of connections and no timeout for silent peers, and turn off hyper's
//! protection against floods of stream resets.

mod settings;

use std::{
    io,
    net::IpAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Request as HttpRequest, Version, header},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use ipnet::IpNet;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

pub use self::settings::ConnectionSettings;
use super::{flood::GuardedStream, protocol::Protocol, sending::Responses, tls::ListenerTls};
use crate::{
    grpc::KeylessCalls,
    key_headers,
    peer::Peer,
    shares::{Share, Shares},
    telemetry::metrics::{ListenerMetrics, OpenConnection},
};

/// The size of the read and write buffers of an HTTP/1.1 connection, which also limits the head, in bytes.
const HTTP1_BUFFER: usize = 64 * 1024;
/// The HTTP/2 flow-control windows: how much a peer may send before the service has read it, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;
/// How much of a response an HTTP/2 stream buffers, in bytes.
const SEND_BUFFER: usize = 32 * 1024;

/// How long to wait after a connection could not be accepted, usually because the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// How long to wait for one more connection once the service stops.
const LAST_CONNECTION: Duration = Duration::from_millis(10);
/// How long an HTTP/1.1 connection, and any connection without a request yet, stays open once the service stops: a request
/// may be on its way. On HTTP/1.1 its response says `connection: close`.
const LAST_REQUESTS: Duration = Duration::from_millis(250);

/// The networks of the proxies whose `X-Forwarded-For` is trusted.
pub type TrustedProxies = Arc<[IpNet]>;

/// The settings of one listener.
#[derive(Debug, Clone)]
pub(super) struct ListenerSettings {
    pub(super) tls: Option<ListenerTls>,
    pub(super) settings: ConnectionSettings,
    pub(super) trusted_proxies: TrustedProxies,
    pub(super) stopping: watch::Receiver<bool>,
}

/// Serves `router` until the service stops. Then it accepts no more connections, and returns when all are closed.
pub(super) async fn serve(socket: TcpListener, router: Router, protocol: Protocol, listener: ListenerSettings) {
    let stopping = &listener.stopping;
    let router = router.layer(from_fn_with_state(stopping.clone(), announce_close));
    let metrics = ListenerMetrics::of(protocol.name());
    let permits = Arc::new(Semaphore::new(
        listener.settings.max_connections.min(Semaphore::MAX_PERMITS),
    ));
    let networks = Shares::new(listener.settings.max_connections);
    // Closes all connections when this future is dropped.
    let mut connections = JoinSet::new();
    let start = |(stream, permit): (TcpStream, OwnedSemaphorePermit)| {
        let address = stream.peer_addr().ok().map(|peer| peer.ip());
        let peer = Peer::new(address, Arc::clone(&listener.trusted_proxies));
        let share = match peer.own_network() {
            Some(network) => networks.take(Some(network), 1),
            // A proxy may take all connections.
            None => {
                let mut share = networks.empty(None);
                share.grow_unchecked(1);
                Some(share)
            }
        };
        let Some(share) = share else {
            // Closed at once: a connection that waits would keep others from being accepted.
            metrics.rejected.increment(1);
            return None;
        };
        let connection = ClientConnection {
            protocol,
            listener: listener.clone(),
            // The connection of a proxy carries the calls of many clients.
            keyless_calls: peer.own_network().map(|_| KeylessCalls::default()),
            peer: Arc::new(peer),
            responses: Responses::default(),
            _permit: permit,
            _share: share,
            _open: metrics.accepted(),
        };
        Some(connection.serve(stream, router.clone()))
    };
    loop {
        tokio::select! {
            () = stopped(stopping.clone()) => break,
            Some(_) = connections.join_next() => {}
            accepted = accept(&socket, &permits) => match accepted {
                Ok(accepted) => {
                    start(accepted).map(|connection| connections.spawn(connection));
                }
                Err(error) => {
                    metrics.accept_errors.increment(1);
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // Connections that wait to be accepted are still served.
    let last = Instant::now() + LAST_REQUESTS;
    while Instant::now() < last
        && let Ok(Ok(accepted)) = tokio::time::timeout(LAST_CONNECTION, accept(&socket, &permits)).await
    {
        start(accepted).map(|connection| connections.spawn(connection));
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

/// The next connection, once there is a permit for it.
async fn accept(socket: &TcpListener, permits: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    loop {
        match socket.accept().await {
            Ok((stream, _peer)) => return Ok((stream, permit)),
            // The peer has already gone.
            Err(error) if is_peer_error(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_peer_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Once the service stops, adds `connection: close` to HTTP/1.1 responses: to close the connection without notice would lose
/// a request that is on its way. HTTP/2 has a frame for this.
async fn announce_close(State(stopping): State<watch::Receiver<bool>>, request: Request, next: Next) -> Response {
    let version = request.version();
    let mut response = next.run(request).await;
    if version <= Version::HTTP_11 && *stopping.borrow() {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Adds the client address to a request, and marks the API key as sensitive, so that it is never printed and never stored
/// by header compression.
fn prepare<B>(mut request: HttpRequest<B>, peer: &Peer, keyless_calls: Option<&KeylessCalls>) -> HttpRequest<B> {
    if let Some(keyless_calls) = keyless_calls {
        request.extensions_mut().insert(keyless_calls.clone());
    }
    let headers = request.headers_mut();
    peer.write(headers);
    key_headers::hide(headers);
    request
}

pub(super) async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is also a stop.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

struct ClientConnection {
    protocol: Protocol,
    listener: ListenerSettings,
    peer: Arc<Peer>,
    responses: Responses,
    keyless_calls: Option<KeylessCalls>,
    /// Count it among all connections, and among those of its network.
    _permit: OwnedSemaphorePermit,
    _share: Share<Option<IpAddr>>,
    _open: OpenConnection,
}

impl ClientConnection {
    async fn serve(self, stream: TcpStream, router: Router) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        match &self.listener.tls {
            None => self.http(stream, router).await,
            // On the heap, to keep a connection without TLS small.
            Some(tls) => Box::pin(self.https(tls, stream, router)).await,
        }
    }

    async fn https(&self, tls: &ListenerTls, stream: TcpStream, router: Router) {
        if let Some(stream) = self.handshake(tls, stream).await {
            self.http(stream, router).await;
        }
    }

    /// Failures are logged at debug level: network scanners cause thousands of them.
    async fn handshake(&self, tls: &ListenerTls, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let stopped = async {
            stopped(self.listener.stopping.clone()).await;
            tokio::time::sleep(LAST_REQUESTS).await;
        };
        let handshake = tokio::time::timeout(
            self.listener.settings.handshake_timeout,
            tls.accept(stream, self.protocol),
        );
        tokio::select! {
            handshake = handshake => match handshake {
                Ok(Ok(stream)) => return Some(stream),
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_elapsed) => tracing::debug!("a TLS handshake took too long"),
            },
            () = stopped => {}
        }
        None
    }

    async fn http(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
        let has_request = Arc::new(AtomicBool::new(false));
        let service = service_fn(|request: HttpRequest<Incoming>| {
            has_request.store(true, Ordering::Relaxed);
            let request = prepare(request, &self.peer, self.keyless_calls.as_ref());
            let (responses, response) = (self.responses.clone(), router.clone().oneshot(request.map(Body::new)));
            async move { response.await.map(|response| responses.send(response)) }
        });
        let mut stream = TimeoutStream::new(GuardedStream::new(stream, self.listener.settings.max_control_frames));
        stream.set_write_timeout(Some(self.listener.settings.write_timeout));
        let stream = TokioIo::new(Box::pin(stream));
        let builder = self.builder();
        let mut connection = pin!(builder.serve_connection(stream, service));
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.responses.stalled(self.listener.settings.write_timeout) => {
                if self.responses.make_progress(self.listener.settings.write_timeout) {
                    // Other responses on this connection make progress, as on that of a proxy. They may finish.
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(self.listener.settings.max_age_grace, connection).await;
                }
                // Dropping closes it. The peer does not read, so there is no point in a goodbye.
                return;
            }
            // Dropping closes it.
            () = silent_for(self.listener.settings.head_timeout, &has_request) => return,
            () = tokio::time::sleep(self.max_age()) => {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(self.listener.settings.max_age_grace, connection).await;
                return;
            }
            () = stopped(self.listener.stopping.clone()) => {}
        }
        if self.protocol != Protocol::Grpc
            && let Ok(_ended) = tokio::time::timeout(LAST_REQUESTS, connection.as_mut()).await
        {
            return;
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            // The shutdown bounds this wait.
            _ = connection.as_mut() => {}
            // A peer without a request gets no more time.
            () = silent_for(LAST_REQUESTS, &has_request) => {}
        }
    }

    fn builder(&self) -> Builder<TokioExecutor> {
        let settings = &self.listener.settings;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(settings.head_timeout)
            .max_buf_size(HTTP1_BUFFER);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(settings.max_streams)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_local_error_reset_streams(self.max_local_resets())
            .max_pending_accept_reset_streams(settings.max_pending_resets)
            .max_header_list_size(settings.max_head_bytes)
            .keep_alive_interval(settings.keepalive_interval)
            .keep_alive_timeout(settings.keepalive_timeout);
        match self.protocol {
            Protocol::Grpc => builder.http2_only(),
            Protocol::Rest | Protocol::Admin => builder,
        }
    }

    /// How many streams the service may have to reset before it closes the connection. A message that arrives after its call was
    /// rejected counts, too. So that of a trusted proxy has no limit: it carries the calls of many, of which some are rejected.
    fn max_local_resets(&self) -> Option<usize> {
        self.peer.own_network().map(|_| self.listener.settings.max_local_resets)
    }

    /// The time after which this connection is closed. It varies, so that connections opened together are not all closed
    /// together.
    fn max_age(&self) -> Duration {
        self.listener.settings.max_age.mul_f64(rand::random_range(0.9..1.1))
    }
}

/// Returns after this time if there was no request by then; otherwise never.
async fn silent_for(time: Duration, has_request: &AtomicBool) {
    tokio::time::sleep(time).await;
    if has_request.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
