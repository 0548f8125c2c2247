//! TLS as the settings say, loaded and checked before anything listens.

use std::time::Duration;

use http::Uri;
use tonic::transport::Endpoint;

use super::CommandError;
use crate::{
    config::{GatewayConfig, TlsConfig},
    server::{IdentityFiles, ListenerTls, TlsError, Upstream, UpstreamFiles, UpstreamTls},
};

/// How often a silent connection to the service is tested.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The TLS of the listeners, if it is enabled.
pub(super) fn of_listeners(config: &TlsConfig) -> Result<Option<ListenerTls>, CommandError> {
    let (Some(certificate), Some(key)) = (config.tls_cert.clone(), config.tls_key.clone()) else {
        return Ok(None);
    };
    let identity = IdentityFiles { certificate, key };
    let tls = ListenerTls::load(identity, config.tls_client_ca.clone(), config.tls_reload_interval)?;
    Ok(Some(tls))
}

/// How a gateway reaches its service.
pub(super) fn upstream(config: &GatewayConfig) -> Result<Upstream, CommandError> {
    let endpoint = endpoint(&config.upstream)?;
    let tls = &config.upstream_tls;
    let identity = tls.upstream_cert.clone().zip(tls.upstream_key.clone());
    let files = UpstreamFiles {
        ca: tls.upstream_ca.clone(),
        identity: identity.map(|(certificate, key)| IdentityFiles { certificate, key }),
    };
    let tls = is_https(&config.upstream).then(|| UpstreamTls::load(files, config.server.tls.tls_reload_interval));
    Ok(Upstream {
        endpoint: endpoint.http2_keep_alive_interval(KEEP_ALIVE),
        tls: tls.transpose()?,
    })
}

/// The address of a service.
fn endpoint(url: &Uri) -> Result<Endpoint, CommandError> {
    if !is_https(url) {
        return Ok(Endpoint::from(url.clone()));
    }
    let plain = plain(url).ok_or_else(|| CommandError::Usage("--upstream (UPSTREAM) names no host".into()))?;
    Ok(Endpoint::from(plain).origin(url.clone()))
}

/// The address to connect to. The library rejects https when it does not do the TLS itself, as here.
fn plain(https: &Uri) -> Option<Uri> {
    let host = https.host()?;
    let port = https.port_u16().unwrap_or(443);
    format!("http://{host}:{port}").parse().ok()
}

/// Whether the service at this address uses TLS.
pub(super) fn is_https(url: &Uri) -> bool {
    url.scheme_str() == Some("https")
}

impl From<TlsError> for CommandError {
    fn from(error: TlsError) -> Self {
        Self::Failed(error.to_string())
    }
}
