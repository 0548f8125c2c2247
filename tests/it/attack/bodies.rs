//! Request bodies: without a valid key, in tiny pieces, many at once, and with too many identifiers.

use std::{sync::Arc, time::Duration};

use axum::body::Bytes;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::Code;

use super::{
    peer::{ASSIGN, Peer, connect, framed, status},
    victim::{ATTACKER, MIB, Victim, Way},
};
use crate::support::{Api, Client, Kind, PATH, Suite, TestDatabase};

/// A well-formed key that does not exist.
const WRONG_KEY: &str = "tlm_00000000000000000000000000000000000000000000000000";
const LARGEST: usize = 8 * 1024 * 1024;
/// When an attacker gives up. A limit of the test only.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn register(suite: &mut Suite) {
    for way in Way::ALL {
        let name = |test: &str| format!("attack::{test}::{}", way.name());
        suite.on(
            Kind::Sqlite,
            &name("bodies_without_a_valid_key_are_not_read"),
            move |db| strangers(db, way),
        );
        // Not on SQLite, whose cache grows in the process with every call of the other organization.
        suite.on(
            Kind::Postgres,
            &name("one_byte_chunks_take_no_more_than_their_bytes"),
            move |db| chunks(db, way),
        );
        suite.on(
            Kind::Sqlite,
            &name("one_connection_of_bodies_takes_its_share"),
            move |db| one_connection(db, way, false),
        );
        suite.on(
            Kind::Sqlite,
            &name("one_connection_of_bodies_with_a_key_takes_its_share"),
            move |db| one_connection(db, way, true),
        );
        // A gateway has no limits of keys.
        if way != Way::Gateway {
            suite.on(
                Kind::Sqlite,
                &name("too_many_identifiers_are_rejected_undecoded"),
                move |db| too_many_identifiers(db, way),
            );
        }
    }
}

/// The most identifiers that fit into a body, each of one byte.
fn tiny_identifiers(bytes: usize) -> Vec<u8> {
    let (before, after) = (br#"{"customerEmail":"a@example.com","deviceIdentifiers":["a""#, b"]}");
    let count = (bytes - before.len() - after.len()) / 4;
    [&before[..], &br#","a""#.repeat(count), after].concat()
}

/// Posts a body, reads the response while still sending, and returns the status line.
async fn post(victim: &Victim, key: Option<&str>, body: &[u8]) -> String {
    let stream = connect(ATTACKER, victim.rest).await.expect("a connection");
    let (mut reader, mut writer) = stream.into_split();
    let key = key.map(|key| format!("x-api-key: {key}\r\n")).unwrap_or_default();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\n{key}content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let writing = async {
        // The server may close after a rejection.
        let _ = writer.write_all(head.as_bytes()).await;
        let _ = writer.write_all(body).await;
    };
    let reading = async {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let Ok(byte) = reader.read_u8().await else { break };
            line.push(byte);
        }
        String::from_utf8(line).expect("text")
    };
    let both = async { tokio::join!(writing, reading).1 };
    tokio::time::timeout(PATIENCE, both).await.expect("an answer in time")
}

async fn strangers(database: &'static TestDatabase, way: Way) {
    let victim = Victim::start_at(way, database, &[]).await;
    let body = Arc::new(tiny_identifiers(LARGEST));
    for key in [None, Some(WRONG_KEY)] {
        let answers = join_all((0..64).map(|_| post(&victim, key, &body))).await;
        // A client that is cut off while sending may miss the response.
        let refused = ["HTTP/1.1 401", "HTTP/1.1 429", ""];
        assert!(
            answers
                .iter()
                .all(|line| refused.iter().any(|status| line.starts_with(status))),
            "{answers:?}"
        );
    }
    let damage = victim.survives().await;
    assert!(damage.growth <= 32 * MIB, "{} MiB", damage.growth / MIB);
}

async fn chunks(database: &'static TestDatabase, way: Way) {
    const BYTES: usize = 512 * 1024;
    let victim = Victim::start_at(way, database, &[]).await;
    let mut stream = connect(ATTACKER, victim.rest).await.expect("a connection");
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {}\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n",
        victim.key
    );
    stream.write_all(head.as_bytes()).await.expect("a head");
    let chunks = b"1\r\n \r\n".repeat(64 * 1024);
    for _ in 0..BYTES / (64 * 1024) {
        stream.write_all(&chunks).await.expect("chunks");
    }
    stream.write_all(b"0\r\n\r\n").await.expect("an end");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, *b"HTTP/1.1 400");
    let damage = victim.survives().await;
    // The buffer, the smaller one before it, and the rest of a request. Kept one by one, the chunks took 18 MiB.
    assert!(damage.growth <= 8 * MIB, "{} MiB", damage.growth / MIB);
}

async fn one_connection(database: &'static TestDatabase, way: Way, with_key: bool) {
    let victim = Victim::start_at(way, database, &[]).await;
    let key = if with_key { victim.key.as_str() } else { WRONG_KEY };
    let body = Bytes::from(tiny_identifiers(LARGEST));
    for (address, path) in [(victim.rest, PATH.to_owned()), (victim.grpc, format!("/{ASSIGN}"))] {
        let peer = Peer::connect(ATTACKER, address, 1024 * 1024)
            .await
            .expect("a connection");
        let streams = (0..128).map(async |_| {
            let headers = [
                ("x-api-key", key),
                ("content-type", "application/grpc"),
                ("te", "trailers"),
            ];
            let Ok((response, mut sending)) = peer.begin(&path, &headers).await else {
                return;
            };
            // All at once: what the server does not take waits here.
            let _ = sending.send_data(body.clone(), false);
            // Never finished: the service holds what has arrived until it gives up.
            let _ = tokio::time::timeout(Duration::from_secs(5), response).await;
        });
        join_all(streams).await;
    }
    let damage = victim.survives().await;
    // Half of the bytes in flight, and the smaller buffers before, until the allocator returns them.
    assert!(damage.growth <= 128 * MIB, "{} MiB", damage.growth / MIB);
}

async fn too_many_identifiers(database: &'static TestDatabase, way: Way) {
    let victim = Victim::start_at(way, database, &["--key-devices-per-second", "0"]).await;
    // Field 2, a string of no bytes.
    let message = [0x12, 0].repeat(LARGEST / 2);
    let peer = Peer::connect(ATTACKER, victim.grpc, 1024 * 1024)
        .await
        .expect("a connection");
    for _ in 0..4 {
        let call = peer.begin_call(ASSIGN, &[("x-api-key", &victim.key)]).await;
        let (response, mut sending) = call.expect("a stream");
        sending.send_data(framed(&message), true).expect("sent");
        let status = status(response.await.expect("an answer")).await.expect("a status");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "Too many devices. Maximum 10000 per request");
    }
    let client = Client::new(Api::Rest, victim.rest, &victim.key).at(ATTACKER);
    let body = String::from_utf8(tiny_identifiers(LARGEST)).expect("text");
    for _ in 0..4 {
        let answer = client.post(body.clone(), Some("application/json")).await;
        assert_eq!(answer.error, "Too many devices. Maximum 10000 per request");
        assert_eq!(
            answer.violations,
            [("deviceIdentifiers".to_owned(), answer.error.clone())]
        );
    }
    let damage = victim.survives().await;
    assert!(damage.growth <= 48 * MIB, "{} MiB", damage.growth / MIB);
}
