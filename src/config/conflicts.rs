use std::net::SocketAddr;

use super::settings::{TlsConfig, UpstreamTlsConfig};

/// A problem with settings that are valid one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The names of the settings.
    pub settings: Vec<&'static str>,
    /// The problem, and how to fix it.
    pub problem: String,
}

impl Conflict {
    /// A conflict if `is_wrong`.
    pub fn when(is_wrong: bool, settings: &[&'static str], problem: &str) -> Option<Self> {
        is_wrong.then(|| Self {
            settings: settings.to_vec(),
            problem: problem.to_owned(),
        })
    }
}

impl TlsConfig {
    /// The conflicts between these settings and the addresses of the listeners, each given with its setting.
    pub fn conflicts(&self, listeners: &[(&'static str, SocketAddr)]) -> Vec<Conflict> {
        let (cert, key) = (self.tls_cert.is_some(), self.tls_key.is_some());
        let is_on = cert || key;
        let file = if cert { "tls-cert" } else { "tls-key" };
        let public = listeners
            .iter()
            .filter(|(_, address)| !address.ip().to_canonical().is_loopback());
        let (settings, addresses): (Vec<_>, Vec<_>) =
            public.map(|(name, address)| (*name, address.to_string())).unzip();
        let unencrypted = format!(
            "API keys would cross the network unencrypted to {}; set --tls-cert (TLS_CERT) and --tls-key (TLS_KEY), or \
             --plaintext (PLAINTEXT) if a proxy in front does TLS",
            addresses.join(" and ")
        );
        let needs_both = "needs --tls-cert (TLS_CERT) and --tls-key (TLS_KEY), too";
        let conflicts = [
            Conflict::when(cert && !key, &["tls-cert"], "needs --tls-key (TLS_KEY), too"),
            Conflict::when(key && !cert, &["tls-key"], "needs --tls-cert (TLS_CERT), too"),
            Conflict::when(self.tls_client_ca.is_some() && !is_on, &["tls-client-ca"], needs_both),
            Conflict::when(
                self.plaintext && is_on,
                &["plaintext", file],
                "contradict each other; remove one",
            ),
            Conflict::when(
                !self.plaintext && !is_on && !settings.is_empty(),
                &settings,
                &unencrypted,
            ),
        ];
        conflicts.into_iter().flatten().collect()
    }
}

impl UpstreamTlsConfig {
    /// The conflicts between these settings and the URL of the service.
    pub fn conflicts(&self, is_https: bool) -> Vec<Conflict> {
        let (cert, key) = (self.upstream_cert.is_some(), self.upstream_key.is_some());
        let needs_https = "needs an --upstream (UPSTREAM) with https://";
        let conflicts = [
            Conflict::when(
                cert && !key,
                &["upstream-cert"],
                "needs --upstream-key (UPSTREAM_KEY), too",
            ),
            Conflict::when(
                key && !cert,
                &["upstream-key"],
                "needs --upstream-cert (UPSTREAM_CERT), too",
            ),
            Conflict::when(self.upstream_ca.is_some() && !is_https, &["upstream-ca"], needs_https),
            Conflict::when(cert && !is_https, &["upstream-cert"], needs_https),
        ];
        conflicts.into_iter().flatten().collect()
    }
}
