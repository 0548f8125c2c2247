//! Connections from a gateway to its service.

use std::{path::PathBuf, sync::Arc, time::Duration};

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName, sign::SingleCertAndKey},
};
use tonic::transport::{Channel, Endpoint};
use tower::{BoxError, ServiceExt, service_fn};

use super::{
    HTTP_2, IdentityFiles, TlsError,
    pem::Files,
    provider,
    reload::{Expiries, Names, Reloading},
};
use crate::supervision::Supervisor;

/// The service of a gateway.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The address of the service.
    pub endpoint: Endpoint,
    /// TLS, for an https address.
    pub tls: Option<UpstreamTls>,
}

/// The PEM files for the connections to the service.
#[derive(Debug, Clone, Default)]
pub struct UpstreamFiles {
    /// The certificate authorities to trust; the public ones if there is no file.
    pub ca: Option<PathBuf>,
    /// The client certificate of the gateway.
    pub identity: Option<IdentityFiles>,
}

/// TLS of the connections to the service.
#[derive(Debug, Clone)]
pub struct UpstreamTls(Reloading<ClientConfig>);

impl UpstreamTls {
    /// Reads the files, like [`ListenerTls::load`](super::ListenerTls::load).
    ///
    /// # Errors
    /// If the files are invalid.
    pub fn load(files: UpstreamFiles, interval: Duration) -> Result<Self, TlsError> {
        let UpstreamFiles { ca, identity } = files;
        let names = Names {
            what: "the TLS of the upstream",
            identity: "upstream",
            authorities: "upstream_ca",
        };
        let reloading = Reloading::start(names, interval, move |files: &mut Files| {
            let mut expiries = Expiries::default();
            let authorities = match &ca {
                Some(file) => {
                    let (authorities, expiry) = files.authorities(file)?;
                    expiries.authorities = expiry;
                    authorities
                }
                None => {
                    let public = webpki_roots::TLS_SERVER_ROOTS.iter().cloned();
                    Arc::new(public.collect::<RootCertStore>())
                }
            };
            let builder = ClientConfig::builder_with_provider(provider())
                .with_safe_default_protocol_versions()?
                .with_root_certificates(authorities);
            let mut config = match &identity {
                None => builder.with_no_client_auth(),
                Some(identity) => {
                    let (identity, expiry) = files.identity(identity)?;
                    let identity = Arc::new(SingleCertAndKey::from(identity));
                    expiries.identity = Some(expiry);
                    builder.with_client_cert_resolver(identity)
                }
            };
            config.alpn_protocols = vec![HTTP_2.to_vec()];
            Ok((config, expiries))
        })?;
        Ok(Self(reloading))
    }

    /// Knows whether the task that reads the files has failed.
    pub(in crate::server) fn supervisor(&self) -> &Supervisor {
        self.0.supervisor()
    }

    /// Connects with the current certificates.
    async fn connect(&self, tcp: HttpConnector, uri: Uri) -> Result<TokioIo<TlsStream<TcpStream>>, BoxError> {
        // In a URL an IPv6 address is in brackets.
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned())?;
        let stream = tcp.oneshot(uri).await?.into_inner();
        let connector = TlsConnector::from(self.0.current());
        let stream = connector.connect(name, stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(HTTP_2) {
            return Err("the server speaks TLS but not HTTP/2".into());
        }
        Ok(TokioIo::new(stream))
    }
}

impl Upstream {
    /// A channel that connects on first use, within `connect_timeout`.
    pub(in crate::server) fn channel(&self, connect_timeout: Duration) -> Channel {
        let endpoint = self.endpoint.clone().tcp_nodelay(true).connect_timeout(connect_timeout);
        let Some(tls) = self.tls.clone() else {
            return endpoint.connect_lazy();
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        endpoint.connect_with_connector_lazy(service_fn(move |uri: Uri| {
            let (tls, tcp) = (tls.clone(), tcp.clone());
            async move { tls.connect(tcp, uri).await }
        }))
    }
}
