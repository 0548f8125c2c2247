//! Silent connections, and streams without a key.

use std::time::Duration;

use prost::Message;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_request::MessageRequest};

use super::{
    peer::{Peer, connect, framed, status},
    victim::{ATTACKER, MIB, Victim, Way},
};
use crate::support::{Kind, Suite, TestDatabase};

const WATCH: &str = "grpc.health.v1.Health/Watch";
const CHECK: &str = "grpc.health.v1.Health/Check";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// How long unread responses accumulate.
const OPEN: Duration = Duration::from_millis(500);

pub fn register(suite: &mut Suite) {
    suite.on(Kind::Sqlite, "attack::silent_connections_leave_room_for_others", silent);
    for way in [Way::Plain, Way::Tls] {
        let name = |test: &str| format!("attack::{test}::{}", way.name());
        suite.on(
            Kind::Sqlite,
            &name("keyless_streams_are_capped_on_a_connection"),
            move |db| on_a_connection(db, way),
        );
        suite.on(Kind::Sqlite, &name("unread_reflection_takes_no_memory"), move |db| {
            reflection(db, way)
        });
    }
    suite.on(
        Kind::Sqlite,
        "attack::keyless_streams_are_capped_for_an_address",
        of_an_address,
    );
}

async fn silent(database: &'static TestDatabase) {
    // Two for each connection: the client is in this process.
    let victim = Victim::start(database, &["--max-connections", "256"]).await;
    let mut open = Vec::new();
    for address in [victim.rest, victim.grpc] {
        for _ in 0..512 {
            open.extend(connect(ATTACKER, address).await.ok());
        }
    }
    victim.survives().await;
}

fn watch() -> axum::body::Bytes {
    framed(&HealthCheckRequest::default().encode_to_vec())
}

async fn on_a_connection(database: &'static TestDatabase, way: Way) {
    let victim = Victim::start_at(way, database, &[]).await;
    let peer = Peer::connect(ATTACKER, victim.grpc, 1024 * 1024)
        .await
        .expect("a connection");
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..12 {
        let (response, mut sending) = peer.begin_call(WATCH, &[]).await.expect("a stream");
        // The response may arrive before this.
        let _ = sending.send_data(watch(), true);
        let response = response.await.expect("a head");
        if response.headers().contains_key("grpc-status") {
            let status = status(response).await.expect("a status");
            assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
            refused += 1;
        } else {
            open.push(response);
        }
    }
    assert_eq!((open.len(), refused), (8, 4));
    // One that ends makes room for another.
    open.pop();
    let mut checked = Code::ResourceExhausted;
    while checked == Code::ResourceExhausted {
        let (response, mut sending) = peer.begin_call(CHECK, &[]).await.expect("a stream");
        // The response may arrive before this.
        let _ = sending.send_data(watch(), true);
        checked = status(response.await.expect("a head")).await.expect("a status").code();
    }
    assert_eq!(checked, Code::Ok);
    victim.survives().await;
}

async fn of_an_address(database: &'static TestDatabase) {
    let victim = Victim::start(database, &["--max-keyless-calls", "40"]).await;
    let (mut open, mut refused) = (Vec::new(), 0);
    let mut peers = Vec::new();
    for _ in 0..10 {
        let peer = Peer::connect(ATTACKER, victim.grpc, 1024 * 1024)
            .await
            .expect("a connection");
        for _ in 0..8 {
            let (response, mut sending) = peer.begin_call(WATCH, &[]).await.expect("a stream");
            // The response may arrive before this.
            let _ = sending.send_data(watch(), true);
            let response = response.await.expect("a head");
            if response.headers().contains_key("grpc-status") {
                refused += 1;
            } else {
                open.push(response);
            }
        }
        peers.push(peer);
    }
    assert_eq!((open.len(), refused), (20, 60));
    let other = Peer::connect([127, 0, 0, 67].into(), victim.grpc, 1024)
        .await
        .expect("a connection");
    let (response, mut sending) = other.begin_call(CHECK, &[]).await.expect("a stream");
    // The response may arrive before this.
    let _ = sending.send_data(watch(), true);
    assert_eq!(
        status(response.await.expect("a head")).await.expect("a status").code(),
        Code::Ok
    );
    victim.survives().await;
}

async fn reflection(database: &'static TestDatabase, way: Way) {
    let victim = Victim::start_at(way, database, &["--write-timeout", "1s"]).await;
    let symbol = "telemetron.device_assignment.v1.DeviceAssignmentService".to_owned();
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol(symbol)),
    };
    let request = framed(&request.encode_to_vec());
    let (mut peers, mut held) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        let Some(peer) = Peer::connect(ATTACKER, victim.grpc, 0).await else {
            continue;
        };
        for _ in 0..100 {
            let Ok((response, mut sending)) = peer.begin_call(REFLECTION, &[]).await else {
                break;
            };
            for _ in 0..8 {
                let _ = sending.send_data(request.clone(), false);
            }
            held.push((response, sending));
        }
        peers.push(peer);
    }
    tokio::time::sleep(OPEN).await;
    let damage = victim.survives().await;
    assert!(damage.growth <= 64 * MIB, "{} MiB", damage.growth / MIB);
}
