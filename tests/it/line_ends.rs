//! Line ends of HTTP/1.1: a bare LF in a head is an error, and bodies are unchanged.

use serde_json::json;

use crate::support::{
    Kind, PATH, Suite, TestDatabase, TestServer, devices,
    http1::{Http1Answer, exchange},
    organization,
};

pub fn register(suite: &mut Suite) {
    suite.on(Kind::Sqlite, "line_ends::a_bare_line_feed_is_rejected", refused);
    suite.on(
        Kind::Sqlite,
        "line_ends::a_bare_line_feed_in_a_later_request_is_rejected",
        later,
    );
    suite.on_each("line_ends::bodies_are_unchanged", bodies);
}

/// `text` with each of its line ends in turn replaced by a bare LF, split before that.
fn with_one_bare_line_feed(text: &str) -> impl Iterator<Item = (String, String)> {
    text.match_indices("\r\n")
        .map(|(place, _)| (text[..place].to_owned(), text[place + 1..].to_owned()))
}

#[track_caller]
fn assert_rejected(answer: &Http1Answer, what: &str) {
    assert_eq!(answer.status, 400, "{what:?}: {answer:?}");
    assert!(answer.head.contains("\r\nconnection: close"), "{what:?}: {answer:?}");
}

async fn refused(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    devices(database, "acme", &["SN-1"]).await;
    let server = TestServer::start(database).await;
    let before = database.dump().await;
    let body = json!({"customerEmail": "john@example.com", "deviceIdentifiers": ["SN-1"]}).to_string();
    let length = body.len();
    let request =
        format!("\r\nPOST {PATH} HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\ncontent-length: {length}\r\n\r\n");
    let get = "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n".to_owned();
    for (address, request, body) in [
        (server.rest, &request, body.as_str()),
        (server.remote_rest, &request, &body),
        (server.admin, &get, ""),
    ] {
        for (first, rest) in with_one_bare_line_feed(request) {
            let rest = rest + body;
            let all = format!("{first}{rest}");
            for pieces in [&[all.as_bytes()][..], &[first.as_bytes(), rest.as_bytes()]] {
                let pieces: Vec<&[u8]> = pieces.iter().copied().filter(|piece| !piece.is_empty()).collect();
                let answers = exchange(address, &pieces).await;
                assert_eq!(answers.len(), 1, "{all:?}: {answers:?}");
                assert_rejected(&answers[0], &all);
            }
        }
        let all = request.replace("\r\n", "\n") + body;
        assert_rejected(&exchange(address, &[all.as_bytes()]).await[0], &all);
    }
    assert_eq!(database.dump().await, before, "nothing changed");
    server.stop().await;
}

/// After requests with bodies of either kind, on the same connection.
async fn later(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    devices(database, "acme", &["SN-1"]).await;
    let server = TestServer::start(database).await;
    let body = "{\"customerEmail\": \"john@example.com\",\n\"deviceIdentifiers\":\n\n[\"SN-1\"]}\r\n\n";
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\n");
    let sized = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n{:X};a=b\r\n{}\r\n0\r\nx: y\r\n\r\n",
        body.len() - 1,
        &body[1..]
    );
    let get = "GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n";
    for before in [
        sized.clone(),
        chunked.clone(),
        format!("{sized}{chunked}\r\n{get}{chunked}{sized}"),
    ] {
        let count = before.matches("HTTP/1.1").count();
        for (first, rest) in with_one_bare_line_feed(get) {
            let all = format!("{before}{first}{rest}");
            let answers = exchange(server.rest, &[all.as_bytes()]).await;
            assert_eq!(answers.len(), count + 1, "{all:?}: {answers:?}");
            assert!(
                answers[..count].iter().all(|answer| answer.status == 200),
                "{answers:?}"
            );
            assert_rejected(&answers[count], &all);
        }
    }
    // The lines around chunks, and the fields after them.
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n0;a=b\r\nx: y\r\n\r\n");
    let framing = chunked.find("\r\n\r\n").expect("the end of the head") + 4;
    for (first, rest) in with_one_bare_line_feed(&chunked[framing..]) {
        let all = format!("{}{first}{rest}", &chunked[..framing]);
        let answers = exchange(server.rest, &[all.as_bytes()]).await;
        assert_eq!(answers.len(), 1, "{all:?}: {answers:?}");
        assert_eq!(
            answers[0].body["error"], "The request body could not be read",
            "{all:?}"
        );
        assert_eq!(answers[0].status, 400, "{all:?}");
    }
    server.stop().await;
}

/// Bodies arrive unchanged, in any pieces.
async fn bodies(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    devices(database, "acme", &["SN-1", "SN-2"]).await;
    let server = TestServer::start(database).await;
    let body =
        "\n{\"customerEmail\": \"john@example.com\",\n\r\n\"deviceIdentifiers\":\r[\"SN-1\", \"\\u0053N-2\"]\n}\n\n";
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-api-key: {key}\r\n");
    let sized = format!("{head}content-length: {}\r\n\r\n", body.len());
    let chunks: String = body
        .as_bytes()
        .chunks(3)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)))
        .collect();
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n");
    let chunks = format!("{chunks}0\r\n\r\n");
    for address in [server.rest, server.remote_rest] {
        for (head, body) in [(&sized, body), (&chunked, chunks.as_str())] {
            let all = format!("{head}{body}");
            for pieces in [
                vec![all.as_bytes()],
                vec![head.as_bytes(), body.as_bytes()],
                all.as_bytes().chunks(50).collect(),
            ] {
                let answers = exchange(address, &pieces).await;
                assert_eq!(answers.len(), 1, "{answers:?}");
                assert_eq!(answers[0].status, 200, "{answers:?}");
                assert_eq!(answers[0].body["skipped"], json!([]), "{answers:?}");
            }
        }
    }
    server.stop().await;
}
