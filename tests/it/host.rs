//! The Host header and `:authority`: a request names exactly one valid host.

use std::net::SocketAddr;

use http::{Method, Request, Version};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::support::{
    Kind, Suite, TestDatabase, TestServer,
    http1::{Http1Answer, ask},
};

const MISSING: &str = "The Host header is missing; send it once";
const REPEATED: &str = "The Host header is given more than once; send it once";
const INVALID: &str = "The Host header must be a host name or an IP address, with or without a port";
const DIFFERENT: &str = "The Host header differs from :authority; send :authority alone";

pub fn register(suite: &mut Suite) {
    suite.on(Kind::Sqlite, "host::http_1_needs_one_that_is_valid", http_1);
    suite.on(Kind::Sqlite, "host::http_2_needs_one_authority", http_2);
}

/// Each HTTP/1.1 listener, with a path that it serves.
fn listeners(server: &TestServer) -> [(SocketAddr, &'static str); 3] {
    [
        (server.rest, "/openapi.json"),
        (server.remote_rest, "/openapi.json"),
        (server.admin, "/livez"),
    ]
}

#[track_caller]
fn assert_refused(answer: &Http1Answer, sentence: &str, request: &str) {
    assert_eq!(answer.status, 400, "{request:?}: {answer:?}");
    assert_eq!(answer.body["error"], sentence, "{request:?}");
    assert_eq!(answer.body["code"], "INVALID_ARGUMENT", "{request:?}");
    let id = answer.body["requestId"].as_str().expect("an id");
    assert!(answer.head.contains(&format!("x-request-id: {id}")), "{answer:?}");
}

async fn http_1(database: &TestDatabase) {
    let server = TestServer::start(database).await;
    for (address, path) in listeners(&server) {
        for fields in [
            "Host: localhost\r\n",
            "host: example.com:8080\r\n",
            "Host: EXAMPLE.com:\r\n",
            "Host: 127.0.0.1:8080\r\n",
            "Host:[::1]:8080\r\n",
            "Host:  a_b.example \r\n",
        ] {
            let request = format!("GET {path} HTTP/1.1\r\n{fields}connection: close\r\n\r\n");
            assert_eq!(ask(address, &request).await.status, 200, "{request:?}");
        }
        // The target takes precedence, but the header is required.
        let request = format!("GET http://example.com{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        assert_eq!(ask(address, &request).await.status, 200, "{request:?}");
        // HTTP/1.0 has no such header.
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        assert_eq!(ask(address, &request).await.status, 200, "{request:?}");

        for (fields, sentence) in [
            ("", MISSING),
            ("Host: a.example\r\nHost: b.example\r\n", REPEATED),
            ("Host: a.example\r\nx: y\r\nhost: a.example\r\n", REPEATED),
            ("Host:\r\n", INVALID),
            ("Host: a.example, b.example\r\n", INVALID),
            ("Host: a.example b.example\r\n", INVALID),
            ("Host: user@a.example\r\n", INVALID),
            ("Host: a.example:http\r\n", INVALID),
            ("Host: a.example:65536\r\n", INVALID),
            ("Host: a.example:+80\r\n", INVALID),
            ("Host: a.example:1:2\r\n", INVALID),
            ("Host: :8080\r\n", INVALID),
            ("Host: [::1\r\n", INVALID),
            ("Host: [a.example]\r\n", INVALID),
            ("Host: http://a.example\r\n", INVALID),
            ("Host: a.example/\r\n", INVALID),
            ("Host: a.example?\r\n", INVALID),
            ("Host: \u{e4}.example\r\n", INVALID),
        ] {
            let request = format!("GET {path} HTTP/1.1\r\n{fields}connection: close\r\n\r\n");
            assert_refused(&ask(address, &request).await, sentence, &request);
        }
        for (target, version, fields, sentence) in [
            (format!("http://example.com{path}"), "1.1", "", MISSING),
            (path.to_owned(), "1.0", "Host: a\r\nHost: a\r\n", REPEATED),
            (path.to_owned(), "1.0", "Host: a b\r\n", INVALID),
            ("/nothing".to_owned(), "1.1", "", MISSING),
        ] {
            let request = format!("GET {target} HTTP/{version}\r\n{fields}connection: close\r\n\r\n");
            assert_refused(&ask(address, &request).await, sentence, &request);
        }
    }
    server.stop().await;
}

/// The status and the error of an HTTP/2 request with these Host headers.
async fn over_http_2(address: SocketAddr, uri: &str, hosts: &[&str]) -> (u16, Value) {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (requests, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(Method::GET).uri(uri);
    if uri.starts_with('/') {
        // The client omits `:authority` only in such a request.
        request = request.version(Version::HTTP_11);
    }
    for host in hosts {
        request = request.header("host", *host);
    }
    let mut requests = requests.ready().await.expect("room");
    let sent = requests.send_request(request.body(()).expect("a request"), true);
    let answer = sent.expect("sent").0.await.expect("an answer");
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.expect("data");
        body.flow_control().release_capacity(data.len()).expect("released");
        text.extend(data);
    }
    drop(requests);
    connection.abort();
    let body: Value = serde_json::from_slice(&text).unwrap_or_default();
    (status, body["error"].clone())
}

async fn http_2(database: &TestDatabase) {
    let server = TestServer::start(database).await;
    for (address, path) in listeners(&server) {
        let with_authority = format!("http://a.example:8080{path}");
        for (uri, hosts) in [
            (with_authority.as_str(), &[][..]),
            (&with_authority, &["a.example:8080"]),
            (&with_authority, &["A.example:8080"]),
            (path, &["a.example"]),
        ] {
            let (status, error) = over_http_2(address, uri, hosts).await;
            assert_eq!(status, 200, "{uri} {hosts:?}: {error}");
        }
        let with_user = format!("http://user@a.example:8080{path}");
        for (uri, hosts, sentence) in [
            (with_authority.as_str(), &["b.example"][..], DIFFERENT),
            (&with_authority, &["a.example"], DIFFERENT),
            (&with_authority, &["a.example:8080", "a.example:8080"], REPEATED),
            (&with_authority, &["a b"], INVALID),
            (&with_user, &[], INVALID),
            (path, &[], MISSING),
            (path, &["a.example", "b.example"], REPEATED),
            (path, &["a b"], INVALID),
        ] {
            let answer = over_http_2(address, uri, hosts).await;
            assert_eq!(answer, (400, sentence.into()), "{uri} {hosts:?}");
        }
    }
    server.stop().await;
}
