//! SIGTERM: calls in flight finish, no new ones are accepted, and the program ends within ten seconds.

use std::{
    env,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::support::{
    Api, Kind, Load, PATH, Program, Proxy, Suite, TestDatabase,
    effects::{faults, forgotten, owned},
    load::{self, Fate, clients, eventually, tally},
    organization,
    program::command,
};

/// How long a supervisor waits before it kills.
pub const PATIENCE: Duration = Duration::from_secs(10);

pub fn register(suite: &mut Suite) {
    suite.on_each("shutdown::under_load", under_load);
    suite.on(Kind::Sqlite, "shutdown::with_stuck_peers", with_stuck_peers);
    suite.on(
        Kind::Sqlite,
        "shutdown::peers_without_a_call_are_not_waited_for",
        with_mute_peers,
    );
    suite.on(Kind::Sqlite, "shutdown::calls_are_served_in_the_grace_period", grace);
    suite.on(Kind::Sqlite, "shutdown::a_second_signal_ends_it_at_once", second_signal);
    suite.on(
        Kind::Postgres,
        "shutdown::while_the_database_is_silent",
        while_the_database_is_silent,
    );
}

async fn under_load(database: &TestDatabase) {
    // Few by default.
    let rounds = env::var("SHUTDOWN_ROUNDS").map_or(5, |rounds| rounds.parse().expect("a number"));
    const CALLERS: usize = 32;
    let mut random = StdRng::seed_from_u64(crate::support::seed());
    let key = organization(database, "acme").await;
    let mut calls = Vec::new();
    for round in 0..rounds {
        let program = Program::serve(database.url()).await;
        let load = Load::start(
            &format!("round{round}"),
            clients(CALLERS, |api| program.client(api, &key)),
        );
        load.succeeds(1).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        let took = end(program).await;
        let made = load.finish().await;
        println!("gone after {took:?}: {}", tally(&made));

        let owned = owned(database).await;
        for call in &made {
            match &call.fate {
                Fate::Answered { code, retry_after } => assert!(
                    code == "OK" || (code == "UNAVAILABLE" && *retry_after == Some(1)),
                    "{call:?}"
                ),
                // A call that is sent while its connection closes is lost, with different errors in different clients:
                // HTTP/1.1 cannot announce a close, and HTTP/2 cannot do so in advance. No call may be lost that the
                // service had received.
                Fate::Lost { .. } => assert!(
                    !owned.contains_key(&call.email),
                    "carried out, so it was accepted, but not answered: {call:?}"
                ),
            }
        }
        calls.extend(made);
        assert_eq!(faults(database, &calls).await, [""; 0], "after round {round}");
    }
    let program = Program::serve(database.url()).await;
    let askers = clients(8, |api| program.client(api, &key));
    assert_eq!(forgotten(&calls, &askers).await, [""; 0]);
    program.kill().await;
}

/// Peers that never finish delay neither the end nor the calls of others, and no new connections are accepted.
async fn with_stuck_peers(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let program = Program::serve(database.url()).await;
    let (grpc, rest) = (program.grpc, program.rest);

    // A connection that was used and is kept open.
    let mut idle = TcpStream::connect(rest).await.expect("a connection");
    idle.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .expect("a request");
    assert!(idle.read(&mut [0; 1024]).await.expect("an answer") > 0);
    // Silent connections to gRPC and REST.
    let _mute = TcpStream::connect(rest).await.expect("a connection");
    let _mute_grpc = TcpStream::connect(grpc).await.expect("a connection");
    // Half a head, and a head whose body does not arrive.
    let mut half_head = TcpStream::connect(rest).await.expect("a connection");
    half_head.write_all(b"POST /api HTTP/1.1\r\nho").await.expect("half");
    let half = half_a_request(rest, &key).await;
    // A silent HTTP/2 connection: the client does not even acknowledge pings.
    let (silent, connection) = h2::client::handshake(TcpStream::connect(grpc).await.expect("a connection"))
        .await
        .expect("HTTP/2");
    let mut connection = Box::pin(connection);
    let polled = futures_util::poll!(&mut connection);
    assert!(polled.is_pending(), "the connection is open");
    // A stream that never ends by itself.
    let channel = program.client(Api::Grpc, &key).channel();
    let request = HealthCheckRequest { service: String::new() };
    let watch = HealthClient::new(channel).watch(request).await.expect("a stream");
    let mut watch = watch.into_inner();
    watch.message().await.expect("a message").expect("a status");

    let load = Load::start("load", clients(8, |api| program.client(api, &key)));
    load.succeeds(10).await;
    let asked = Instant::now();
    let end = tokio::spawn(end(program));
    for address in [grpc, rest] {
        eventually("new connections are refused", Duration::from_secs(2), async || {
            is_refused(address).await
        })
        .await;
    }
    let refused = asked.elapsed();
    let made = load.finish().await;
    assert!(!end.is_finished(), "the stuck peers are waited for");
    let took = end.await.expect("an end");
    println!("refused after {refused:?}, gone after {took:?}: {}", tally(&made));
    assert_eq!(faults(database, &made).await, [""; 0]);
    drop((idle, half_head, half, silent, connection, watch));
}

/// A request whose body does not arrive.
pub async fn half_a_request(rest: SocketAddr, key: &str) -> TcpStream {
    let mut half = TcpStream::connect(rest).await.expect("a connection");
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n\
         content-length: 100\r\nexpect: 100-continue\r\n\r\n"
    );
    half.write_all(head.as_bytes()).await.expect("half a request");
    // The service has asked for the body, so it waits for it.
    assert!(half.read(&mut [0; 1024]).await.expect("100 Continue") > 0);
    half
}

/// The end does not wait for peers without a request, or with only a `Watch` of the health service.
async fn with_mute_peers(database: &TestDatabase) {
    let program = Program::serve(database.url()).await;
    let mut mute = Vec::new();
    for address in [program.grpc, program.rest] {
        mute.push(TcpStream::connect(address).await.expect("a connection"));
    }
    let (silent, connection) = h2::client::handshake(TcpStream::connect(program.grpc).await.expect("a connection"))
        .await
        .expect("HTTP/2");
    let mut connection = Box::pin(connection);
    assert!(futures_util::poll!(&mut connection).is_pending(), "it is open");
    // One that waits for changes of the health.
    let mut health = HealthClient::new(program.client(Api::Grpc, "").channel());
    let request = HealthCheckRequest { service: String::new() };
    let mut watch = health.watch(request).await.expect("a stream").into_inner();
    let mut told = Vec::new();
    let first = watch.message().await.expect("a message").expect("a status");
    told.push(first.status());
    let took = end(program).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    while let Ok(Some(message)) = watch.message().await {
        told.push(message.status());
    }
    assert_eq!(told, [ServingStatus::Serving, ServingStatus::NotServing]);
    drop((mute, silent, connection));
}

/// After the signal the service reports that it is not ready, and serves all calls until the grace period is over. Then it
/// drains as usual.
async fn grace(database: &TestDatabase) {
    const GRACE: Duration = Duration::from_secs(3);
    let key = organization(database, "acme").await;
    let mut serve = command(&["serve", "--database-url", database.url()]);
    serve.args(["--shutdown-grace", "3s"]);
    let program = Program::spawn(serve).await;
    let (grpc, admin) = (program.grpc, program.admin);
    let known = clients(2, |api| program.client(api, &key));
    for (number, client) in known.iter().enumerate() {
        assert!(
            load::create(client, format!("before{number}@example.com"))
                .await
                .is_ok()
        );
    }
    assert_eq!(readyz(admin).await, Some((200, "ok\n".into())));
    // Delays the drain until its limit.
    let half = half_a_request(program.rest, &key).await;

    let asked = Instant::now();
    program.signal("-TERM").await;
    eventually("it says so", Duration::from_secs(2), async || {
        readyz(admin).await == Some((503, "draining\n".into()))
    })
    .await;
    let mut health = HealthClient::new(program.client(Api::Grpc, &key).channel());
    let request = HealthCheckRequest { service: String::new() };
    let answer = health.check(request).await.expect("an answer").into_inner();
    assert_eq!(answer.status(), ServingStatus::NotServing);
    let mut calls = 0;
    while asked.elapsed() < GRACE * 2 / 3 {
        let new = clients(2, |api| program.client(api, &key));
        for client in known.iter().chain(&new) {
            let call = load::create(client, format!("grace{calls}@example.com")).await;
            assert!(call.is_ok(), "{:?} after the signal: {call:?}", asked.elapsed());
            calls += 1;
        }
    }
    assert!(calls > 0);

    let ended = tokio::spawn(program.ended());
    eventually("nobody else is served", GRACE + Duration::from_secs(3), async || {
        is_refused(grpc).await
    })
    .await;
    assert!(asked.elapsed() > GRACE, "{:?}", asked.elapsed());
    // Also while it drains.
    let mut answers = 0;
    while let Some(answer) = readyz(admin).await {
        assert_eq!(answer, (503, "draining\n".into()));
        answers += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ended = ended.await.expect("an end");
    let took = asked.elapsed();
    println!("{calls} calls served and {answers} answers while it drained; gone after {took:?}");
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(answers > 0 && took < GRACE + PATIENCE, "{took:?}");
    drop(half);
}

/// The response of `/readyz`, if there is one.
async fn readyz(admin: SocketAddr) -> Option<(u16, String)> {
    let answer = reqwest::get(format!("http://{admin}/readyz")).await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

/// A second signal ends the program at once.
async fn second_signal(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let program = Program::serve(database.url()).await;
        let admin = program.admin;
        let half = half_a_request(program.rest, &key).await;
        program.signal("-TERM").await;
        eventually("it is stopping", Duration::from_secs(2), async || {
            readyz(admin).await == Some((503, "draining\n".into()))
        })
        .await;
        let asked = Instant::now();
        let ended = program.end_by(signal).await;
        assert_eq!(ended.code, Some(code), "{}", ended.log);
        assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
        drop(half);
    }
}

/// Stops the program, checks that it succeeds in time, and returns how long it took.
async fn end(program: Program) -> Duration {
    let asked = Instant::now();
    let (code, log) = tokio::time::timeout(PATIENCE, program.terminate())
        .await
        .expect("the program ends in time");
    assert_eq!(code, Some(0), "{log}");
    asked.elapsed()
}

async fn is_refused(address: SocketAddr) -> bool {
    match TcpStream::connect(address).await {
        Ok(_) => false,
        // Or closed, if it was accepted just before.
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
    }
}

/// A silent database does not prevent the end.
async fn while_the_database_is_silent(database: &TestDatabase) {
    let keys = load::keys(database, 8).await;
    let mut keys = keys.iter().cycle();
    let proxy = Proxy::before(database).await;
    let mut serve = command(&["serve", "--database-url", proxy.url()]);
    serve.args(["--request-timeout", "1s"]);
    let program = Program::spawn(serve).await;
    let load = Load::start(
        "load",
        clients(16, |api| program.client(api, keys.next().expect("a key"))),
    );
    load.succeeds(16).await;
    proxy.fall_silent();
    // Longer than a key is remembered, so the connections for reads are stuck, too.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let took = end(program).await;
    let made = load.finish().await;
    println!("gone after {took:?}: {}", tally(&made));
    proxy.recover();
    assert_eq!(faults(database, &made).await, [""; 0]);
}
