//! Three times as much of everything as an instance takes: callers, bytes, connections and streams of one organization. Those that are
//! too many are rejected with a reason, and another organization is hardly slowed down.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use device_assignment::pb::AssignDevicesToOwnerRequest;
use tokio::{io::AsyncReadExt, net::TcpStream, task::JoinSet};

use crate::{
    Size,
    follower::{Follower, From},
    kills::block_on,
    support::{Answer, Api, Client, Kind, Program, TestDatabase, load, organization, program::command},
};

/// What the instance takes. Of each, three times as much is sent.
const CALLS: usize = 64;
const CONNECTIONS: usize = 200;
const STREAMS: usize = 32;
const TIMES: usize = 3;
/// The devices of a large call.
const DEVICES: usize = 10_000;
const LARGE_CALLERS: usize = 16;
/// The share of quick calls whose time is compared.
const PERCENTILE: usize = 99;
/// How much longer the calls of the other organization may take.
const SLOWER: f64 = 5.0;
/// In shorter runs, one call decides the percentile, and large calls are smaller.
const FULL: u32 = 100;
/// How long the other organization waits between two calls.
const PAUSE: Duration = Duration::from_millis(5);
/// Where the other organization calls from. All addresses of 127.0.0.0/8 are this machine.
const NETWORK: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Reasons to reject a call that is one too many.
const REASONS: [&str; 6] = [
    "QUEUE_FULL",
    "OVERLOADED",
    "RATE_LIMITED",
    "TOO_MANY_STREAMS",
    "DEADLINE_EXCEEDED",
    "UNAVAILABLE",
];

type Tally = BTreeMap<String, usize>;

pub fn run(size: Size) -> String {
    block_on(async move {
        let mut counts = Vec::new();
        for kind in [Kind::Sqlite, Kind::Postgres] {
            let database = TestDatabase::create(kind).await;
            counts.push(format!("{kind:?}: {}", on(&database, size.rounds).await));
            crate::crash::verify(&database).await;
            database.remove().await;
        }
        counts.join("; ")
    })
}

/// Each overload for so many tenths of a second.
async fn on(database: &TestDatabase, tenths: u32) -> String {
    let time = Duration::from_millis(100) * tenths;
    let devices = if tenths < FULL { DEVICES / 20 } else { DEVICES };
    let (innocent, flooding) = (
        organization(database, "innocent").await,
        organization(database, "flooding").await,
    );
    let mut serve = command(&["serve", "--database-url", database.url()]);
    for (setting, value) in [
        ("--max-in-flight", CALLS),
        ("--max-connections", CONNECTIONS),
        ("--key-change-streams", STREAMS),
        ("--key-calls-per-second", 0),
        ("--key-devices-per-second", 0),
    ] {
        serve.args([setting, &value.to_string()]);
    }
    let program = Program::spawn(serve).await;
    // Until the key of a call is checked, limits hold for its network.
    let client = program.client(Api::Grpc, &innocent).at(NETWORK);
    let quiet = percentile(&calls(&client, "quiet", time).await.expect("no call is rejected"));
    if tenths >= FULL {
        planted(&program, &flooding, quiet).await;
    }
    let mut told = vec![format!("quiet {quiet:.1?}")];
    for overload in Overload::ALL {
        let flood = Flood::start(overload, devices, &program, &flooding);
        let slow = calls(&client, &format!("{overload:?}"), time).await;
        let tally = flood.stop().await;
        let slow = percentile(&slow.expect("no call is rejected"));
        let slower = slow.as_secs_f64() / quiet.as_secs_f64();
        println!(
            "{:?}, {overload:?}: {slow:?} instead of {quiet:?}, {tally:?}",
            database.kind
        );
        for reason in tally.keys() {
            assert!(
                ["OK", "open", "closed"].contains(&reason.as_str()) || REASONS.contains(&reason.as_str()),
                "{overload:?}: {tally:?}"
            );
        }
        assert!(
            tenths < FULL || slower <= SLOWER,
            "{overload:?}: {slow:?} instead of {quiet:?}"
        );
        told.push(format!("{overload:?} {slower:.1} times, {tally:?}"));
    }
    program.kill().await;
    told.join(", ")
}

/// One more caller of the flooding organization is in its own way, which must be noticed.
async fn planted(program: &Program, flooding: &str, quiet: Duration) {
    let flood = Flood::start(Overload::Callers, load::DEVICES, program, flooding);
    let client = program.client(Api::Grpc, flooding).at(NETWORK);
    let called = calls(&client, "planted", Duration::from_secs(1)).await;
    flood.stop().await;
    let noticed = called.map_or_else(
        |answer| result(&answer),
        |took| {
            let slow = percentile(&took);
            assert!(slow > quiet.mul_f64(SLOWER), "{slow:?} instead of {quiet:?}");
            format!("{slow:?} instead of {quiet:?}")
        },
    );
    println!("overload: found the planted fault: {noticed}");
}

/// Quick calls, one after the other. Returns how long each took.
///
/// # Errors
/// The first call that is rejected.
async fn calls(client: &Client, name: &str, time: Duration) -> Result<Vec<Duration>, Answer> {
    let start = Instant::now();
    let mut took = Vec::new();
    while start.elapsed() < time {
        let email = format!("{name}-{}@example.com", took.len());
        let called = Instant::now();
        let answer = client.call_grpc(load::message(&email), None).await;
        if answer.code != "OK" {
            return Err(answer);
        }
        took.push(called.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    Ok(took)
}

fn percentile(took: &[Duration]) -> Duration {
    let mut took = took.to_vec();
    took.sort_unstable();
    took[(took.len() - 1) * PERCENTILE / 100]
}

#[derive(Debug, Clone, Copy)]
enum Overload {
    Callers,
    Bytes,
    Connections,
    Streams,
}

impl Overload {
    const ALL: [Self; 4] = [Self::Callers, Self::Bytes, Self::Connections, Self::Streams];
}

/// Peers that ask for too much, again and again.
struct Flood {
    stop: Arc<AtomicBool>,
    peers: JoinSet<Tally>,
}

impl Flood {
    fn start(overload: Overload, devices: usize, program: &Program, key: &str) -> Self {
        let mut flood = Self {
            stop: Arc::default(),
            peers: JoinSet::new(),
        };
        // The limits of calls hold for each connection, too: these calls share a few.
        let clients: Vec<Client> = (0..8)
            .map(|number| program.client(if number % 2 == 0 { Api::Grpc } else { Api::Rest }, key))
            .collect();
        let count = match overload {
            Overload::Callers => TIMES * CALLS,
            Overload::Bytes => TIMES * LARGE_CALLERS,
            Overload::Connections => TIMES * CONNECTIONS,
            Overload::Streams => TIMES * STREAMS,
        };
        for peer in 0..count {
            let (stop, client) = (Arc::clone(&flood.stop), clients[peer % clients.len()].clone());
            let address = if peer % 2 == 0 { program.grpc } else { program.rest };
            flood.peers.spawn(async move {
                let mut tally = Tally::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let result = match overload {
                        Overload::Callers => call(&client, &format!("{peer}-{number}"), load::DEVICES).await,
                        Overload::Bytes => call(&client, &format!("{peer}-{number}"), devices).await,
                        Overload::Connections => connection(address, &stop).await,
                        Overload::Streams => stream(&client, &stop).await,
                    };
                    // As callers do after a rejection.
                    if result != "OK" {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    *tally.entry(result).or_default() += 1;
                }
                tally
            });
        }
        flood
    }

    async fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::new();
        for (result, count) in self.peers.join_all().await.into_iter().flatten() {
            *all.entry(result).or_default() += count;
        }
        all
    }
}

fn result(answer: &Answer) -> String {
    answer.reason.clone().unwrap_or_else(|| answer.code.clone())
}

async fn call(client: &Client, name: &str, devices: usize) -> String {
    let request = AssignDevicesToOwnerRequest {
        customer_email: format!("{name}@example.com"),
        device_identifiers: (0..devices).map(|device| format!("{name}/{device}")).collect(),
        auto_create_devices: true,
        device_type: Some("sensor".into()),
        validate_only: false,
    };
    if client.api == Api::Grpc {
        return result(&client.call_grpc(request, None).await);
    }
    let request = serde_json::json!({
        "customerEmail": request.customer_email, "deviceIdentifiers": request.device_identifiers,
        "autoCreateDevices": true, "deviceType": "sensor"
    });
    result(&client.call(&request).await)
}

/// A connection that sends nothing, until the service closes it.
async fn connection(address: SocketAddr, stop: &AtomicBool) -> String {
    let Ok(mut stream) = TcpStream::connect(address).await else {
        return "closed".into();
    };
    let mut byte = [0];
    until_stop(stop, async {
        // HTTP/2 says something first.
        while stream.read(&mut byte).await.is_ok_and(|read| read > 0) {}
        "closed".into()
    })
    .await
}

/// A stream of changes, until the service ends it.
async fn stream(client: &Client, stop: &AtomicBool) -> String {
    match Follower::start(client, &From::default()).await {
        Ok(mut follower) => {
            until_stop(stop, async {
                while follower.next().await.is_some() {}
                "closed".into()
            })
            .await
        }
        Err(answer) => result(&answer),
    }
}

/// Lets a peer hold what it has until the flood stops.
async fn until_stop(stop: &AtomicBool, end: impl Future<Output = String>) -> String {
    let stopped = async {
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = stopped => "open".into(),
        ended = end => ended,
    }
}
