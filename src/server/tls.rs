//! TLS of the listeners, and of the connection from a gateway to its service. Certificates are read from files, and again
//! when those change.

mod pem;
mod reload;
mod upstream;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        server::WebPkiClientVerifier,
        sign::SingleCertAndKey,
    },
    server::TlsStream,
};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::pem::fuzz;
use self::{
    pem::Files,
    reload::{Expiries, Names, Reloading},
};
pub use self::{
    pem::TlsError,
    upstream::{Upstream, UpstreamFiles, UpstreamTls},
};
use super::protocol::Protocol;
use crate::supervision::Supervisor;

/// The ALPN name of HTTP/2.
const HTTP_2: &[u8] = b"h2";
/// The ALPN name of HTTP/1.1.
const HTTP_1_1: &[u8] = b"http/1.1";

/// A certificate and its key, in PEM files.
#[derive(Debug, Clone)]
pub struct IdentityFiles {
    /// The certificate, followed by its intermediate certificates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// TLS of the gRPC and the REST listener.
#[derive(Debug, Clone)]
pub struct ListenerTls(Reloading<Configs>);

#[derive(Debug)]
struct Configs {
    grpc: Arc<ServerConfig>,
    rest: Arc<ServerConfig>,
}

impl ListenerTls {
    /// Reads the files, and again after each `interval`; needs the runtime. With `client_ca`, clients need a certificate
    /// signed by an authority in that file.
    ///
    /// # Errors
    /// If the files are invalid, see [`TlsError`]. If they become invalid later, that is logged, and the previous
    /// certificate stays in use.
    pub fn load(identity: IdentityFiles, client_ca: Option<PathBuf>, interval: Duration) -> Result<Self, TlsError> {
        let names = Names {
            what: "the certificate of the listeners",
            identity: "listeners",
            authorities: "client_ca",
        };
        let reloading = Reloading::start(names, interval, move |files: &mut Files| {
            let (identity, expiry) = files.identity(&identity)?;
            let clients = client_ca.as_ref().map(|file| files.authorities(file)).transpose()?;
            let (clients, authorities) = clients.unzip();
            let identity = Arc::new(SingleCertAndKey::from(identity));
            let config = |protocols: &[&[u8]]| config(Arc::clone(&identity), clients.clone(), protocols);
            let configs = Configs {
                grpc: config(&[HTTP_2])?,
                rest: config(&[HTTP_2, HTTP_1_1])?,
            };
            let expiries = Expiries {
                identity: Some(expiry),
                authorities: authorities.flatten(),
            };
            Ok((configs, expiries))
        })?;
        Ok(Self(reloading))
    }

    /// Knows whether the task that reads the files has failed.
    pub(super) fn supervisor(&self) -> &Supervisor {
        self.0.supervisor()
    }

    /// Performs the handshake with the current certificate.
    pub(super) async fn accept(&self, stream: TcpStream, protocol: Protocol) -> io::Result<TlsStream<TcpStream>> {
        let configs = self.0.current();
        let config = match protocol {
            Protocol::Grpc => &configs.grpc,
            Protocol::Rest | Protocol::Admin => &configs.rest,
        };
        TlsAcceptor::from(Arc::clone(config)).accept(stream).await
    }
}

fn config(
    identity: Arc<SingleCertAndKey>,
    clients: Option<Arc<RootCertStore>>,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(authorities, provider()).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_cert_resolver(identity);
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Unusable(error.to_string())
    }
}

impl From<rustls::server::VerifierBuilderError> for TlsError {
    fn from(error: rustls::server::VerifierBuilderError) -> Self {
        Self::Unusable(error.to_string())
    }
}
