//! The answer of a call is lost, and somebody else changes the device before the call is sent again.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::Command,
    task::JoinSet,
};

use super::{Site, owners};
use crate::support::{
    Suite, TestDatabase, devices,
    effects::owned,
    program::{finish, stderr, stdout},
};

const ANN: &str = "ann@example.com";
const BOB: &str = "bob@example.com";
const EVE: &str = "eve@example.com";

/// A command whose answer is lost, and what somebody else does meanwhile. It must leave what they have done as it is.
#[derive(Clone, Copy)]
struct Case {
    command: [&'static str; 4],
    meanwhile: [&'static str; 4],
    /// The member of the report that counts the device.
    counted: &'static str,
    owner: &'static str,
}

const CASES: [Case; 2] = [
    Case {
        command: ["transfer", "--customer", BOB, "SN-1"],
        meanwhile: ["transfer", "--customer", EVE, "SN-1"],
        counted: "assigned",
        owner: EVE,
    },
    Case {
        command: ["unassign", "--customer", ANN, "SN-1"],
        meanwhile: ["assign", "--customer", ANN, "SN-1"],
        counted: "unassigned",
        owner: ANN,
    },
];

pub fn register(suite: &mut Suite) {
    for case in CASES {
        let name = format!("assign::lost_answer::{}_is_carried_out_once", case.command[0]);
        suite.on_each(&name, move |database| once(database, case));
    }
}

fn command(site: &Site, [subcommand, arguments @ ..]: [&str; 4]) -> Command {
    site.of(subcommand, &arguments)
}

/// An address that leads to `server`. The first answer after a change of who owns what is not passed on: its connection ends when
/// `meanwhile` has run.
async fn losing(server: SocketAddr, database: &'static TestDatabase, meanwhile: Command) -> (SocketAddr, JoinSet<()>) {
    let before: BTreeMap<_, _> = owned(database).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let has_lost = Arc::new(AtomicBool::new(false));
    let meanwhile = Arc::new(tokio::sync::Mutex::new(Some(meanwhile)));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (client, _) = listener.accept().await.expect("a connection");
            let (has_lost, meanwhile) = (Arc::clone(&has_lost), Arc::clone(&meanwhile));
            let before = before.clone();
            connections.spawn(async move {
                let (mut requests, mut answers) = client.into_split();
                let service = TcpStream::connect(server).await.expect("the service");
                let (mut from_service, mut to_service) = service.into_split();
                let passing = tokio::spawn(async move { tokio::io::copy(&mut requests, &mut to_service).await });
                let mut bytes = vec![0; 64 * 1024];
                while let Ok(count @ 1..) = from_service.read(&mut bytes).await {
                    if !has_lost.load(Ordering::SeqCst) && owned(database).await != before {
                        has_lost.store(true, Ordering::SeqCst);
                        let other = meanwhile.lock().await.take().expect("the first loss");
                        let output = finish(other).await;
                        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
                        break;
                    }
                    if answers.write_all(&bytes[..count]).await.is_err() {
                        break;
                    }
                }
                passing.abort();
            });
        }
    });
    (address, tasks)
}

async fn once(database: &'static TestDatabase, case: Case) {
    let site = Site::start(database).await;
    devices(database, "acme", &["SN-1"]).await;
    assert_eq!(site.run(&["--customer", ANN, "SN-1"]).await.status.code(), Some(0));
    let (address, _tasks) = losing(site.server.grpc, database, command(&site, case.meanwhile)).await;
    let mut running = command(&site, case.command);
    running
        .arg("--json")
        .env("DEVICE_ASSIGNMENT_SERVER", format!("http://{address}"));
    let output = finish(running).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(
        (&report[case.counted], &report["retries"]),
        (&1.into(), &1.into()),
        "{report}"
    );
    let owned: BTreeMap<_, _> = owned(database).await;
    let left: BTreeMap<_, _> = owned.into_iter().filter(|(_, devices)| !devices.is_empty()).collect();
    assert_eq!(left, owners(&[(case.owner, &["SN-1"])]));
    site.server.stop().await;
}
