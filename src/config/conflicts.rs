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
        let both = ["plaintext", if cert { "tls-cert" } else { "tls-key" }];
        let mut public = listeners.to_vec();
        public.retain(|(_, address)| !address.ip().to_canonical().is_loopback());
        let (names, addresses): (Vec<_>, Vec<_>) = public.into_iter().unzip();
        let unencrypted = format!(
            "API keys would cross the network unencrypted to {}; set --tls-cert (TLS_CERT) and --tls-key (TLS_KEY), or \
             --plaintext (PLAINTEXT) if a proxy in front does TLS",
            addresses
                .iter()
                .map(SocketAddr::to_string)
                .collect::<Vec<_>>()
                .join(" and ")
        );
        let is_unencrypted = !self.plaintext && !is_on && !names.is_empty();
        let conflicts = [
            needs(cert && !key, "tls-cert", "tls-key"),
            needs(key && !cert, "tls-key", "tls-cert"),
            needs(self.tls_client_ca.is_some() && !is_on, "tls-client-ca", "tls-cert"),
            Conflict::when(self.plaintext && is_on, &both, "contradict each other; remove one"),
            Conflict::when(is_unencrypted, &names, &unencrypted),
        ];
        conflicts.into_iter().flatten().collect()
    }
}

impl UpstreamTlsConfig {
    /// The conflicts between these settings and the URL of the service.
    pub fn conflicts(&self, is_https: bool) -> Vec<Conflict> {
        let (cert, key) = (self.upstream_cert.is_some(), self.upstream_key.is_some());
        let ca = self.upstream_ca.is_some();
        let needs_https = "needs an --upstream (UPSTREAM) with https://";
        let conflicts = [
            needs(cert && !key, "upstream-cert", "upstream-key"),
            needs(key && !cert, "upstream-key", "upstream-cert"),
            Conflict::when(ca && !is_https, &["upstream-ca"], needs_https),
            Conflict::when(cert && !is_https, &["upstream-cert"], needs_https),
        ];
        conflicts.into_iter().flatten().collect()
    }
}

fn needs(is_wrong: bool, setting: &'static str, other: &str) -> Option<Conflict> {
    let variable = other.to_uppercase().replace('-', "_");
    Conflict::when(is_wrong, &[setting], &format!("needs --{other} ({variable}), too"))
}
