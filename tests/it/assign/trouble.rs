//! A service that cannot carry out calls for a while.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use device_assignment::server::ServerSettings;
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{HEADER, Site, assign, report};
use crate::{
    import_stream::Running,
    support::{
        Kind, Suite, TestDatabase, TestServer,
        load::eventually,
        organization,
        program::{finish, sentence, stdout},
    },
};

const CREATE: [&str; 4] = ["--json", "--auto-create", "--type", "sensor"];

pub fn register(suite: &mut Suite) {
    suite.on_each("assign::a_full_queue_is_waited_for", full_queue);
    suite.on_each("assign::a_service_that_is_restarted_is_waited_for", restarted);
    suite.on_each("assign::waiting_has_an_end", gives_up);
}

/// As many customers with a device each.
fn list(customers: usize) -> String {
    (0..customers).fold(HEADER.to_owned(), |list, number| {
        format!("{list}customer{number}@example.com,SN-{number}\n")
    })
}

fn retries(output: &std::process::Output) -> u64 {
    let value: Value = serde_json::from_str(&stdout(output)).expect("JSON");
    value["retries"].as_u64().expect("a number")
}

async fn full_queue(database: &'static TestDatabase) {
    let mut settings = ServerSettings::default();
    settings.service.writer.workers = 1;
    // Of one organization one call waits, and a second one is carried out.
    settings.service.writer.queue_calls = 2;
    settings.service.writer.batch_calls = 1;
    let site = Site::start_with(database, settings).await;
    // So that it is full for sure: nothing can be written for a while.
    let connection = database.connect().await;
    let block = connection.begin().await.expect("a transaction");
    block.execute_unprepared(lock(database.kind)).await.expect("a lock");
    site.write("list.csv", list(12));
    let running = tokio::spawn(finish(
        site.command(&[&["--csv", "list.csv"], CREATE.as_slice()].concat()),
    ));
    // Longer than the service asks to wait, so that calls are refused more than once.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    block.rollback().await.expect("unlocked");
    let output = running.await.expect("no panic");
    assert_eq!(report(&output, 0), [12, 0, 0, 0, 12, 12]);
    assert!(retries(&output) > 0);
    connection.close().await.expect("closed");
    site.server.stop().await;
}

fn lock(kind: Kind) -> &'static str {
    match kind {
        Kind::Postgres => "LOCK TABLE customer IN ACCESS EXCLUSIVE MODE",
        Kind::Sqlite => "UPDATE organization SET name = name",
    }
}

/// An address that stays the same, whoever listens behind it.
struct Address {
    at: SocketAddr,
    server: Arc<Mutex<Option<SocketAddr>>>,
    _tasks: JoinSet<()>,
}

impl Address {
    async fn of(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let at = listener.local_addr().expect("an address");
        let server = Arc::new(Mutex::new(Some(server)));
        let behind = Arc::clone(&server);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.expect("a connection");
                let server = *behind.lock().expect("no panic");
                connections.spawn(async move {
                    let Some(server) = server else { return };
                    if let Ok(mut server) = TcpStream::connect(server).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self {
            at,
            server,
            _tasks: tasks,
        }
    }

    fn leads_to(&self, server: Option<SocketAddr>) {
        *self.server.lock().expect("no panic") = server;
    }
}

async fn restarted(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let first = TestServer::start(database).await;
    let address = Address::of(first.grpc).await;
    let folder = TempDir::new().expect("a folder");
    let arguments = [&["--csv", "-"], CREATE.as_slice()].concat();
    let mut running = Running::spawn(assign(&folder, address.at, &key, &arguments), &list(20)).await;
    eventually("the first rows are done", Duration::from_secs(60), async || {
        database.count("device").await == 20
    })
    .await;
    address.leads_to(None);
    first.stop().await;
    running.feed("ann@example.com,SN-more\n").await;
    running.says("trying again").await;
    let second = TestServer::start(database).await;
    address.leads_to(Some(second.grpc));
    let output = running.finish().await;
    assert_eq!(report(&output, 0), [21, 0, 0, 0, 21, 21]);
    assert!(retries(&output) > 0);
    second.stop().await;
}

async fn gives_up(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let address = Address::of(server.grpc).await;
    let folder = TempDir::new().expect("a folder");
    let arguments = [&["--csv", "-", "--retry-for", "1s"], CREATE.as_slice()].concat();
    let mut running = Running::spawn(assign(&folder, address.at, &key, &arguments), &list(20)).await;
    eventually("the first rows are done", Duration::from_secs(60), async || {
        database.count("device").await == 20
    })
    .await;
    address.leads_to(None);
    server.stop().await;
    running.feed("ann@example.com,SN-more\n").await;
    running.says("trying again").await;
    let mut output = running.finish().await;
    let said = String::from_utf8(output.stderr).expect("text");
    output.stderr = said
        .lines()
        .filter(|line| !line.ends_with("trying again"))
        .flat_map(|line| format!("{line}\n").into_bytes())
        .collect();
    let said = sentence(&output, 1);
    assert!(said.contains("no call succeeded for 1s: no response ("), "{said}");
    assert!(said.contains("20 row(s) are done, and stay so"), "{said}");
}
