//! Floods of HTTP/2 frames: the connections are closed, memory stays small, and other clients notice nothing. The rejected calls of
//! a proxy are no flood.

use std::{net::SocketAddr, time::Duration};

use device_assignment::server::{ConnectionSettings, ServerSettings};
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    Api, Kind, Load, PATH, Program, Suite, TestDatabase, TestServer,
    effects::faults,
    load::{clients, tally},
    organization,
    program::memory,
};

/// How many peers flood a listener at once.
const PEERS: usize = 8;
/// How much the memory of the process may grow.
const GROWTH: u64 = 64 * 1024 * 1024;
/// How long a flood may last, and how much of it may be sent by one peer.
const TIME: Duration = Duration::from_secs(30);
const BYTES: usize = 64 * 1024 * 1024;
/// How many frames are sent at once.
const BATCH: u32 = 1_000;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `POST / HTTP/2` over http, in HPACK: entries of its static table.
const REQUEST: &[u8] = &[0x83, 0x84, 0x86];
/// The reason of a reset: CANCEL.
const CANCEL: &[u8] = &[0, 0, 0, 8];

/// What is sent first, and what is then sent for each number from 0 on.
struct Flood {
    name: &'static str,
    first: fn() -> Vec<u8>,
    then: fn(u32) -> Vec<u8>,
}

const FLOODS: [Flood; 10] = [
    // CVE-2023-44487: streams that are reset as soon as they are opened.
    Flood {
        name: "resets",
        first: Vec::new,
        then: |number| {
            let stream = number * 2 + 1;
            let open = frame(HEADERS, END_HEADERS, stream, REQUEST);
            [open, frame(RST_STREAM, 0, stream, CANCEL)].concat()
        },
    },
    // CVE-2024-27316 and similar: a head that never ends.
    Flood {
        name: "continuations",
        first: || frame(HEADERS, 0, 1, REQUEST),
        // Fields of one letter, without an entry in the table.
        then: |_| frame(CONTINUATION, 0, 1, &[0, 1, b'a', 1, b'b'].repeat(100)),
    },
    Flood {
        name: "empty_continuations",
        first: || frame(HEADERS, 0, 1, REQUEST),
        then: |_| frame(CONTINUATION, 0, 1, &[]),
    },
    // CVE-2019-9512.
    Flood {
        name: "pings",
        first: request,
        then: |number| frame(PING, 0, 0, &u64::from(number).to_be_bytes()),
    },
    Flood {
        name: "pongs",
        first: request,
        then: |number| frame(PING, ACK, 0, &u64::from(number).to_be_bytes()),
    },
    // CVE-2019-9515.
    Flood {
        name: "settings",
        first: request,
        then: |_| frame(SETTINGS, 0, 0, &[]),
    },
    // CVE-2019-9513.
    Flood {
        name: "priorities",
        first: request,
        then: |number| frame(PRIORITY, 0, number * 2 + 3, &[0, 0, 0, 0, 1]),
    },
    // CVE-2019-9518.
    Flood {
        name: "empty_data",
        first: || frame(HEADERS, END_HEADERS, 1, REQUEST),
        then: |_| frame(DATA, 0, 1, &[]),
    },
    Flood {
        name: "tiny_data",
        first: || frame(HEADERS, END_HEADERS, 1, REQUEST),
        then: |_| frame(DATA, 0, 1, b"x"),
    },
    Flood {
        name: "window_updates",
        first: request,
        then: |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
    },
];

pub fn register(suite: &mut Suite) {
    for flood in &FLOODS {
        let name = format!("flood::of_{}_ends_its_connection", flood.name);
        suite.on(Kind::Sqlite, &name, move |database| ends(flood, database));
    }
    suite.on(
        Kind::Sqlite,
        "flood::rejected_calls_do_not_end_the_connection_of_a_proxy",
        |database| rejected_calls(database, true),
    );
    suite.on(
        Kind::Sqlite,
        "flood::of_rejected_calls_ends_its_connection",
        |database| rejected_calls(database, false),
    );
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A complete request, after which a silent connection is not closed.
fn request() -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, REQUEST)
}

/// Sends a flood until the server closes, and returns how much was sent.
async fn send(flood: &Flood, address: SocketAddr, reads: bool) -> usize {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (mut reader, mut writer) = stream.into_split();
    let reading = tokio::spawn(async move {
        if reads {
            let _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
        } else {
            // Kept open, so that this side does not close the connection.
            std::future::pending::<()>().await;
        }
        drop(reader);
    });
    let first = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &(flood.first)()].concat();
    writer.write_all(&first).await.expect("written");
    let mut sent = 0;
    for batch in 0.. {
        let numbers = batch * BATCH..(batch + 1) * BATCH;
        let frames: Vec<u8> = numbers.flat_map(flood.then).collect();
        if writer.write_all(&frames).await.is_err() {
            break;
        }
        sent += frames.len();
        assert!(sent < BYTES, "still open after {sent} bytes");
    }
    reading.abort();
    sent
}

async fn ends(flood: &'static Flood, database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let program = Program::serve(database.url()).await;
    let load = Load::start("load", clients(4, |api| program.client(api, &key)));
    load.succeeds(32).await;

    let process = program.id();
    let before = memory(process);
    let watching = tokio::spawn(async move {
        let mut most = 0;
        loop {
            most = memory(process).max(most);
            if most > before + GROWTH {
                return most;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    for address in [program.grpc, program.rest] {
        // Half of the peers read the responses.
        let peers = (0..PEERS).map(|peer| tokio::time::timeout(TIME, send(flood, address, peer % 2 == 0)));
        let sent = join_all(peers).await;
        let sent = sent.into_iter().map(|sent| sent.expect("closed in time"));
        println!("closed after {} bytes at the latest", sent.max().expect("peers"));
    }
    let after = memory(process);
    println!(
        "{} KiB, and {} KiB more",
        before / 1024,
        after.saturating_sub(before) / 1024
    );
    assert!(!watching.is_finished(), "the process grew past {GROWTH} bytes");
    watching.abort();
    load.succeeds(16).await;
    let calls = load.finish().await;
    assert!(calls.iter().all(|call| call.is(&["OK"])), "{}", tally(&calls));
    assert_eq!(faults(database, &calls).await, [""; 0]);
    // A new client is served.
    program
        .client(Api::Rest, &key)
        .create("new@example.com", &["SN-1"])
        .await
        .ok();
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    // The log does not grow either.
    let noise: Vec<&str> = log
        .lines()
        .filter(|line| !line.contains(r#""message":"call""#) && !line.contains(r#""target":"audit""#))
        .collect();
    assert!(noise.len() < 100, "{} lines, as {:?}", noise.len(), noise.last());
}

/// Requests that are rejected before their body is read.
const REJECTED: [(Api, &str); 4] = [
    (
        Api::Grpc,
        "/telemetron.device_assignment.v1.OrganizationService/CheckCredentials",
    ),
    (
        Api::Grpc,
        "/telemetron.device_assignment.v1.OrganizationService/Unknown",
    ),
    (Api::Rest, PATH),
    (Api::Rest, "/api/ext-v1/unknown"),
];

/// The head of a POST with a key that does not exist, in HPACK: entries of its static table, and literals.
fn with_wrong_key(api: Api, path: &str) -> Vec<u8> {
    let literal = |text: &str| [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat();
    let content_type = match api {
        Api::Grpc => "application/grpc",
        _ => "application/json",
    };
    [
        &[0x83, 0x86, 0x01][..],
        &literal("localhost"),
        &[0x04],
        &literal(path),
        &[0x0f, 0x10],
        &literal(content_type),
        &[0],
        &literal("x-api-key"),
        &literal("tlm_00000000000000000000000000000000000000000000000000"),
    ]
    .concat()
}

/// Reads until the response of `stream` ends. Returns whether the connection is still open.
async fn response_of(stream: u32, reader: &mut (impl AsyncReadExt + Unpin)) -> bool {
    loop {
        let mut head = [0; 9];
        if reader.read_exact(&mut head).await.is_err() {
            return false;
        }
        let [a, b, c, kind, flags, of @ ..] = head;
        let length = u32::from_be_bytes([0, a, b, c]);
        let mut payload = vec![0; usize::try_from(length).expect("a length")];
        if reader.read_exact(&mut payload).await.is_err() {
            return false;
        }
        if [HEADERS, DATA].contains(&kind) && flags & END_STREAM != 0 && u32::from_be_bytes(of) == stream {
            return true;
        }
    }
}

/// Requests that are rejected before their body arrives. The connection of a proxy or gateway carries those of many callers.
async fn rejected_calls(database: &'static TestDatabase, is_proxy: bool) {
    let mut settings = ServerSettings {
        connections: ConnectionSettings {
            max_local_resets: 10,
            ..ConnectionSettings::default()
        },
        ..ServerSettings::default()
    };
    if is_proxy {
        settings.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")].into();
    }
    let server = TestServer::start_with(database, settings).await;
    for (api, path) in REJECTED {
        let address = if api == Api::Grpc { server.grpc } else { server.rest };
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let (mut reader, mut writer) = stream.into_split();
        let first = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        writer.write_all(&first).await.expect("written");
        let mut answered = 0;
        // The HTTP/2 library tolerates bodies of the last 50 streams that it has reset.
        for number in 0..200 {
            let stream = number * 2 + 1;
            let head = frame(HEADERS, END_HEADERS, stream, &with_wrong_key(api, path));
            if writer.write_all(&head).await.is_err() || !response_of(stream, &mut reader).await {
                break;
            }
            answered += 1;
            let body = frame(DATA, END_STREAM, stream, &[0; 5]);
            // It may be closed by now.
            let _ = writer.write_all(&body).await;
        }
        assert_eq!(answered == 200, is_proxy, "{path}: {answered} answered");
    }
    server.stop().await;
}
