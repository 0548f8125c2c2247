//! The host that a request names. Proxies choose a backend by it, and caches and logs take it as it is: what is missing,
//! given twice or invalid is read by each of them in its own way, and so it is refused (RFC 9112, 3.2; RFC 9113, 8.3.1).

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

/// Refuses a request that does not name one valid host.
pub(super) async fn check(request: Request, next: Next) -> Response<Body> {
    match fault(request.version(), request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(sentence) => Problem::invalid_host(sentence).into_response(),
    }
}

/// Gives a request an id, and its answer the same, for listeners that do not observe their requests.
pub(super) async fn identify(mut request: Request, next: Next) -> Response<Body> {
    let id = request_id::give(request.headers_mut());
    let mut response = next.run(request).await;
    response.headers_mut().insert(request_id::HEADER, id);
    response
}

/// What is wrong with the host of a request, if anything is.
fn fault(version: Version, uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().map(|host| host.as_bytes());
    if hosts.next().is_some() {
        return Some("The Host header is given more than once; send it once");
    }
    // In HTTP/1.1 the target of the request may name an authority, too, but the header has to be there all the same.
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

/// Whether this is a host, perhaps with a port, and nothing else: an authority may also have a user.
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

/// Whether this is what may follow a host.
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        None => text.is_empty(),
        Some("") => true,
        // A sign would be read as part of a number.
        Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok(),
    }
}
