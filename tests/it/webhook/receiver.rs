//! A receiver of webhooks that fails as a test says.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::{HeaderMap, RETRY_AFTER},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sha2::Sha256;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// The secret of the tests, 32 bytes.
pub const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// Another one.
pub const OLD_SECRET: &str = "whsec_/wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// How long a test waits for a request: far longer than the longest pause in it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the receiver does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Accept,
    /// A status, and seconds to wait.
    Fail(u16, Option<&'static str>),
    /// The connection is closed without a response.
    Cut,
    /// There is no response.
    Hang,
}

/// A request.
#[derive(Debug, Clone)]
pub struct Posted {
    pub id: String,
    pub change: Value,
    pub at: Instant,
    pub reply: Reply,
}

impl Posted {
    pub fn revision(&self) -> u64 {
        let revision = self.change["revision"].as_str().expect("a revision");
        revision.parse().expect("a number")
    }
}

/// What was posted to a receiver, and what it is going to do. Both outlive the receiver.
#[derive(Clone, Default)]
pub struct Script {
    pub posted: Arc<watch::Sender<Vec<Posted>>>,
    replies: Arc<Mutex<VecDeque<Reply>>>,
}

impl Script {
    /// The replies to the next requests. All others are accepted.
    pub fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.replies.lock().expect("no panic").extend(replies);
    }

    /// Waits until `count` requests were posted, and returns all.
    pub async fn posted(&self, count: usize) -> Vec<Posted> {
        self.posted_until(|posted| posted.len() >= count).await
    }

    /// Waits until the change with this revision is accepted.
    pub async fn accepted(&self, revision: u64) -> Vec<Posted> {
        self.posted_until(|posted| accepted(posted).contains(&revision)).await
    }

    async fn posted_until(&self, is_enough: impl Fn(&[Posted]) -> bool) -> Vec<Posted> {
        let mut posted = self.posted.subscribe();
        let waited = tokio::time::timeout(PATIENCE, posted.wait_for(|posted| is_enough(posted))).await;
        let found = waited.map(|found| found.expect("a receiver").clone());
        found.unwrap_or_else(|_| panic!("too few requests: {:?}", self.posted.borrow()))
    }

    async fn handle(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, &'static str> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| "cut off")?.to_bytes();
        assert_eq!(
            (head.method.as_str(), head.uri.to_string().as_str()),
            ("POST", "/hook?a=b")
        );
        let id = verify(&head.headers, &body);
        let reply = self
            .replies
            .lock()
            .expect("no panic")
            .pop_front()
            .unwrap_or(Reply::Accept);
        self.posted.send_modify(|posted| {
            posted.push(Posted {
                id,
                change: serde_json::from_slice(&body).expect("JSON"),
                at: Instant::now(),
                reply,
            });
        });
        match reply {
            Reply::Accept => Ok(Response::new(Full::default())),
            Reply::Cut => Err("cut"),
            Reply::Hang => std::future::pending().await,
            Reply::Fail(status, retry_after) => {
                let mut response = Response::builder().status(status);
                if let Some(seconds) = retry_after {
                    response = response.header(RETRY_AFTER, seconds);
                }
                Ok(response
                    .body(Full::from("the receiver's own text"))
                    .expect("a response"))
            }
        }
    }
}

/// The revisions that were accepted, in order.
pub fn accepted(posted: &[Posted]) -> Vec<u64> {
    let accepted = posted.iter().filter(|posted| posted.reply == Reply::Accept);
    accepted.map(Posted::revision).collect()
}

/// Checks the signature as a receiver does that knows one of the secrets, and returns the id.
fn verify(headers: &HeaderMap, body: &[u8]) -> String {
    let header = |name| headers[name].to_str().expect("text");
    let [id, timestamp, signatures] = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(header);
    let secret = STANDARD.decode(&SECRET["whsec_".len()..]).expect("base64");
    let mut signed = Hmac::<Sha256>::new_from_slice(&secret).expect("a key");
    signed.update(&[id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat());
    let expected = format!("v1,{}", STANDARD.encode(signed.finalize().into_bytes()));
    let mut found = signatures.split(' ');
    assert!(
        found.any(|signature| signature == expected),
        "{signatures}, not {expected}"
    );
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_secs();
    assert!(timestamp.parse::<u64>().expect("seconds").abs_diff(now) < 300);
    assert_eq!(header("content-type"), "application/json");
    id.to_owned()
}

/// A running receiver. Dropping it closes its connections.
pub struct Receiver {
    pub address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Receiver {
    pub async fn start(script: &Script) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), None, script).await
    }

    /// At an address, with TLS if there is an acceptor.
    pub async fn start_at(address: SocketAddr, tls: Option<TlsAcceptor>, script: &Script) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let script = script.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.expect("a connection");
                let (script, tls) = (script.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(tcp, script).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                serve(stream, script).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, _tasks: tasks }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, script: Script) {
    let handle = service_fn(move |request| script.clone().handle(request));
    // It fails when a test says so.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), handle)
        .await;
}
