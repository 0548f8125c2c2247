//! The addresses that `serve` and `gateway` listen on.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

use super::CommandError;
use crate::config::{AdminAddr, AdminConfig, Conflict};

/// The setting and the address of the admin listener, if there is one.
pub(super) fn admin_listener(config: &AdminConfig) -> Option<(&'static str, SocketAddr)> {
    match config.admin_addr {
        AdminAddr::Off => None,
        AdminAddr::At(address) => Some(("admin-addr", address)),
    }
}

/// The conflicts between listeners with the same address.
pub(super) fn shared_addresses(listeners: impl Iterator<Item = (&'static str, SocketAddr)>) -> Vec<Conflict> {
    let listeners: Vec<_> = listeners.collect();
    let mut conflicts = Vec::new();
    for (index, (name, address)) in listeners.iter().enumerate() {
        for (other, same) in listeners.iter().skip(index + 1) {
            // With port 0, each gets a port of its own.
            conflicts.extend(Conflict::when(
                address == same && address.port() != 0,
                &[*name, *other],
                &format!("both are {address}; each listener needs its own address"),
            ));
        }
    }
    conflicts
}

/// The address at which a client on this machine reaches a listener, even if it listens on all interfaces.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other.ip(),
    };
    SocketAddr::new(ip, address.port())
}

pub(super) async fn bind(address: SocketAddr, setting: &str) -> Result<TcpListener, CommandError> {
    TcpListener::bind(address).await.map_err(|error| {
        CommandError::Failed(format!(
            "cannot listen on {address} ({error}); set {setting} to another address"
        ))
    })
}

pub(super) async fn bind_admin(config: &AdminConfig) -> Result<Option<TcpListener>, CommandError> {
    match config.admin_addr {
        AdminAddr::Off => Ok(None),
        AdminAddr::At(address) => Ok(Some(bind(address, "--admin-addr (ADMIN_ADDR)").await?)),
    }
}

/// Logs where an API listens. Programs read these lines: their fields do not change.
pub(super) fn log_listening(api: &'static str, address: SocketAddr, tls: bool) {
    tracing::info!(api, %address, tls, "listening");
}

pub(super) fn log_admin(listener: Option<&TcpListener>) -> Result<(), CommandError> {
    if let Some(listener) = listener {
        log_listening("admin", local_addr(listener)?, false);
    }
    Ok(())
}

pub(super) fn local_addr(listener: &TcpListener) -> Result<SocketAddr, CommandError> {
    listener
        .local_addr()
        .map_err(|error| CommandError::Failed(format!("a listener has no address: {error}")))
}
