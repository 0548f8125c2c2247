//! Which addresses count as one.

use std::net::{IpAddr, Ipv6Addr};

/// The network of an address: an IPv4 address alone, or an IPv6 /64, because every IPv6 client has at least 2^64 addresses.
pub(crate) fn of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}
