//! Calls that start and then stop: thousands of them, and some that continue after their key was revoked.

use std::time::{Duration, Instant};

use device_assignment::{
    domain::id::ApiKeyId,
    pb::AssignDevicesToOwnerRequest,
    server::ServerSettings,
    service::{ServiceSettings, revoke_api_key},
};
use futures_util::future::join_all;
use prost::Message;
use tonic::Code;

use super::{
    peer::{ASSIGN, Peer, framed, status},
    victim::{ATTACKER, MIB, Victim, Way},
};
use crate::support::{
    Api, Kind, Suite, TestDatabase, TestServer,
    load::{eventually, message},
    new_key, organization,
};

/// For a call that would never end. A limit of the test only.
const LIMIT: Duration = Duration::from_secs(60);

pub fn register(suite: &mut Suite) {
    for way in [Way::Plain, Way::Tls] {
        let name = format!(
            "attack::parked_calls_leave_room_for_other_organizations::{}",
            way.name()
        );
        suite.on(Kind::Sqlite, &name, move |db| parked(db, way));
    }
    suite.on(Kind::Sqlite, "attack::a_message_must_arrive_in_time", slow_message);
    suite.on(Kind::Sqlite, "attack::no_call_exceeds_the_longest_deadline", longest);
    suite.on(
        Kind::Sqlite,
        "attack::a_rejection_ends_its_stream_with_its_head",
        refusal_in_the_head,
    );
    suite.on_each(
        "attack::a_key_that_is_revoked_while_its_message_arrives_is_rejected",
        revoked,
    );
}

async fn parked(database: &'static TestDatabase, way: Way) {
    // No message is due before the last call has begun.
    let victim = Victim::start_at(way, database, &["--body-timeout", "60s"]).await;
    let headers = [("x-api-key", victim.key.as_str()), ("grpc-timeout", "24H")];
    let (mut peers, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..80 {
        let peer = Peer::connect(ATTACKER, victim.grpc, 1024 * 1024).await;
        let peer = peer.expect("a connection");
        for _ in 0..126 {
            calls.push(peer.begin_call(ASSIGN, &headers).await.expect("a stream"));
        }
        peers.push(peer);
        // The test is of the room that open calls leave. Beginning all of them at once would need all of a small machine.
        victim.serves(1).await;
    }
    // While all of them are open, the other organization is served; `survives` checks that.
    let damage = victim.survives().await;
    // Half of 4,096 calls, with what each holds while its message arrives: 20 KiB, and more without optimization.
    assert!(damage.growth <= 128 * MIB, "{} MiB", damage.growth / MIB);
    drop(calls);
}

async fn slow_message(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let settings = ServerSettings {
        body_timeout: Duration::from_millis(200),
        ..ServerSettings::default()
    };
    let server = TestServer::start_with(database, settings).await;
    let peer = Peer::connect(ATTACKER, server.grpc, 1024).await.expect("a connection");
    let call = peer
        .begin_call(ASSIGN, &[("x-api-key", &key), ("grpc-timeout", "1H")])
        .await;
    let (response, mut sending) = call.expect("a stream");
    sending
        .send_data(framed(&[0; 100]).slice(..50), false)
        .expect("half a message");
    let response = tokio::time::timeout(LIMIT, response).await.expect("in time");
    let status = status(response.expect("an answer")).await.expect("a status");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.message(), "The request did not arrive in time");
    server.stop().await;
}

async fn longest(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let settings = ServerSettings {
        max_request_timeout: Duration::from_millis(200),
        ..ServerSettings::default()
    };
    let server = TestServer::start_with(database, settings).await;
    let peer = Peer::connect(ATTACKER, server.grpc, 1024).await.expect("a connection");
    let call = peer
        .begin_call(ASSIGN, &[("x-api-key", &key), ("grpc-timeout", "24H")])
        .await;
    let (response, _parked) = call.expect("a stream");
    let response = tokio::time::timeout(LIMIT, response).await.expect("in time");
    let status = status(response.expect("an answer")).await.expect("a status");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    server.stop().await;
}

/// The libraries gRPC Core, Go and Java require that a rejection is one HEADERS frame that ends the stream.
async fn refusal_in_the_head(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let peer = Peer::connect(ATTACKER, server.grpc, 1024).await.expect("a connection");
    let unknown = AssignDevicesToOwnerRequest {
        auto_create_devices: false,
        ..message("john@example.com")
    };
    let empty = AssignDevicesToOwnerRequest::default();
    let no_method = "telemetron.device_assignment.v1.DeviceAssignmentService/Nothing";
    for (method, key, message) in [
        (ASSIGN, key.as_str(), &empty),
        (ASSIGN, &key, &unknown),
        (ASSIGN, "tlm_wrong", &empty),
        (no_method, &key, &empty),
    ] {
        let call = peer.begin_call(method, &[("x-api-key", key)]).await;
        let (response, mut sending) = call.expect("a stream");
        // The response may arrive before this.
        let _ = sending.send_data(framed(&message.encode_to_vec()), true);
        let response = response.await.expect("an answer");
        assert!(response.headers().contains_key("grpc-status"), "{response:?}");
        assert!(response.body().is_end_stream(), "more comes after {response:?}");
    }
    server.stop().await;
}

async fn revoked(database: &'static TestDatabase) {
    organization(database, "acme").await;
    let key = new_key(database, "acme", None).await;
    let secret = key.secret.reveal().to_owned();
    let settings = ServerSettings {
        service: ServiceSettings {
            key_cache_ttl: Duration::from_millis(100),
            ..ServiceSettings::default()
        },
        ..ServerSettings::default()
    };
    let server = TestServer::start_with(database, settings).await;
    let message = framed(&message("jane@example.com").encode_to_vec());
    let half = message.len() / 2;

    let begun = Instant::now();
    let peers = join_all((0..4).map(|_| Peer::connect(ATTACKER, server.grpc, 1024))).await;
    let mut calls = Vec::new();
    for peer in peers.iter().flatten() {
        let call = peer
            .begin_call(ASSIGN, &[("x-api-key", &secret), ("grpc-timeout", "1M")])
            .await;
        let (response, mut sending) = call.expect("a stream");
        sending.send_data(message.slice(..half), false).expect("half a message");
        calls.push((response, sending));
    }
    assert_eq!(calls.len(), 4);
    let client = server.client(Api::Grpc, &secret);
    client.create("john@example.com", &["SN-1"]).await.ok();
    let id: ApiKeyId = key.record.id;
    let operator = database.open().await;
    revoke_api_key(&operator, id).await.expect("revoked");
    operator.close().await;
    eventually("the key is refused", Duration::from_secs(30), async || {
        client.assign("john@example.com", &["SN-1"]).await.code == "UNAUTHENTICATED"
    })
    .await;
    // The service checks the key again if a message took longer than a second.
    eventually("a second is over", Duration::from_secs(30), async || {
        begun.elapsed() > Duration::from_millis(1_500)
    })
    .await;
    for (response, mut sending) in calls {
        sending.send_data(message.slice(half..), true).expect("the rest");
        let status = status(response.await.expect("an answer")).await.expect("a status");
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    }
    let written = "SELECT count(*) FROM customer WHERE email = 'jane@example.com'";
    assert_eq!(database.number(written).await, 0);
    server.stop().await;
}
