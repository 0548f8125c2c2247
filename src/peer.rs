//! The client address of a request, for gRPC and REST. The connection writes it into a header of the request. Only trusted
//! proxies may name another address, and the protocol that their client speaks.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::network;

/// The header and metadata entry that carries the client address within the process.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-peer-address");

/// The header and metadata entry in which a proxy names its client.
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The metadata entry in which a gateway names the protocol of its client.
pub(crate) const PROTOCOL: HeaderName = HeaderName::from_static("x-protocol");

/// The other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    address: Option<IpAddr>,
    /// The header value of an untrusted peer.
    header: Option<HeaderValue>,
    trusted_proxies: Arc<[IpNet]>,
}

impl Peer {
    /// The peer with this address, if it is known.
    pub(crate) fn new(address: Option<IpAddr>, trusted_proxies: Arc<[IpNet]>) -> Self {
        let address = address.map(|address| address.to_canonical());
        Self {
            address,
            header: address.and_then(header),
            trusted_proxies,
        }
    }

    /// Its network; `None` for a trusted proxy.
    pub(crate) fn own_network(&self) -> Option<IpAddr> {
        let own = self.address.filter(|peer| !is_trusted(*peer, &self.trusted_proxies));
        own.map(network::of)
    }

    /// Writes the client address of a request, and overwrites what the client sent in its place. Removes the protocol that an
    /// untrusted client names.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.remove(HEADER);
        let value = match self.address {
            Some(peer) if is_trusted(peer, &self.trusted_proxies) => {
                origin(headers, peer, &self.trusted_proxies).and_then(header)
            }
            _ => {
                headers.remove(PROTOCOL);
                self.header.clone()
            }
        };
        if let Some(address) = value {
            headers.insert(HEADER, address);
        }
    }
}

fn header(address: IpAddr) -> Option<HeaderValue> {
    HeaderValue::try_from(address.to_string()).ok()
}

/// The client address of a request, if it is known.
pub(crate) fn of(headers: &HeaderMap) -> Option<IpAddr> {
    headers.get(HEADER)?.to_str().ok()?.parse().ok()
}

/// The client network of a request, if it is known.
pub(crate) fn network_of(headers: &HeaderMap) -> Option<IpAddr> {
    of(headers).map(network::of)
}

fn is_trusted(address: IpAddr, trusted_proxies: &[IpNet]) -> bool {
    trusted_proxies.iter().any(|network| network.contains(&address))
}

/// Every proxy appends the address of its client. So the last address that is not a trusted proxy is the client; everything
/// before it comes from that client and is ignored.
fn origin(headers: &HeaderMap, peer: IpAddr, trusted_proxies: &[IpNet]) -> Option<IpAddr> {
    let mut origin = peer;
    let values: Vec<&HeaderValue> = headers.get_all(FORWARDED_FOR).iter().collect();
    for value in values.into_iter().rev() {
        for entry in value.as_bytes().rsplit(|byte| *byte == b',') {
            // A trusted proxy that does not know its client.
            origin = address(entry)?;
            if !is_trusted(origin, trusted_proxies) {
                return Some(origin);
            }
        }
    }
    Some(origin)
}

/// Parses an address. Some proxies add a port.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let entry = std::str::from_utf8(entry).ok()?.trim();
    let address = IpAddr::from_str(entry).or_else(|_| SocketAddr::from_str(entry).map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(peer: &str, forwarded_for: &[&str], trusted: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_static("198.51.100.66"));
        for value in forwarded_for {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(value).expect("a value"));
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().expect("a network")).collect();
        Peer::new(peer.parse().ok(), trusted.into()).write(&mut headers);
        of(&headers).map(|address| address.to_string())
    }

    #[test]
    fn an_untrusted_peer_cannot_name_another_address() {
        for forwarded_for in [[].as_slice(), &["203.0.113.7"], &["203.0.113.7, 10.0.0.1"]] {
            let written = written("192.0.2.1", forwarded_for, &["10.0.0.0/8"]);
            assert_eq!(written.as_deref(), Some("192.0.2.1"));
        }
    }

    #[test]
    fn a_trusted_proxy_names_its_client() {
        for (forwarded_for, origin) in [
            (["203.0.113.7"].as_slice(), "203.0.113.7"),
            // The first address comes from the client itself.
            (&["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
            (&["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
            (&["10.0.0.5,203.0.113.7 ,10.0.0.2"], "203.0.113.7"),
            (&["nonsense, 203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7:4711"], "203.0.113.7"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["::ffff:203.0.113.7"], "203.0.113.7"),
            // Only proxies.
            (&["10.0.0.9, 10.0.0.2"], "10.0.0.9"),
            (&[], "10.0.0.1"),
        ] {
            for peer in ["10.0.0.1", "::ffff:10.0.0.1"] {
                let written = written(peer, forwarded_for, &["10.0.0.0/8"]);
                assert_eq!(written.as_deref(), Some(origin), "{forwarded_for:?}");
            }
        }
    }

    #[test]
    fn only_a_trusted_proxy_names_a_protocol() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().expect("a network")];
        for (peer, is_trusted) in [("10.0.0.1", true), ("192.0.2.1", false), ("no address", false)] {
            let mut headers = HeaderMap::new();
            headers.insert(PROTOCOL, HeaderValue::from_static("rest"));
            Peer::new(peer.parse().ok(), trusted.clone().into()).write(&mut headers);
            assert_eq!(headers.contains_key(PROTOCOL), is_trusted, "{peer}");
        }
    }

    #[test]
    fn an_unknown_address_is_not_written() {
        assert_eq!(written("10.0.0.1", &["unknown"], &["10.0.0.0/8"]), None);
        assert_eq!(written("10.0.0.1", &[""], &["10.0.0.0/8"]), None);
        assert_eq!(written("no address", &["203.0.113.7"], &["10.0.0.0/8"]), None);
    }
}
