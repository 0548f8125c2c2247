//! Slow, silent, numerous or hostile clients: the server closes their connections, and other clients are not affected.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use device_assignment::server::{ConnectionSettings, ServerSettings};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    Api, Kind, Load, PATH, Program, Suite, TestDatabase, TestServer,
    effects::{faults, owned},
    load::{clients, tally},
    organization,
    program::command,
};

/// The timeout for a client in these tests.
const PATIENCE: Duration = Duration::from_millis(500);
/// The margin for a busy machine.
const MARGIN: Duration = Duration::from_secs(5);

pub fn register(suite: &mut Suite) {
    suite.on(
        Kind::Sqlite,
        "wire::slow_and_silent_clients_are_disconnected",
        slow_and_silent,
    );
    suite.on(Kind::Sqlite, "wire::a_slow_body_is_rejected", slow_body);
    suite.on(Kind::Sqlite, "wire::an_address_leaves_connections_to_others", too_many);
    suite.on(
        Kind::Sqlite,
        "wire::connections_of_a_proxy_over_the_limit_wait",
        a_proxy_has_all,
    );
    suite.on(
        Kind::Sqlite,
        "wire::an_old_connection_ends_without_cutting_calls",
        old_age,
    );
    suite.on(Kind::Sqlite, "wire::without_file_descriptors_it_waits", no_descriptors);
}

fn impatient() -> ServerSettings {
    ServerSettings {
        connections: ConnectionSettings {
            head_timeout: PATIENCE,
            ..ConnectionSettings::default()
        },
        body_timeout: PATIENCE,
        ..ServerSettings::default()
    }
}

/// Connects, sends `greeting`, then the bytes of `drip` one by one. Returns how long the server kept the connection open.
async fn until_closed(address: SocketAddr, greeting: &[u8], drip: &[u8]) -> Duration {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let start = Instant::now();
    let (mut reader, mut writer) = stream.into_split();
    writer.write_all(greeting).await.expect("written");
    let drip = drip.to_owned();
    let dripping = tokio::spawn(async move {
        for byte in drip.iter().cycle() {
            tokio::time::sleep(PATIENCE / 10).await;
            if writer.write_all(&[*byte]).await.is_err() {
                return;
            }
        }
        std::future::pending::<()>().await;
    });
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(PATIENCE + MARGIN, reader.read_to_end(&mut answer)).await;
    dripping.abort();
    assert!(closed.is_ok(), "still open after {:?}", start.elapsed());
    start.elapsed()
}

async fn slow_and_silent(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(database, impatient()).await;
    let load = Load::start("load", clients(4, |api| server.client(api, &key)));
    let (rest, grpc) = (server.rest, server.grpc);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    // An answer without a question, half a head, a head that arrives byte by byte, half a preface.
    let mut peers: Vec<(SocketAddr, &[u8], &[u8])> = vec![
        (rest, b"", b""),
        (grpc, b"", b""),
        (rest, b"POST / HTTP/1.1\r\nho", b""),
        (rest, b"POST / HTTP/1.1\r\n", b"x: y\r\n"),
        (rest, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", b""),
        (rest, &preface[..9], b""),
        (grpc, &preface[..9], b""),
        (grpc, preface, b""),
    ];
    peers.extend(std::iter::repeat_n::<(SocketAddr, &[u8], &[u8])>((rest, b"", b""), 500));
    peers.extend(std::iter::repeat_n::<(SocketAddr, &[u8], &[u8])>((grpc, b"", b""), 500));
    let closed = join_all(
        peers
            .into_iter()
            .zip(0..)
            .map(|((address, greeting, drip), number)| async move {
                // Not all at once: the system's queue of new connections is short.
                tokio::time::sleep(Duration::from_micros(300) * number).await;
                until_closed(address, greeting, drip).await
            }),
    );
    let closed = closed.await;
    println!("closed after {:?} at the latest", closed.iter().max());
    assert!(
        closed.iter().all(|after| *after >= PATIENCE / 2),
        "{:?}",
        closed.iter().min()
    );
    load.succeeds(16).await;
    let calls = load.finish().await;
    assert!(calls.iter().all(|call| call.is(&["OK"])), "{}", tally(&calls));
    server.stop().await;
    assert_eq!(faults(database, &calls).await, [""; 0]);
}

async fn slow_body(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(database, impatient()).await;
    for (address, key, status, code) in [
        (server.rest, key.as_str(), "408", "DEADLINE_EXCEEDED"),
        (server.remote_rest, key.as_str(), "408", "DEADLINE_EXCEEDED"),
        (server.rest, "wrong", "401", "UNAUTHENTICATED"),
    ] {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n\
             content-length: 100\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).await.expect("half a request");
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE + MARGIN, stream.read_to_end(&mut answer)).await;
        read.expect("closed in time").expect("an answer");
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["code"], code, "{body}");
    }
    server.stop().await;
}

async fn too_many(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let mut settings = ServerSettings::default();
    settings.connections.max_connections = 4;
    let server = TestServer::start_with(database, settings).await;
    for address in [server.rest, server.grpc] {
        // A single address can have half of them.
        let open = [TcpStream::connect(address).await, TcpStream::connect(address).await];
        let mut third = TcpStream::connect(address).await.expect("a connection");
        // Closed at once, with or without an error, and not after the timeout for a head.
        let read = tokio::time::timeout(MARGIN, third.read(&mut [0])).await;
        assert!(matches!(read.expect("closed in time"), Ok(0) | Err(_)));
        // Another address is not affected.
        let api = if address == server.rest { Api::Rest } else { Api::Grpc };
        let client = server.client(api, &key).at("127.0.0.2".parse().expect("an address"));
        client.create("john@example.com", &["SN-1"]).await.ok();
        drop(open);
    }
    server.stop().await;
}

async fn a_proxy_has_all(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let mut settings = ServerSettings {
        trusted_proxies: vec!["127.0.0.0/8".parse().expect("a network")].into(),
        ..impatient()
    };
    settings.connections.max_connections = 2;
    let server = TestServer::start_with(database, settings).await;
    let _first = TcpStream::connect(server.rest).await.expect("a connection");
    let _second = TcpStream::connect(server.rest).await.expect("a connection");
    // Both are accepted first, and closed after the timeout.
    let start = Instant::now();
    server
        .client(Api::Rest, &key)
        .create("john@example.com", &["SN-1"])
        .await
        .ok();
    assert!(start.elapsed() >= PATIENCE / 2, "{:?}", start.elapsed());
    server.stop().await;
}

async fn old_age(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let mut settings = ServerSettings::default();
    settings.connections.max_age = Duration::from_millis(100);
    let server = TestServer::start_with(database, settings).await;
    let load = Load::start("load", (0..8).map(|_| server.client(Api::Grpc, &key)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    load.succeeds(16).await;
    let calls = load.finish().await;
    println!("{}", tally(&calls));
    server.stop().await;
    // When the connection ends, the test client abandons a call that it was about to send. The service answers every call that
    // it has accepted.
    let owned = owned(database).await;
    for call in calls.iter().filter(|call| !call.is(&["OK"])) {
        assert!(call.is_lost() && !owned.contains_key(&call.email), "{call:?}");
    }
    let ok = calls.iter().filter(|call| call.is_ok()).count();
    assert!(ok * 100 > calls.len() * 95, "{}", tally(&calls));
    assert_eq!(faults(database, &calls).await, [""; 0]);
}

/// The clock ticks that a process has used (proc(5)): 100 a second on Linux.
fn ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    let (_, fields) = stat.rsplit_once(')').expect("fields");
    let number = |index: usize| -> u64 {
        fields
            .split_whitespace()
            .nth(index)
            .expect("a field")
            .parse()
            .expect("a number")
    };
    number(11) + number(12)
}

/// More connections than file descriptors: the process keeps running, uses little CPU, and recovers.
async fn no_descriptors(database: &TestDatabase) {
    const TICKS_A_SECOND: u64 = 100;
    let key = organization(database, "acme").await;
    let serve = command(&["serve", "--database-url", database.url()]);
    let mut limited = tokio::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 256 && exec \"$@\"", "sh"]);
    limited
        .arg(serve.as_std().get_program())
        .args(serve.as_std().get_args());
    let program = Program::spawn(limited).await;
    let client = program.client(Api::Rest, &key);
    client.create("john@example.com", &["SN-1"]).await.ok();

    let peers = join_all((0..1_000).map(|_| TcpStream::connect(program.rest))).await;
    let connected = peers.iter().filter(|peer| peer.is_ok()).count();
    assert!(connected > 256, "{connected} connected");
    let (before, start) = (ticks(program.id()), Instant::now());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = (ticks(program.id()) - before) as f64 / TICKS_A_SECOND as f64 / start.elapsed().as_secs_f64();
    assert!(used < 0.5, "{used:.2} of a core while it waits");
    drop(peers);
    client.create("jane@example.com", &["SN-2"]).await.ok();
    program.terminate().await;
}
