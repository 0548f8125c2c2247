//! Floods: attackers that repeat something small without a pause, for a second or for `ATTACK_SECONDS`.

use std::{
    env,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use super::victim::{ATTACKER, MIB, Victim, Way};
use crate::{
    changes::follower::{Follower, From},
    reads::{Read, read},
    support::{
        Api, Client, Kind, Suite, TestDatabase,
        tls::{Authority, Peer, connect_from},
    },
};

/// How many seconds a flood lasts, without `ATTACK_SECONDS`.
const SECONDS: u64 = 1;
/// How many attack at once.
const ATTACKERS: u64 = 16;
/// Longer than one attempt takes on any machine.
const HANGS: Duration = Duration::from_secs(60);
/// The most memory that a flood may take.
const MOST_GROWTH: u64 = 96 * MIB;

/// One attempt; the number is new each time.
type Attempt = fn(Arc<Target>, u64) -> Pin<Box<dyn Future<Output = ()> + Send>>;

struct Flood {
    name: &'static str,
    ways: &'static [Way],
    attempt: Attempt,
}

const FLOODS: &[Flood] = &[
    Flood {
        name: "of_tls_handshakes",
        ways: &[Way::Tls],
        attempt: |target, _| Box::pin(handshake(target)),
    },
    Flood {
        name: "of_wrong_keys_from_many_addresses",
        ways: &[Way::Plain, Way::Gateway],
        attempt: |target, number| Box::pin(wrong_key(target, number)),
    },
    Flood {
        name: "of_streams_that_begin_and_end",
        ways: &[Way::Plain, Way::Gateway],
        attempt: |target, _| Box::pin(stream(target)),
    },
    Flood {
        name: "of_lists_without_an_index",
        ways: &[Way::Plain, Way::Gateway],
        attempt: |target, number| Box::pin(list(target, number)),
    },
    Flood {
        name: "of_idempotency_keys",
        ways: &[Way::Plain, Way::Gateway],
        attempt: |target, number| Box::pin(new_idempotency_key(target, number)),
    },
    Flood {
        name: "of_pages_without_a_key",
        ways: &[Way::Plain, Way::Gateway],
        attempt: |target, _| Box::pin(page(target)),
    },
];

pub fn register(suite: &mut Suite) {
    for flood in FLOODS {
        for way in flood.ways {
            let name = format!("attack::flood_{}::{}", flood.name, way.name());
            suite.on(Kind::Sqlite, &name, move |database| attack(database, flood, *way));
        }
    }
}

struct Target {
    /// The attacker's organization, over REST through a gateway, otherwise over gRPC.
    client: Client,
    /// The program itself, not the tunnel before it.
    rest: SocketAddr,
    /// Who has not issued the certificate of the program.
    stranger: Authority,
}

async fn attack(database: &'static TestDatabase, flood: &'static Flood, way: Way) {
    let victim = Victim::start_at(way, database, &[]).await;
    let client = match way {
        Way::Gateway => Client::new(Api::RemoteRest, victim.rest, &victim.key),
        _ => Client::new(Api::Grpc, victim.grpc, &victim.key),
    };
    let target = Arc::new(Target {
        client: client.at(ATTACKER),
        rest: victim.program.rest,
        stranger: Authority::new("stranger"),
    });
    let seconds = env::var("ATTACK_SECONDS").map_or(SECONDS, |seconds| seconds.parse().expect("seconds"));
    let until = Instant::now() + Duration::from_secs(seconds);
    let attempts = Arc::<AtomicU64>::default();
    let mut attackers = JoinSet::new();
    for _ in 0..ATTACKERS {
        let (target, attempts) = (Arc::clone(&target), Arc::clone(&attempts));
        attackers.spawn(async move {
            while Instant::now() < until {
                let number = attempts.fetch_add(1, Ordering::Relaxed);
                let attempt = (flood.attempt)(Arc::clone(&target), number);
                tokio::time::timeout(HANGS, attempt).await.expect("an attempt hangs");
            }
        });
    }
    attackers.join_all().await;
    println!("{} attempts", attempts.load(Ordering::Relaxed));
    let damage = victim.survives().await;
    assert!(damage.growth < MOST_GROWTH, "{} MiB", damage.growth / MIB);
}

/// The server signs, and the client rejects its certificate.
async fn handshake(target: Arc<Target>) {
    let config = Peer::new(&target.stranger).config();
    assert!(connect_from(ATTACKER, target.rest, config).await.is_err());
}

async fn wrong_key(target: Arc<Target>, number: u64) {
    let [.., third, fourth] = number.to_be_bytes();
    let from = IpAddr::V4(Ipv4Addr::new(127, 1, third, fourth));
    let key = format!("tlm_{number:043}");
    let client = target.client.at(from).with_key(Some(&key));
    let answer = client.assign("ann@example.com", &["SN-1"]).await;
    assert!(
        ["UNAUTHENTICATED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"].contains(&answer.code.as_str()),
        "{answer:?}"
    );
}

async fn stream(target: Arc<Target>) {
    if let Ok(mut follower) = Follower::start(&target.client, &From::after(0)).await {
        follower.next().await;
    }
}

/// Each page examines as many devices as it may, and finds none.
async fn list(target: Arc<Target>, number: u64) {
    if number == 0 {
        let devices: Vec<_> = (0..10_000).map(|number| format!("SN-{number}")).collect();
        let devices: Vec<_> = devices.iter().map(String::as_str).collect();
        target.client.create("ann@example.com", &devices).await.ok();
    }
    let request = json!({ "type": "unknown", "pageSize": 1000 });
    let answer = read(&target.client, Read::ListDevices, &request).await;
    assert!(
        ["OK", "RESOURCE_EXHAUSTED"].contains(&answer.code.as_str()),
        "{answer:?}"
    );
}

async fn new_idempotency_key(target: Arc<Target>, number: u64) {
    let client = target.client.with_header("idempotency-key", &format!("key-{number}"));
    let answer = client.create("ann@example.com", &[&format!("SN-{number}")]).await;
    assert!(
        ["OK", "RESOURCE_EXHAUSTED"].contains(&answer.code.as_str()),
        "{answer:?}"
    );
}

async fn page(target: Arc<Target>) {
    let client = Client::new(Api::Rest, target.rest, "").at(ATTACKER);
    for path in ["/console", "/openapi.json"] {
        let request = client.with_key(None).request(Method::GET, path);
        if let Ok(response) = request.send().await {
            let _ = response.bytes().await;
        }
    }
}
