//! What is spoken on a connection, as the settings say: read and checked before anything listens.

use std::time::Duration;

use http::{Uri, uri::InvalidUri};
use tonic::transport::Endpoint;

use super::CommandError;
use crate::{
    config::{GatewayConfig, TlsConfig},
    server::{FaceTls, IdentityFiles, TlsError, Upstream, UpstreamFiles, UpstreamTls},
};

/// How often a silent connection to the service is tested.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The TLS of the listeners, if they speak it.
pub(super) fn of_listeners(config: &TlsConfig) -> Result<Option<FaceTls>, CommandError> {
    let (Some(certificate), Some(key)) = (config.tls_cert.clone(), config.tls_key.clone()) else {
        return Ok(None);
    };
    let identity = IdentityFiles { certificate, key };
    let tls = FaceTls::load(identity, config.tls_client_ca.clone(), config.tls_reload_interval)?;
    Ok(Some(tls))
}

/// The way to the service of a gateway.
pub(super) fn upstream(config: &GatewayConfig) -> Result<Upstream, CommandError> {
    let endpoint = endpoint(&config.upstream).map_err(CommandError::Usage)?;
    let tls = &config.upstream_tls;
    let identity = tls.upstream_cert.clone().zip(tls.upstream_key.clone());
    let files = UpstreamFiles {
        ca: tls.upstream_ca.clone(),
        identity: identity.map(|(certificate, key)| IdentityFiles { certificate, key }),
    };
    let tls = is_https(&config.upstream).then(|| UpstreamTls::load(files, config.tls.tls_reload_interval));
    Ok(Upstream {
        endpoint: endpoint.http2_keep_alive_interval(KEEP_ALIVE),
        tls: tls.transpose()?,
    })
}

/// The address of a service.
pub(super) fn endpoint(url: &str) -> Result<Endpoint, String> {
    let problem = |problem: &str| format!("{problem}; write http://host:50051 or https://host:50051");
    let uri: Uri = url.parse().map_err(|error: InvalidUri| problem(&error.to_string()))?;
    match uri.scheme_str() {
        Some("http") => Ok(Endpoint::from(uri)),
        Some("https") => {
            let plain = plain(&uri).ok_or_else(|| problem("the URL names no host"))?;
            Ok(Endpoint::from(plain).origin(uri))
        }
        _ => Err(problem("the URL must start with http:// or https://")),
    }
}

/// Where to connect to for this address. The library refuses https where somebody else does the TLS, which is so here.
fn plain(https: &Uri) -> Option<Uri> {
    let host = https.host()?;
    let port = https.port_u16().unwrap_or(443);
    format!("http://{host}:{port}").parse().ok()
}

/// Whether the service at this address speaks TLS.
pub(super) fn is_https(url: &str) -> bool {
    url.parse::<Uri>().is_ok_and(|uri| uri.scheme_str() == Some("https"))
}

impl From<TlsError> for CommandError {
    fn from(error: TlsError) -> Self {
        Self::Failed(error.to_string())
    }
}
