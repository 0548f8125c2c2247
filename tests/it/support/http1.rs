//! HTTP/1.1 as bytes on a connection, for requests that no client library sends.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How long the server may take to close the connection: far more than it needs, and less than the timeout of a head.
const CLOSES_WITHIN: Duration = Duration::from_secs(8);

/// One response.
#[derive(Debug)]
pub struct Http1Answer {
    pub status: u16,
    /// The status line and the fields, in lower case.
    pub head: String,
    /// The body, null if it is not JSON.
    pub body: Value,
}

/// Sends these pieces, and returns the responses until the server closes.
pub async fn exchange(address: SocketAddr, pieces: &[&[u8]]) -> Vec<Http1Answer> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    for (number, piece) in pieces.iter().enumerate() {
        if number > 0 {
            // Usually they arrive one by one then; the responses are the same if they do not.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stream.write_all(piece).await.expect("written");
    }
    let mut received = Vec::new();
    let closed = tokio::time::timeout(CLOSES_WITHIN, stream.read_to_end(&mut received)).await;
    let received_text = String::from_utf8_lossy(&received).into_owned();
    closed
        .unwrap_or_else(|_| panic!("still open after {received_text:?}"))
        .expect("an answer");
    answers(&received_text)
}

/// The response to a request that is sent in one piece.
pub async fn ask(address: SocketAddr, request: &str) -> Http1Answer {
    let mut answers = exchange(address, &[request.as_bytes()]).await;
    assert_eq!(answers.len(), 1, "{request:?}: {answers:?}");
    answers.remove(0)
}

fn answers(mut text: &str) -> Vec<Http1Answer> {
    let mut answers = Vec::new();
    while !text.is_empty() {
        let (head, rest) = text.split_once("\r\n\r\n").expect("a head");
        let head = head.to_lowercase();
        let status = head.split(' ').nth(1).expect("a status");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().expect("a length"));
        let (body, rest) = rest.split_at(length);
        answers.push(Http1Answer {
            status: status.parse().expect("a number"),
            body: serde_json::from_str(body).unwrap_or_default(),
            head,
        });
        text = rest;
    }
    answers
}
