//! What is spoken on a connection, as the settings say: read and checked before anything listens.

use std::{net::SocketAddr, time::Duration};

use tonic::transport::Endpoint;

use super::Failure;
use crate::{
    config::{GatewayConfig, TlsConfig},
    server::{FaceTls, IdentityFiles, TlsError, Upstream, UpstreamFiles, UpstreamTls},
};

/// How often a silent connection to the service is tested.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The TLS of the listeners, if they speak it. Each of them comes with the setting that names its address.
pub(super) fn of_listeners(config: &TlsConfig, listeners: &[(&str, SocketAddr)]) -> Result<Option<FaceTls>, Failure> {
    check(&config.mistakes(listeners))?;
    let (Some(certificate), Some(key)) = (config.tls_cert.clone(), config.tls_key.clone()) else {
        return Ok(None);
    };
    let identity = IdentityFiles { certificate, key };
    let tls = FaceTls::load(identity, config.tls_client_ca.clone(), config.tls_reload_interval)?;
    Ok(Some(tls))
}

/// The way to the service of a gateway.
pub(super) fn upstream(config: &GatewayConfig) -> Result<Upstream, Failure> {
    let usage = |problem: &str| {
        Failure::Usage(format!(
            "--upstream (UPSTREAM): {problem}; write http://host:50051 or https://host:50051"
        ))
    };
    let endpoint = Endpoint::from_shared(config.upstream.clone()).map_err(|error| usage(&error.to_string()))?;
    let is_https = match endpoint.uri().scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(usage("the URL must start with http:// or https://")),
    };
    let tls = &config.upstream_tls;
    check(&tls.mistakes(is_https))?;
    let identity = tls.upstream_cert.clone().zip(tls.upstream_key.clone());
    let files = UpstreamFiles {
        ca: tls.upstream_ca.clone(),
        identity: identity.map(|(certificate, key)| IdentityFiles { certificate, key }),
    };
    let tls = is_https.then(|| UpstreamTls::load(files, config.tls.tls_reload_interval));
    Ok(Upstream {
        endpoint: endpoint.http2_keep_alive_interval(KEEP_ALIVE),
        tls: tls.transpose()?,
    })
}

fn check(mistakes: &[String]) -> Result<(), Failure> {
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(Failure::Usage(mistakes.join("; ")))
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self::Failed(error.to_string())
    }
}
