//! Checks of single values. No message repeats the value, which may be a secret.

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use http::{HeaderValue, Uri};
use ipnet::IpNet;

/// The largest count. A rate limit with more per second would have less than a nanosecond for each.
pub(super) const MOST: usize = 1_000_000_000;
pub(super) const GIB: usize = 1 << 30;
pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3_600);
pub(super) const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A number in `range`.
pub(super) fn number<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Clone,
{
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("must be a number from {} to {}", range.start(), range.end())),
    }
}

/// A duration from `min` to `max`.
pub(super) fn duration(min: Duration, max: Duration) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| match humantime::parse_duration(text) {
        Ok(duration) if (min..=max).contains(&duration) => Ok(duration),
        _ => {
            let [min, max] = [min, max].map(humantime::format_duration);
            Err(format!("must be a duration from {min} to {max}, as in 90s or 500ms"))
        }
    }
}

/// Where to listen: IP:PORT, HOST:PORT or :PORT.
pub(super) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let form = "must be an address with a port, as in 127.0.0.1:8080, localhost:8080 or :8080";
    let (host, port) = text.rsplit_once(':').ok_or(form)?;
    let port: u16 = port.parse().map_err(|_| form)?;
    if host.is_empty() {
        return Ok((all_interfaces(), port).into());
    }
    if !host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) {
        return Err(form.into());
    }
    let addresses = (host, port).to_socket_addrs();
    let addresses = addresses.map_err(|error| format!("the host name does not resolve ({error})"))?;
    // For a name with several addresses, most servers choose IPv4.
    let address = addresses.min_by_key(SocketAddr::is_ipv6);
    address.ok_or_else(|| "the host name has no address".into())
}

/// The unspecified address. That of IPv6 takes IPv4 connections, too.
fn all_interfaces() -> IpAddr {
    match UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// The URL of a gRPC service.
pub(super) fn service_url(text: &str) -> Result<Uri, String> {
    let problem = match text.parse::<Uri>() {
        Err(error) => error.to_string(),
        Ok(uri) if !matches!(uri.scheme_str(), Some("http" | "https")) => {
            "the URL must start with http:// or https://".into()
        }
        Ok(uri) if uri.host().is_none_or(str::is_empty) => "the URL names no host".into(),
        Ok(uri)
            if uri
                .authority()
                .is_some_and(|authority| authority.as_str().contains('@')) =>
        {
            "the URL must not contain a user or a password".into()
        }
        Ok(uri) => return Ok(uri),
    };
    Err(format!("{problem}; write http://host:50051 or https://host:50051"))
}

/// A network such as 10.0.0.0/8, or a single address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address
        .or_else(|_| text.parse())
        .map_err(|_| "must be an address or a network, as in 10.0.0.0/8".into())
}

/// The address of the admin listener, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminAddr {
    /// There is no admin listener.
    Off,
    /// It listens here.
    At(SocketAddr),
}

/// The origin of web pages, as browsers write it in the header `Origin`.
pub(super) fn origin(text: &str) -> Result<HeaderValue, String> {
    let form = "must be an origin, as in https://app.example.com or http://localhost:3000; * is not supported";
    let text = text.trim().to_ascii_lowercase();
    let uri: Uri = text.parse().map_err(|_| form)?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(form.into());
    };
    let is_name = authority
        .host()
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-._[]:".contains(c));
    let has_port = authority.port().is_some() || authority.as_str() == authority.host();
    // Anything else, such as a path or a user, is not part of an origin.
    if !is_name || !has_port || text != format!("{scheme}://{authority}") || authority.as_str().contains('@') {
        return Err(form.into());
    }
    if authority.port_u16() == Some(if scheme == "http" { 80 } else { 443 }) {
        return Err("must not have the default port, which browsers leave out".into());
    }
    HeaderValue::try_from(text).map_err(|_| form.into())
}

pub(super) fn admin_address(text: &str) -> Result<AdminAddr, String> {
    match text {
        "off" => Ok(AdminAddr::Off),
        _ => match listen_address(text) {
            Ok(address) => Ok(AdminAddr::At(address)),
            Err(problem) => Err(format!("{problem}, or off")),
        },
    }
}

pub(super) fn otlp_endpoint(text: &str) -> Result<String, String> {
    match text.strip_prefix("http://") {
        Some(host) if !host.is_empty() => Ok(text.into()),
        _ => Err("must start with http://, as in http://host:4317".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_browsers_send() {
        for (text, sent) in [
            ("https://app.example.com", "https://app.example.com"),
            (" http://localhost:3000", "http://localhost:3000"),
            ("HTTPS://App.Example.com:8443", "https://app.example.com:8443"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(origin(text).expect(text), sent);
        }
        for text in [
            "",
            "*",
            "null",
            "app.example.com",
            "https://*.example.com",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://app.example.com?query",
            "https://user@app.example.com",
            "https://app.example.com:",
            "https://app.example.com:443",
            "http://app.example.com:80",
            "ftp://app.example.com",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
