//! What the program is told about TLS.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::{Conflict, at_most_a_day};

/// The TLS of what `serve` and `gateway` listen on.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsConfig {
    /// A PEM file with the certificate of this service and those between it and its authority; turns TLS on
    #[arg(long, env = "TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// A PEM file with the private key of the certificate
    #[arg(long, env = "TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// A PEM file with the authorities of which clients need a certificate; without it, they need none
    #[arg(long, env = "TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,

    /// How long a peer may take for the TLS handshake
    #[arg(long, env = "TLS_HANDSHAKE_TIMEOUT", value_name = "DURATION", default_value = "5s", value_parser = at_most_a_day)]
    pub tls_handshake_timeout: Duration,

    /// How often to look whether certificates and keys have changed
    #[arg(long, env = "TLS_RELOAD_INTERVAL", value_name = "DURATION", default_value = "10s", value_parser = at_most_a_day)]
    pub tls_reload_interval: Duration,

    /// Listen without TLS on more than loopback, because a proxy in front does TLS
    #[arg(long, env = "PLAINTEXT")]
    pub plaintext: bool,
}

impl TlsConfig {
    /// What does not fit together: the settings, and with them the addresses to listen on, each with the name of its
    /// setting.
    pub fn conflicts(&self, listeners: &[(&'static str, SocketAddr)]) -> Vec<Conflict> {
        let mut conflicts = together(
            ("tls-cert", "TLS_CERT", self.tls_cert.is_some()),
            ("tls-key", "TLS_KEY", self.tls_key.is_some()),
        );
        let is_on = self.tls_cert.is_some() || self.tls_key.is_some();
        if self.tls_client_ca.is_some() && !is_on {
            conflicts.push(Conflict {
                settings: vec!["tls-client-ca"],
                problem: "needs --tls-cert (TLS_CERT) and --tls-key (TLS_KEY) beside it".into(),
            });
        }
        if self.plaintext && is_on {
            conflicts.push(Conflict {
                settings: vec![
                    "plaintext",
                    if self.tls_cert.is_some() { "tls-cert" } else { "tls-key" },
                ],
                problem: "they contradict each other; take one of them away".into(),
            });
        }
        let public: Vec<_> = listeners.iter().filter(|(_, address)| !is_loopback(address)).collect();
        if !self.plaintext && !is_on && !public.is_empty() {
            let addresses: Vec<String> = public.iter().map(|(_, address)| address.to_string()).collect();
            conflicts.push(Conflict {
                settings: public.iter().map(|(setting, _)| *setting).collect(),
                problem: format!(
                    "keys would come unencrypted from other machines to {}; set --tls-cert (TLS_CERT) and --tls-key \
                     (TLS_KEY), or --plaintext (PLAINTEXT) if a proxy in front does TLS",
                    addresses.join(" and ")
                ),
            });
        }
        conflicts
    }
}

/// The TLS of a gateway as a client of its service.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "TLS of the upstream")]
pub struct UpstreamTlsConfig {
    /// A PEM file with the authorities of the service's certificate; without it, those that browsers trust
    #[arg(long, env = "UPSTREAM_CA", value_name = "FILE")]
    pub upstream_ca: Option<PathBuf>,

    /// A PEM file with the certificate by which the service knows this gateway
    #[arg(long, env = "UPSTREAM_CERT", value_name = "FILE")]
    pub upstream_cert: Option<PathBuf>,

    /// A PEM file with the private key of that certificate
    #[arg(long, env = "UPSTREAM_KEY", value_name = "FILE")]
    pub upstream_key: Option<PathBuf>,
}

impl UpstreamTlsConfig {
    /// What does not fit together: the settings, and with them the address of the service.
    pub fn conflicts(&self, is_https: bool) -> Vec<Conflict> {
        let mut conflicts = together(
            ("upstream-cert", "UPSTREAM_CERT", self.upstream_cert.is_some()),
            ("upstream-key", "UPSTREAM_KEY", self.upstream_key.is_some()),
        );
        if !is_https {
            let settings = [
                ("upstream-ca", &self.upstream_ca),
                ("upstream-cert", &self.upstream_cert),
            ];
            let set = settings.iter().filter(|(_, file)| file.is_some());
            conflicts.extend(set.map(|(setting, _)| Conflict {
                settings: vec![*setting],
                problem: "needs an --upstream (UPSTREAM) with https://".into(),
            }));
        }
        conflicts
    }
}

/// A setting, its environment variable, and whether it is set.
type Presence = (&'static str, &'static str, bool);

/// Of two settings that need each other, the one that is there without the other.
fn together(first: Presence, second: Presence) -> Vec<Conflict> {
    let ((present, ..), (missing, variable, _)) = match (first.2, second.2) {
        (true, false) => (first, second),
        (false, true) => (second, first),
        _ => return Vec::new(),
    };
    vec![Conflict {
        settings: vec![present],
        problem: format!("needs --{missing} ({variable}) beside it"),
    }]
}

fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}
