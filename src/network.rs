//! What counts as one address.

use std::net::{IpAddr, Ipv6Addr};

/// The network that counts as one address: whoever has an IPv6 network has at least 2^64 addresses of it.
pub(crate) fn of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}
