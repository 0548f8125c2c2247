//! The receiver of a webhook: one connection, used for one request after another.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use super::pause::retry_after;
use crate::error_chain::root_cause;

/// The longest response that is read, in bytes. After a longer one, a new connection is made.
const LONGEST_RESPONSE: usize = 64 * 1024;

/// A receiver of webhooks at a URL.
pub struct Receiver {
    host: String,
    port: u16,
    /// The header `Host`.
    authority: HeaderValue,
    /// The path and the query.
    path: Uri,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
    connection: Option<Connection>,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// The task that reads and writes.
    _task: JoinSet<()>,
}

/// Why there cannot be such a receiver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiverError {
    /// The URL is invalid.
    #[error("{0}")]
    Url(String),
    /// There are no certificates to trust.
    #[error("the file has no certificate in PEM form, or an invalid one")]
    Ca,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// A request to post.
pub(super) struct Message {
    pub(super) id: String,
    /// In seconds since 1970.
    pub(super) timestamp: u64,
    pub(super) signature: String,
    pub(super) body: Bytes,
}

/// The result of a request.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    Accepted,
    /// This status is not expected to change.
    Rejected(String),
    /// The same request may be accepted later.
    Failed {
        problem: String,
        /// How long the receiver asks to wait.
        retry_after: Option<Duration>,
    },
}

impl Receiver {
    /// The receiver at `url`, which has `timeout` to respond to a request. With https, its certificate must come from one of the
    /// authorities in `ca` (PEM), or from a public one.
    ///
    /// # Errors
    /// When the URL or the certificates are invalid.
    pub fn new(url: &str, ca: Option<&[u8]>, timeout: Duration) -> Result<Self, ReceiverError> {
        let invalid = |problem: &str| ReceiverError::Url(problem.to_owned());
        let uri: Uri = url
            .parse()
            .map_err(|error: http::uri::InvalidUri| invalid(&error.to_string()))?;
        let is_https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") if ca.is_none() => false,
            Some("http") => return Err(invalid("a certificate needs https://")),
            _ => return Err(invalid("the URL must start with http:// or https://")),
        };
        let authority = uri.authority().filter(|authority| !authority.host().is_empty());
        let authority = authority.ok_or_else(|| invalid("the URL names no host"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("the URL must not contain a user or a password"));
        }
        // In a URL an IPv6 address is in brackets.
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let tls = if is_https {
            let name = ServerName::try_from(host.clone()).map_err(|_| invalid("the URL has an invalid host"))?;
            Some((connector(ca)?, name))
        } else {
            None
        };
        Ok(Self {
            port: authority.port_u16().unwrap_or(if is_https { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|error| invalid(&error.to_string()))?,
            path: path
                .parse()
                .map_err(|error: http::uri::InvalidUri| invalid(&error.to_string()))?,
            host,
            tls,
            timeout,
            connection: None,
        })
    }

    /// Posts a message once.
    pub(super) async fn post(&mut self, message: Message) -> Outcome {
        let failed = |problem: String| Outcome::Failed {
            problem,
            retry_after: None,
        };
        let request = match self.request(message) {
            Ok(request) => request,
            Err(error) => return failed(error.to_string()),
        };
        // Without an outcome, what the connection has read is unknown.
        let (timeout, connection) = (self.timeout, self.connection.take());
        match tokio::time::timeout(timeout, self.exchange(connection, request)).await {
            Ok(Ok(response)) => outcome(&response),
            Ok(Err(problem)) => failed(problem),
            Err(_elapsed) => failed(format!("no response within {}", humantime::format_duration(timeout))),
        }
    }

    fn request(&self, message: Message) -> http::Result<Request<Full<Bytes>>> {
        Request::builder()
            .method(Method::POST)
            .uri(self.path.clone())
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(
                header::USER_AGENT,
                concat!("device-assignment/", env!("CARGO_PKG_VERSION")),
            )
            .header("webhook-id", message.id)
            .header("webhook-timestamp", message.timestamp)
            .header("webhook-signature", message.signature)
            .body(Full::new(message.body))
    }

    /// Sends a request, receives the whole response, and keeps the connection if it can be used again.
    async fn exchange(
        &mut self,
        connection: Option<Connection>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<()>, String> {
        let usable = match connection {
            Some(mut connection) => connection.sender.ready().await.is_ok().then_some(connection),
            None => None,
        };
        let mut connection = match usable {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let response = connection.sender.send_request(request).await;
        let (head, body) = response.map_err(|error| root_cause(&error))?.into_parts();
        if is_read(body).await {
            self.connection = Some(connection);
        }
        Ok(Response::from_parts(head, ()))
    }

    async fn connect(&self) -> Result<Connection, String> {
        let failed = |error: std::io::Error| format!("cannot be reached ({})", root_cause(&error));
        let tcp = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        match &self.tls {
            None => connection(tcp).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), tcp).await.map_err(failed)?;
                connection(stream).await
            }
        }
    }
}

fn connector(ca: Option<&[u8]>) -> Result<TlsConnector, ReceiverError> {
    let authorities = match ca {
        None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
        Some(pem) => authorities(pem).ok_or(ReceiverError::Ca)?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ReceiverError::Tls(error.to_string()))?
        .with_root_certificates(authorities)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// The certificates in a PEM file, at least one.
fn authorities(pem: &[u8]) -> Option<RootCertStore> {
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        authorities.add(certificate.ok()?).ok()?;
    }
    (!authorities.is_empty()).then_some(authorities)
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Connection, String> {
    let (sender, connection) = handshake(TokioIo::new(stream))
        .await
        .map_err(|error| root_cause(&error))?;
    let mut task = JoinSet::new();
    // The sender reports its errors.
    task.spawn(async move { drop(connection.await) });
    Ok(Connection { sender, _task: task })
}

/// Reads a body to its end, and returns whether there was an end.
async fn is_read(body: Incoming) -> bool {
    let read = Limited::new(body, LONGEST_RESPONSE).collect().await;
    read.is_ok()
}

fn outcome(response: &Response<()>) -> Outcome {
    let status = response.status();
    match status {
        _ if status.is_success() => Outcome::Accepted,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => failed(response),
        _ if status.is_server_error() => failed(response),
        _ => Outcome::Rejected(status.to_string()),
    }
}

fn failed(response: &Response<()>) -> Outcome {
    let asked = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    Outcome::Failed {
        problem: response.status().to_string(),
        retry_after: asked.and_then(|value| retry_after(value, SystemTime::now())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(url: &str, ca: Option<&str>) -> Option<ReceiverError> {
        Receiver::new(url, ca.map(str::as_bytes), Duration::from_secs(1)).err()
    }

    #[test]
    fn a_url_has_a_scheme_and_a_host() {
        for url in [
            "http://127.0.0.1:8080/hook?a=b",
            "https://[::1]/",
            "https://hooks.example.com",
        ] {
            assert_eq!(problem(url, None), None, "{url:?}");
        }
        for url in [
            "",
            "/",
            "hooks.example.com/hook",
            "ftp://host/",
            "http://",
            "http://user:password@host/",
            "https://-/",
        ] {
            assert!(matches!(problem(url, None), Some(ReceiverError::Url(_))), "{url:?}");
        }
    }

    #[test]
    fn certificates_go_with_https_only() {
        let pem = Some("-----BEGIN CERTIFICATE-----");
        assert!(matches!(problem("http://host", pem), Some(ReceiverError::Url(_))));
        for ca in [
            "",
            "not a certificate",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert_eq!(problem("https://host", Some(ca)), Some(ReceiverError::Ca), "{ca:?}");
        }
    }

    #[test]
    fn the_status_decides() {
        let of = |status: u16| outcome(&Response::builder().status(status).body(()).expect("a response"));
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(of(status), Outcome::Accepted, "{status}");
        }
        for status in [301, 307, 304, 400, 401, 404, 409, 410, 413, 422] {
            assert!(matches!(of(status), Outcome::Rejected(_)), "{status}");
        }
        for status in [408, 425, 429, 500, 501, 502, 503, 504, 599] {
            assert!(matches!(of(status), Outcome::Failed { .. }), "{status}");
        }
    }
}
