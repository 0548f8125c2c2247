//! A separate gateway whose service fails.

use std::{net::SocketAddr, time::Duration};

use device_assignment::{
    server::{GatewayListeners, ServerSettings, Upstream, serve_gateway},
    service::{ServiceSettings, StreamSettings},
};
use sea_orm::{ConnectionTrait, TransactionTrait};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::transport::Endpoint;

use crate::changes::follower::{Follower, From};
use crate::support::{
    Answer, Api, Client, INVALID_KEY, Kind, Program, Suite, TestDatabase, TestServer, load::eventually, organization,
};

pub fn register(suite: &mut Suite) {
    suite.test("gateway::without_its_service", without_service);
    suite.on(
        Kind::Postgres,
        "gateway::a_service_that_dies_in_the_middle_of_a_call",
        dying_service,
    );
    suite.on(Kind::Sqlite, "gateway::streams_leave_room_for_calls", many_streams);
    suite.on_each("gateway::a_key_that_is_longer_than_the_transport_takes", long_key);
}

/// A gateway in this process that calls its service over a channel.
struct Gateway {
    client: Client,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Gateway {
    async fn start(upstream: SocketAddr, key: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let upstream = Upstream {
            endpoint: Endpoint::from_shared(format!("http://{upstream}")).expect("an endpoint"),
            tls: None,
        };
        let listeners = GatewayListeners {
            rest: listener,
            admin: None,
            tls: None,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            let served = serve_gateway(upstream, ServerSettings::default(), listeners, None, stopped).await;
            served.expect("a clean stop");
        });
        let client = Client::new(Api::Rest, address, key);
        Self { client, stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).expect("running");
        self.task.await.expect("no panic");
    }
}

/// The outcome is unknown: the caller is told to try again, and learns no cause.
#[track_caller]
fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.code, "UNAVAILABLE", "{answer:?}");
    assert_eq!(answer.error, "Service temporarily unavailable; try again shortly");
    assert_eq!(answer.retry_after, Some(1));
    assert_eq!(answer.http.as_ref().expect("REST").0, 503);
}

async fn without_service() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nobody = free.local_addr().expect("an address");
    drop(free);
    let gateway = Gateway::start(nobody, "key").await;
    assert_unavailable(&gateway.client.assign("john.doe@example.com", &["SN-001"]).await);
    gateway.stop().await;
}

async fn dying_service(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let service = Program::serve(database.url()).await;
    let gateway = Gateway::start(service.grpc, &key).await;
    let outside = database.connect().await;
    let blocker = outside.begin().await.expect("begun");
    let lock = "LOCK TABLE customer IN ACCESS EXCLUSIVE MODE";
    blocker.execute_unprepared(lock).await.expect("locked");

    let client = gateway.client.clone();
    let call = tokio::spawn(async move { client.create("john@example.com", &["SN-1"]).await });
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    eventually("the call waits for the lock", Duration::from_secs(10), async || {
        database.number(waiting).await > 0
    })
    .await;
    service.kill().await;
    assert_unavailable(&call.await.expect("no panic"));

    drop(blocker);
    outside.close().await.expect("closed");
    gateway.stop().await;
}

/// A connection to the service carries 128 calls. Streams do not end, so more of them need more connections.
async fn many_streams(database: &'static TestDatabase) {
    const STREAMS: usize = 150;
    /// Longer than a call takes on any machine.
    const HANGS: Duration = Duration::from_secs(60);
    let key = organization(database, "acme").await;
    let streams = StreamSettings {
        max_of_key: STREAMS,
        max: 2 * STREAMS,
    };
    let settings = ServerSettings {
        service: ServiceSettings {
            streams,
            ..ServiceSettings::default()
        },
        ..ServerSettings::default()
    };
    let server = TestServer::start_with(database, settings).await;
    let gateway = Gateway::start(server.grpc, &key).await;
    let mut followers = Vec::new();
    for _ in 0..STREAMS {
        let follower = tokio::time::timeout(HANGS, Follower::start(&gateway.client, &From::after(0))).await;
        followers.push(follower.expect("a stream waits for another").expect("a stream"));
    }
    let call = gateway.client.create("john@example.com", &["SN-1"]);
    let answer = tokio::time::timeout(HANGS, call).await;
    answer.expect("a call waits for a stream").ok();
    for follower in &mut followers {
        follower.change().await;
    }
    drop(followers);
    gateway.stop().await;
    server.stop().await;
}

async fn long_key(database: &'static TestDatabase) {
    organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let key = "x".repeat(20_000);
    for api in [Api::Rest, Api::RemoteRest] {
        let answer = server.client(api, &key).create("john@example.com", &["SN-1"]).await;
        assert_eq!(
            (answer.code.as_str(), answer.error.as_str()),
            ("UNAUTHENTICATED", INVALID_KEY)
        );
    }
    server.stop().await;
}
