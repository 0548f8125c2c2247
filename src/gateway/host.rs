//! The host that a request names. Proxies choose a backend by it, and caches and logs use it. They disagree about a host that is
//! missing, repeated or invalid, so such a request is rejected (RFC 9112, 3.2; RFC 9113, 8.3.1).

use std::net::Ipv6Addr;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, Response, Uri, Version, header::HOST, uri::Authority},
    middleware::Next,
    response::IntoResponse,
};

use super::problem::Problem;
use crate::request_id;

/// Rejects a request that does not name exactly one valid host.
pub(super) async fn check(request: Request, next: Next) -> Response<Body> {
    match fault(request.version(), request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(sentence) => Problem::invalid_host(sentence).into_response(),
    }
}

/// Gives a request and its answer the same id. For listeners without the `observe` layer.
pub(super) async fn identify(mut request: Request, next: Next) -> Response<Body> {
    let id = request_id::give(request.headers_mut());
    let mut response = next.run(request).await;
    response.headers_mut().insert(request_id::HEADER, id);
    response
}

/// What is wrong with the host of a request, if anything.
fn fault(version: Version, uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().map(|host| host.as_bytes());
    if hosts.next().is_some() {
        return Some("The Host header is given more than once; send it once");
    }
    // An HTTP/1.1 request needs the header even if its target names an authority.
    let authority = uri.authority().filter(|_| version >= Version::HTTP_2);
    let authority = authority.map(|authority| authority.as_str().as_bytes());
    match (authority, host) {
        (None, None) if version < Version::HTTP_11 => None,
        (None, None) => Some("The Host header is missing; send it once"),
        _ if [authority, host].into_iter().flatten().any(|name| !is_valid(name)) => {
            Some("The Host header must be a host name or an IP address, with or without a port")
        }
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            Some("The Host header differs from :authority; send :authority alone")
        }
        _ => None,
    }
}

/// Whether this is a host with an optional port. An authority may also contain a user, which is not allowed here.
fn is_valid(name: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(name) else {
        return false;
    };
    let host = authority.host();
    let is_host = match host.strip_prefix('[') {
        Some(address) => address
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty(),
    };
    let port = authority.as_str().strip_prefix(host);
    is_host && port.is_some_and(is_port)
}

/// Whether this may follow a host: nothing, or a colon and an optional port.
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        None => text.is_empty(),
        Some("") => true,
        // `parse` alone would accept a sign.
        Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok(),
    }
}
