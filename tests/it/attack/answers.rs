//! Responses that are not read, and responses that would be too large.

use std::time::Duration;

use device_assignment::{pb::AssignDevicesToOwnerRequest, server::ServerSettings};
use prost::Message;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    peer::{ASSIGN, Peer, connect, framed},
    victim::{ATTACKER, MIB, Victim, Way},
};
use crate::{
    metrics::Metrics,
    support::{
        Api, Client, Kind, PATH, Program, Suite, TestDatabase, TestServer, load::eventually, organization,
        program::command,
    },
};

/// How many responses are left unread, each of about 1 MiB.
const UNREAD: usize = 300;
const LIMIT: Duration = Duration::from_secs(60);

pub fn register(suite: &mut Suite) {
    for way in Way::ALL {
        let name = |test: &str| format!("attack::{test}::{}", way.name());
        if way != Way::Gateway {
            suite.on(Kind::Sqlite, &name("unread_grpc_answers_take_a_share"), move |db| {
                unread_grpc(db, way)
            });
        }
        suite.on(Kind::Sqlite, &name("unread_rest_answers_take_a_share"), move |db| {
            unread_rest(db, way)
        });
        suite.on(Kind::Sqlite, &name("unread_pages_take_no_share"), move |db| {
            unread_pages(db, way)
        });
    }
    suite.on(
        Kind::Sqlite,
        "attack::a_connection_that_reads_nothing_is_closed::http_2",
        stalled,
    );
    suite.on(
        Kind::Sqlite,
        "attack::a_connection_that_reads_nothing_is_closed::http_1",
        stalled_http_1,
    );
    suite.on_each(
        "attack::a_request_is_rejected_if_its_response_could_be_too_large",
        too_large,
    );
}

/// The most devices that a request may have, all unknown: nothing is written, and all are in the response.
fn request() -> AssignDevicesToOwnerRequest {
    AssignDevicesToOwnerRequest {
        customer_email: "john@example.com".into(),
        device_identifiers: std::iter::once("SN-1".to_owned())
            .chain((1..10_000).map(|number| format!("{number}{}", "x".repeat(90))))
            .collect(),
        ..AssignDevicesToOwnerRequest::default()
    }
}

async fn unread_grpc(database: &'static TestDatabase, way: Way) {
    let victim = Victim::start_at(way, database, &["--write-timeout", "2s"]).await;
    let client = Client::new(Api::Grpc, victim.grpc, &victim.key);
    client.create("john@example.com", &["SN-1"]).await.ok();
    let message = framed(&request().encode_to_vec());
    let (mut peers, mut held) = (Vec::new(), Vec::new());
    for _ in 0..UNREAD / 100 {
        let Some(peer) = Peer::connect(ATTACKER, victim.grpc, 0).await else {
            continue;
        };
        for _ in 0..100 {
            let Ok((response, mut sending)) = peer.begin_call(ASSIGN, &[("x-api-key", &victim.key)]).await else {
                break;
            };
            let _ = sending.send_data(message.clone(), true);
            held.push((response, sending));
        }
        peers.push(peer);
    }
    // Unread responses are dropped with the connection.
    eventually("the connections are closed", LIMIT, async || {
        victim.growth_now() < 64 * MIB
    })
    .await;
    let damage = victim.survives().await;
    assert!(damage.growth <= 160 * MIB, "{} MiB", damage.growth / MIB);
    drop((peers, held));
}

async fn unread_rest(database: &'static TestDatabase, way: Way) {
    let victim = Victim::start_at(way, database, &["--write-timeout", "2s"]).await;
    let client = Client::new(Api::Grpc, victim.grpc, &victim.key);
    client.create("john@example.com", &["SN-1"]).await.ok();
    let request = request();
    let body = json!({
        "customerEmail": request.customer_email,
        "deviceIdentifiers": request.device_identifiers,
    });
    let body = body.to_string();
    let mut held = Vec::new();
    for _ in 0..UNREAD {
        let Ok(mut stream) = connect(ATTACKER, victim.rest).await else {
            continue;
        };
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            victim.key,
            body.len()
        );
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(body.as_bytes()).await;
        held.push(stream);
    }
    eventually("the connections are closed", LIMIT, async || {
        victim.growth_now() < 64 * MIB
    })
    .await;
    let damage = victim.survives().await;
    assert!(damage.growth <= 160 * MIB, "{} MiB", damage.growth / MIB);
}

/// Pages need no key and are part of the program, so unread ones take no share.
async fn unread_pages(database: &'static TestDatabase, way: Way) {
    let victim = Victim::start_at(way, database, &[]).await;
    let (mut peers, mut held) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let peer = Peer::connect(ATTACKER, victim.rest, 0).await.expect("a connection");
        for _ in 0..120 {
            held.push(peer.get("/docs/swagger-ui-bundle.js").await.expect("a head"));
        }
        peers.push(peer);
    }
    let damage = victim.survives().await;
    assert!(damage.growth <= 64 * MIB, "{} MiB", damage.growth / MIB);
    drop((peers, held));
}

async fn stalled(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let mut settings = ServerSettings::default();
    settings.connections.write_timeout = Duration::from_millis(300);
    let server = TestServer::start_with(database, settings).await;
    server
        .client(Api::Grpc, &key)
        .create("john@example.com", &["SN-1"])
        .await
        .ok();
    let message = framed(&request().encode_to_vec());
    let peer = Peer::connect(ATTACKER, server.grpc, 0).await.expect("a connection");
    let (response, mut sending) = peer.begin_call(ASSIGN, &[("x-api-key", &key)]).await.expect("a stream");
    sending.send_data(message, true).expect("sent");
    let mut body = response.await.expect("a head").into_body();
    let end = tokio::time::timeout(LIMIT, body.data()).await.expect("closed in time");
    assert!(matches!(end, None | Some(Err(_))), "{end:?}");

    server.stop().await;
}

/// Over HTTP/1.1 an unread response fills the buffers of the kernels and then stalls.
async fn stalled_http_1(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let program = Program::spawn(command(&[
        "serve",
        "--database-url",
        database.url(),
        "--write-timeout",
        "300ms",
    ]))
    .await;
    program
        .client(Api::Grpc, &key)
        .create("john@example.com", &["SN-1"])
        .await
        .ok();
    let long = |number: usize| format!("{number:05}{}", "ä".repeat(250));
    let identifiers: Vec<String> = std::iter::once("SN-1".to_owned())
        .chain((1..10_000).map(long))
        .collect();
    let body = json!({ "customerEmail": "john@example.com", "deviceIdentifiers": identifiers }).to_string();
    let mut stream = connect(ATTACKER, program.rest).await.expect("a connection");
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("a head");
    stream.write_all(body.as_bytes()).await.expect("a body");
    stream.read_u8().await.expect("an answer");
    // No more than that is read. This side sees the end only after it has read everything before.
    eventually("the connection is closed", LIMIT, async || {
        let metrics = Metrics::of(program.admin).await;
        metrics.get("device_assignment_connections{face=\"rest\"}") == 0.0
    })
    .await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < body.len(), "all {} bytes had left", rest.len());
    program.terminate().await;
}

async fn too_large(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let settings = ServerSettings {
        max_answer_bytes: 4 * 1024,
        ..ServerSettings::default()
    };
    let server = TestServer::start_with(database, settings).await;
    for api in Api::ALL {
        let client = server.client(api, &key);
        client.create("john@example.com", &["SN-1"]).await.ok();
        let before = database.dump().await;
        let many: Vec<String> = (0..100).map(|number| format!("SN-{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let answer = client.create("jane@example.com", &many).await;
        // Each API has its own name of the field.
        let field = match api {
            Api::Grpc => "device_identifiers",
            Api::Rest | Api::RemoteRest => "deviceIdentifiers",
        };
        let sentence = format!("The response could be larger than 4096 bytes; send fewer {field} per request");
        assert_eq!(
            (answer.code.as_str(), answer.error.as_str()),
            ("INVALID_ARGUMENT", sentence.as_str())
        );
        assert_eq!(answer.violations, [("deviceIdentifiers".to_owned(), sentence)]);
        assert_eq!(database.dump().await, before, "a refused call changes nothing");
        client
            .create("john@example.com", many.get(..50).expect("fifty"))
            .await
            .ok();
    }
    server.stop().await;
}
