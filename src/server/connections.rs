//! Connections: accepted one by one, held to their bounds, and let go of one by one when the service stops.
//!
//! The loops of the frameworks accept without end, wait without end for a peer that says nothing, and lift the guards that
//! the HTTP library has against streams that are opened and reset in masses.

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
    http::{
        HeaderName, HeaderValue, Request as HttpRequest, Version,
        header::{self, Entry},
    },
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
use super::{flood::Bounded, protocol::Protocol, sending::Answers, tls::FaceTls};
use crate::{
    grpc::KeylessCalls,
    peer::Peer,
    shares::{Share, Shares},
    telemetry::metrics::{FaceFigures, OpenConnection},
};

/// The header that carries an API key.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// How much of a head, and of what is on its way in or out, an HTTP/1.1 connection keeps, in bytes.
const HTTP1_BUFFER: usize = 64 * 1024;
/// How much an HTTP/2 peer may send on a stream, and on all of a connection, before the service has read it, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 512 * 1024;
/// How much of an answer an HTTP/2 stream keeps until the peer takes it, in bytes.
const SEND_BUFFER: usize = 32 * 1024;

/// How long to wait after a connection could not be accepted: most often, because the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);
/// How long to look for one more connection once the service stops.
const LAST_CONNECTION: Duration = Duration::from_millis(10);
/// How long an HTTP/1.1 connection, and one on which nothing was asked yet, stays open once the service stops, for a request
/// that is on its way. On HTTP/1.1, the answer to it says that it was the last.
const LAST_REQUESTS: Duration = Duration::from_millis(250);

/// The proxies that are believed when they say for whom they ask.
pub type TrustedProxies = Arc<[IpNet]>;

/// What every listener serves by.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) tls: Option<FaceTls>,
    pub(super) settings: ConnectionSettings,
    pub(super) trusted_proxies: TrustedProxies,
    pub(super) stopping: watch::Receiver<bool>,
}

/// Serves `router` to whoever connects until the service stops; then accepts nobody, and returns when every connection is
/// done.
pub(super) async fn serve(listener: TcpListener, router: Router, protocol: Protocol, terms: Terms) {
    let stopping = &terms.stopping;
    let router = router.layer(from_fn_with_state(stopping.clone(), announce_the_end));
    let figures = FaceFigures::of(protocol.name());
    let permits = Arc::new(Semaphore::new(
        terms.settings.max_connections.min(Semaphore::MAX_PERMITS),
    ));
    let networks = Shares::new(terms.settings.max_connections);
    // Dropped with this future, and all connections with it.
    let mut connections = JoinSet::new();
    let start = |(stream, permit): (TcpStream, OwnedSemaphorePermit)| {
        let address = stream.peer_addr().ok().map(|peer| peer.ip());
        let peer = Peer::new(address, Arc::clone(&terms.trusted_proxies));
        let share = match peer.own_network() {
            Some(network) => networks.take(Some(network), 1),
            // A proxy may have all, and leaves less to others.
            None => {
                let mut share = networks.nothing(None);
                share.grow_unchecked(1);
                Some(share)
            }
        };
        let Some(share) = share else {
            // Closed at once: whoever waited could keep others from being accepted.
            figures.refused.increment(1);
            return None;
        };
        let connection = Connection {
            protocol,
            terms: terms.clone(),
            // A proxy's connection carries the calls of many.
            keyless_calls: peer.own_network().map(|_| KeylessCalls::default()),
            peer: Arc::new(peer),
            answers: Answers::default(),
            _permit: permit,
            _share: share,
            _open: figures.accepted(),
        };
        Some(connection.serve(stream, router.clone()))
    };
    loop {
        tokio::select! {
            () = stopped(stopping.clone()) => break,
            Some(_) = connections.join_next() => {}
            accepted = accept(&listener, &permits) => match accepted {
                Ok(accepted) => {
                    start(accepted).map(|connection| connections.spawn(connection));
                }
                Err(error) => {
                    figures.accept_errors.increment(1);
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    // Who has connected already is not turned away.
    let last = Instant::now() + LAST_REQUESTS;
    while Instant::now() < last
        && let Ok(Ok(accepted)) = tokio::time::timeout(LAST_CONNECTION, accept(&listener, &permits)).await
    {
        start(accepted).map(|connection| connections.spawn(connection));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => return Ok((stream, permit)),
            // The peer was gone before it was its turn.
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// Tells HTTP/1.1 peers with the answer that the connection is about to end: to close it without a word loses the request
/// that is just on its way. (HTTP/2 has a frame for it.)
async fn announce_the_end(State(stopping): State<watch::Receiver<bool>>, request: Request, next: Next) -> Response {
    let version = request.version();
    let mut response = next.run(request).await;
    if version <= Version::HTTP_11 && *stopping.borrow() {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Writes down where a request comes from, and marks what must never be printed, or remembered by a compression of headers,
/// before anybody else sees it.
fn prepared<B>(mut request: HttpRequest<B>, peer: &Peer, keyless_calls: Option<&KeylessCalls>) -> HttpRequest<B> {
    if let Some(keyless_calls) = keyless_calls {
        request.extensions_mut().insert(keyless_calls.clone());
    }
    let headers = request.headers_mut();
    peer.write(headers);
    if let Entry::Occupied(mut keys) = headers.entry(API_KEY) {
        keys.iter_mut().for_each(|key| key.set_sensitive(true));
    }
    request
}

pub(super) async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

struct Connection {
    protocol: Protocol,
    terms: Terms,
    peer: Arc<Peer>,
    answers: Answers,
    keyless_calls: Option<KeylessCalls>,
    /// Its place among the connections, and among those of its network.
    _permit: OwnedSemaphorePermit,
    _share: Share<Option<IpAddr>>,
    _open: OpenConnection,
}

impl Connection {
    async fn serve(self, stream: TcpStream, router: Router) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        match &self.terms.tls {
            None => self.http(stream, router).await,
            // On the heap, so that a connection without TLS is no larger than it has to be.
            Some(tls) => Box::pin(self.https(tls, stream, router)).await,
        }
    }

    async fn https(&self, tls: &FaceTls, stream: TcpStream, router: Router) {
        if let Some(stream) = self.handshake(tls, stream).await {
            self.http(stream, router).await;
        }
    }

    /// Whoever scans a network fails here, by the thousand: nothing to warn of.
    async fn handshake(&self, tls: &FaceTls, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let stopped = async {
            stopped(self.terms.stopping.clone()).await;
            tokio::time::sleep(LAST_REQUESTS).await;
        };
        let handshake = tokio::time::timeout(self.terms.settings.handshake_timeout, tls.accept(stream, self.protocol));
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
        let was_asked = Arc::new(AtomicBool::new(false));
        let service = service_fn(|request: HttpRequest<Incoming>| {
            was_asked.store(true, Ordering::Relaxed);
            let request = prepared(request, &self.peer, self.keyless_calls.as_ref());
            let (answers, answer) = (self.answers.clone(), router.clone().oneshot(request.map(Body::new)));
            async move { answer.await.map(|answer| answers.send(answer)) }
        });
        let mut stream = TimeoutStream::new(Bounded::new(stream, self.terms.settings.max_control_frames));
        stream.set_write_timeout(Some(self.terms.settings.write_timeout));
        let stream = TokioIo::new(Box::pin(stream));
        let builder = self.builder();
        let mut connection = pin!(builder.serve_connection(stream, service));
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.answers.stalled(self.terms.settings.write_timeout) => {
                if self.answers.move_on(self.terms.settings.write_timeout) {
                    // Others on this connection are answered: a proxy's, most often. They may come to their end.
                    connection.as_mut().graceful_shutdown();
                    let _ = tokio::time::timeout(self.terms.settings.max_age_grace, connection).await;
                }
                // Dropped, and so closed: the peer does not read what could be said.
                return;
            }
            // Dropped, and so closed: there is nobody to say goodbye to.
            () = silent_for(self.terms.settings.head_timeout, &was_asked) => return,
            () = tokio::time::sleep(self.age()) => {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(self.terms.settings.max_age_grace, connection).await;
                return;
            }
            () = stopped(self.terms.stopping.clone()) => {}
        }
        if self.protocol != Protocol::Grpc
            && let Ok(_ended) = tokio::time::timeout(LAST_REQUESTS, connection.as_mut()).await
        {
            return;
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            // Who stops the service bounds this.
            _ = connection.as_mut() => {}
            // A peer that has nothing to wait for is not waited for.
            () = silent_for(LAST_REQUESTS, &was_asked) => {}
        }
    }

    fn builder(&self) -> Builder<TokioExecutor> {
        let settings = &self.terms.settings;
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
            .max_local_error_reset_streams(settings.max_local_resets)
            .max_pending_accept_reset_streams(settings.max_pending_resets)
            .max_header_list_size(settings.max_head_bytes)
            .keep_alive_interval(settings.keepalive_interval)
            .keep_alive_timeout(settings.keepalive_timeout);
        match self.protocol {
            Protocol::Grpc => builder.http2_only(),
            Protocol::Rest | Protocol::Admin => builder,
        }
    }

    /// A little different for each connection, so that those of one moment do not all come back at one moment.
    fn age(&self) -> Duration {
        self.terms.settings.max_age.mul_f64(rand::random_range(0.9..1.1))
    }
}

/// Returns when the peer has had this time for a first request and made none; else never.
async fn silent_for(time: Duration, was_asked: &AtomicBool) {
    tokio::time::sleep(time).await;
    if was_asked.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}
