//! The address that a request comes from. Both faces treat it alike: the connection writes it down, and whatever the caller
//! says of itself counts for nothing, unless it is a proxy that is trusted.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::network;

/// The header, and the metadata entry, in which the address goes from the connection to whoever asks for it, in one
/// process.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-peer-address");

/// The header, and the metadata entry, in which a proxy says for whom it asks.
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    address: Option<IpAddr>,
    /// For the requests of one that is not trusted.
    written: Option<HeaderValue>,
    trusted_proxies: Arc<[IpNet]>,
}

impl Peer {
    /// The peer with this address, if it is known.
    pub(crate) fn new(address: Option<IpAddr>, trusted_proxies: Arc<[IpNet]>) -> Self {
        let address = address.map(|address| address.to_canonical());
        Self {
            address,
            written: address.and_then(written),
            trusted_proxies,
        }
    }

    /// Its network, if this is a caller and not a proxy that asks for others.
    pub(crate) fn own_network(&self) -> Option<IpAddr> {
        let own = self.address.filter(|peer| !is_trusted(*peer, &self.trusted_proxies));
        own.map(network::of)
    }

    /// Writes down where a request of this peer comes from, over whatever stood there.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.remove(HEADER);
        let written = match self.address {
            Some(peer) if is_trusted(peer, &self.trusted_proxies) => {
                origin(headers, peer, &self.trusted_proxies).and_then(written)
            }
            _ => self.written.clone(),
        };
        if let Some(address) = written {
            headers.insert(HEADER, address);
        }
    }
}

fn written(address: IpAddr) -> Option<HeaderValue> {
    HeaderValue::try_from(address.to_string()).ok()
}

/// Where a request comes from, if that is known.
pub(crate) fn of(headers: &HeaderMap) -> Option<IpAddr> {
    headers.get(HEADER)?.to_str().ok()?.parse().ok()
}

/// The network that a request comes from, if that is known.
pub(crate) fn network_of(headers: &HeaderMap) -> Option<IpAddr> {
    of(headers).map(network::of)
}

fn is_trusted(address: IpAddr, trusted_proxies: &[IpNet]) -> bool {
    trusted_proxies.iter().any(|network| network.contains(&address))
}

/// Every proxy adds at the end the address that it was asked from. So the last one that is no trusted proxy's is whom the
/// trusted ones ask for, and what stands before it is that one's own word.
fn origin(headers: &HeaderMap, peer: IpAddr, trusted_proxies: &[IpNet]) -> Option<IpAddr> {
    let mut origin = peer;
    let values: Vec<&HeaderValue> = headers.get_all(FORWARDED_FOR).iter().collect();
    for value in values.into_iter().rev() {
        for entry in value.as_bytes().rsplit(|byte| *byte == b',') {
            // A trusted proxy that does not know whom it asks for: nobody knows then.
            origin = address(entry)?;
            if !is_trusted(origin, trusted_proxies) {
                return Some(origin);
            }
        }
    }
    Some(origin)
}

/// Reads an address, which some proxies write with a port.
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
    fn what_a_stranger_says_counts_for_nothing() {
        for forwarded_for in [[].as_slice(), &["203.0.113.7"], &["203.0.113.7, 10.0.0.1"]] {
            let written = written("192.0.2.1", forwarded_for, &["10.0.0.0/8"]);
            assert_eq!(written.as_deref(), Some("192.0.2.1"));
        }
    }

    #[test]
    fn a_trusted_proxy_says_for_whom_it_asks() {
        for (forwarded_for, origin) in [
            (["203.0.113.7"].as_slice(), "203.0.113.7"),
            // What comes first is what the caller claimed.
            (&["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
            (&["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
            (&["10.0.0.5,203.0.113.7 ,10.0.0.2"], "203.0.113.7"),
            (&["nonsense, 203.0.113.7"], "203.0.113.7"),
            (&["203.0.113.7:4711"], "203.0.113.7"),
            (&["[2001:db8::1]:4711"], "2001:db8::1"),
            (&["::ffff:203.0.113.7"], "203.0.113.7"),
            // Nobody but proxies.
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
    fn what_nobody_knows_is_not_written() {
        assert_eq!(written("10.0.0.1", &["unknown"], &["10.0.0.0/8"]), None);
        assert_eq!(written("10.0.0.1", &[""], &["10.0.0.0/8"]), None);
        assert_eq!(written("no address", &["203.0.113.7"], &["10.0.0.0/8"]), None);
    }
}
