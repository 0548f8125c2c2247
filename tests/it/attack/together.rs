//! All attacks at once, on a process with less memory than `deploy/kubernetes` allows.

use std::{
    env, fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use device_assignment::pb::AssignDevicesToOwnerRequest;
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use super::{
    peer::{ASSIGN, Peer, connect, framed},
    victim::{ATTACKER, MIB, Victim},
};
use crate::support::{Kind, PATH, Suite, TestDatabase};

/// How many seconds they last, without `ATTACK_SECONDS`.
const SECONDS: u64 = 60;
/// Less than the memory limit in `deploy/kubernetes/deployment.yaml`: the attacks open no streams of changes.
const LIMIT: u64 = 512 * MIB;
/// How long after the attacks the memory may take to shrink, and how much more than before it may then be.
const FALLS_WITHIN: Duration = Duration::from_secs(30);
const NEAR: u64 = 64 * MIB;

pub fn register(suite: &mut Suite) {
    suite.on(
        Kind::Sqlite,
        "attack::all_together_within_the_memory_of_a_container",
        together,
    );
}

/// A control group with a memory limit, if the machine allows to create one.
struct MemoryLimit(PathBuf);

impl MemoryLimit {
    fn of(process: u32) -> Option<Self> {
        // Version 2 of control groups, then version 1 (kernel: admin-guide/cgroup-v2, cgroup-v1/memory).
        for (root, limit) in [
            ("/sys/fs/cgroup", "memory.max"),
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ] {
            let group = PathBuf::from(root).join(format!("device-assignment-test-{process}"));
            if fs::create_dir(&group).is_err() {
                continue;
            }
            let made = Self(group);
            let is_limited = fs::write(made.0.join(limit), LIMIT.to_string()).is_ok()
                && fs::write(made.0.join("cgroup.procs"), process.to_string()).is_ok();
            if is_limited {
                return Some(made);
            }
        }
        None
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// One attacker, which repeats its attack.
type Attack = fn(Target) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Clone)]
struct Target {
    grpc: std::net::SocketAddr,
    rest: std::net::SocketAddr,
    key: String,
    body: Bytes,
}

async fn together(database: &'static TestDatabase) {
    let victim = Victim::start(database, &["--write-timeout", "2s"]).await;
    let limit = MemoryLimit::of(victim.program.id());
    println!("limited by a control group: {}", limit.is_some());
    let target = Target {
        grpc: victim.grpc,
        rest: victim.rest,
        key: victim.key.clone(),
        body: br#"{"customerEmail":"a@example.com","deviceIdentifiers":["#
            .iter()
            .copied()
            .chain(br#""a","#.repeat(2_000_000))
            .collect(),
    };
    let attacks: [(Attack, usize); 6] = [
        (|target| Box::pin(strangers_body(target)), 8),
        (|target| Box::pin(body_in_streams(target)), 2),
        (|target| Box::pin(parked_calls(target)), 2),
        (|target| Box::pin(unread_answers(target)), 2),
        (|target| Box::pin(too_many_identifiers(target)), 1),
        (|target| Box::pin(silent_connections(target)), 1),
    ];
    let seconds = env::var("ATTACK_SECONDS").map_or(SECONDS, |seconds| seconds.parse().expect("seconds"));
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut attackers = JoinSet::new();
    for (attack, count) in attacks {
        for _ in 0..count {
            let target = target.clone();
            attackers.spawn(async move {
                while Instant::now() < until {
                    // After a rejection it pauses briefly, so that the flood does not use all of the CPU.
                    let _ = tokio::time::timeout(Duration::from_secs(5), attack(target.clone())).await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
    }
    attackers.join_all().await;
    let fallen = Instant::now() + FALLS_WITHIN;
    while victim.growth_now() > NEAR && Instant::now() < fallen {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let left = victim.growth_now();
    let damage = victim.survives().await;
    println!("{} MiB more were left in the end", left / MIB);
    assert!(damage.growth < LIMIT / 2, "{} MiB", damage.growth / MIB);
    assert!(left <= NEAR, "{} MiB", left / MIB);
    drop(limit);
}

async fn strangers_body(target: Target) {
    let Ok(mut stream) = connect(ATTACKER, target.rest).await else {
        return;
    };
    let length = target.body.len();
    let head = format!("POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&target.body).await;
    let _ = stream.read(&mut [0; 1024]).await;
}

async fn body_in_streams(target: Target) {
    let Some(peer) = Peer::connect(ATTACKER, target.rest, 1024).await else {
        return;
    };
    let mut held = Vec::new();
    for _ in 0..64 {
        let Ok((response, mut sending)) = peer.begin(PATH, &[("x-api-key", &target.key)]).await else {
            break;
        };
        let _ = sending.send_data(target.body.clone(), false);
        held.push((response, sending));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
}

async fn parked_calls(target: Target) {
    let mut held = Vec::new();
    for _ in 0..40 {
        let Some(peer) = Peer::connect(ATTACKER, target.grpc, 1024).await else {
            break;
        };
        for _ in 0..126 {
            let headers = [("x-api-key", target.key.as_str()), ("grpc-timeout", "24H")];
            let Ok(call) = peer.begin_call(ASSIGN, &headers).await else {
                break;
            };
            held.push(call);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
}

async fn unread_answers(target: Target) {
    let Some(peer) = Peer::connect(ATTACKER, target.grpc, 0).await else {
        return;
    };
    let request = AssignDevicesToOwnerRequest {
        validate_only: false,
        customer_email: "attacker@example.com".into(),
        device_identifiers: (0..10_000).map(|number| format!("SN-{number}")).collect(),
        auto_create_devices: true,
        device_type: Some("sensor".into()),
    };
    let message = framed(&request.encode_to_vec());
    let mut held = Vec::new();
    for _ in 0..64 {
        let Ok((response, mut sending)) = peer.begin_call(ASSIGN, &[("x-api-key", &target.key)]).await else {
            break;
        };
        let _ = sending.send_data(message.clone(), true);
        held.push((response, sending));
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
}

async fn too_many_identifiers(target: Target) {
    let Some(peer) = Peer::connect(ATTACKER, target.grpc, 1024 * 1024).await else {
        return;
    };
    if let Ok((response, mut sending)) = peer.begin_call(ASSIGN, &[("x-api-key", &target.key)]).await {
        let _ = sending.send_data(framed(&[0x12, 0].repeat(4 * 1024 * 1024)), true);
        let _ = response.await;
    }
}

async fn silent_connections(target: Target) {
    let mut open = Vec::new();
    for _ in 0..500 {
        open.extend(connect(ATTACKER, target.rest).await.ok());
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
}
