//! Connecting to the database: invalid URLs, and databases that do not answer.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::support::{
    Proxy, Suite, TestDatabase,
    database::Kind,
    devices, new_key, organization,
    program::{command, finish, refused, run, sentence, stderr},
};

/// Must never be printed.
const PASSWORD: &str = "canary-password";

pub fn register(suite: &mut Suite) {
    suite.test("reach::invalid_urls_are_usage_errors", unusable_urls);
    suite.test("reach::waits_and_gives_up", out_of_reach);
    suite.test("reach::a_missing_folder_is_reported_at_once", missing_folder);
    suite.with_postgres("reach::a_silent_network_hangs_no_command", silence);
    suite.with_postgres("reach::a_missing_database_is_reported_at_once", missing_database);
}

async fn unusable_urls() {
    let subcommands = [
        ["serve"].as_slice(),
        &["migrate"],
        &["organization", "list"],
        &["api-key", "list", "--organization=acme"],
    ];
    for url in [
        "",
        "mysql://x",
        "mysql://app:canary-password@db/devices",
        "postgres://[",
        "postgres://app:canary-password@[/devices",
        "postgres://app:canary-password@db:port/devices",
        "postgres:/app:canary-password@db/devices",
        "sqlite::memory:",
        "sqlite://:memory:",
        "sqlite://devices.db?mode=memory",
        "sqlite://devices.db?mode=canary-password",
        "sqlite:",
    ] {
        for subcommand in subcommands {
            let output = run(&[subcommand, &["--database-url", url]].concat()).await;
            let said = sentence(&output, 2);
            assert!(
                said.contains("--database-url (from the command line): "),
                "{url:?}: {said}"
            );
            assert!(said.contains("sqlite://"), "{url:?}: {said}");
            assert!(!said.contains(PASSWORD), "{url:?}: {said}");
        }
    }
    let output = command(&["serve"]).env("DATABASE_URL", "mysql://x").output().await;
    sentence(&output.expect("the program runs"), 2);
}

/// A port without a listener. No other process can take it while the socket lives.
fn closed_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

async fn out_of_reach() {
    let (_socket, address) = closed_port();
    let url = format!("postgres://app:{PASSWORD}@{address}/devices?secret={PASSWORD}");
    let start = Instant::now();
    let output = command(&["serve", "--connect-timeout", "2s", "--database-url", &url])
        .env("RUST_LOG", "debug")
        .output()
        .await
        .expect("the program runs");
    let waited = start.elapsed();
    let said = refused(&output, 1);
    assert!(!said.contains(PASSWORD), "{said}");
    let waiting = format!("waiting for postgres://{address}/devices: ");
    let count = said.lines().filter(|line| line.starts_with(&waiting)).count();
    assert!((1..=2).contains(&count), "a line a second: {said}");
    let end = format!("device-assignment: postgres://{address}/devices: the database is out of reach: ");
    let last = said.lines().last().expect("a last line");
    assert!(last.starts_with(&end), "{said}");
    // Not a measurement: the default is half a minute.
    assert!(waited >= Duration::from_secs(2), "gave up after {waited:?}: {said}");
    assert!(waited < Duration::from_secs(20), "gave up after {waited:?}");
}

async fn missing_folder() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("missing").join("devices.db");
    let url = format!("sqlite://{}?mode=rwc", path.display());
    for subcommand in [["serve"].as_slice(), &["migrate"], &["organization", "list"]] {
        let output = run(&[subcommand, &["--database-url", &url]].concat()).await;
        let said = sentence(&output, 1);
        assert!(said.contains(&path.display().to_string()), "{said}");
        assert!(!said.contains("waiting"), "{said}");
    }
    assert!(!path.parent().expect("a folder").exists());
}

/// Waiting does not make it appear.
async fn missing_database() {
    let database = TestDatabase::empty(Kind::Postgres).await;
    let url = database.url().to_owned();
    database.remove().await;
    let said = sentence(&run(&["serve", "--database-url", &url]).await, 1);
    assert!(said.contains("does not exist"), "{said}");
}

/// A network that falls silent in the middle of a command: the command fails by itself, in one sentence. Where, is tried at
/// several places between the first answer of the database and the last.
async fn silence() {
    const PLACES: u64 = 5;
    let folder = TempDir::new().expect("a folder");
    let list = folder.path().join("devices.csv");
    std::fs::write(&list, "identifier,type\nSN-2,sensor\n").expect("a file");
    let list = list.to_str().expect("a path");
    let database = TestDatabase::create(Kind::Postgres).await;
    organization(&database, "acme").await;
    devices(&database, "acme", &["SN-1"]).await;
    let id = new_key(&database, "acme", None).await.record.id.to_string();
    let in_acme = |arguments: &[&str]| [arguments, &["--organization", "acme"]].concat().join(" ");
    let subcommands = [
        "organization list".to_owned(),
        "organization create globex".to_owned(),
        in_acme(&["api-key", "create"]),
        in_acme(&["api-key", "list"]),
        format!("api-key revoke {id}"),
        in_acme(&["device", "show", "SN-1"]),
        in_acme(&["device", "import", list]),
        "verify".to_owned(),
        "migrate --status".to_owned(),
        "migrate".to_owned(),
    ];
    let runs = subcommands.iter().map(async |subcommand| {
        // Only an empty database has something to migrate.
        let is_migration = subcommand == "migrate";
        let through = async |last_answer: u64| {
            let empty = match is_migration {
                true => Some(TestDatabase::empty(Kind::Postgres).await),
                false => None,
            };
            let proxy = Proxy::before(empty.as_ref().unwrap_or(&database)).await;
            proxy.fall_silent_after(last_answer);
            let url = ["--connect-timeout", "0s", "--database-url", proxy.url()];
            let arguments: Vec<_> = subcommand.split(' ').chain(url).collect();
            let output = finish(command(&arguments)).await;
            if let Some(empty) = empty {
                empty.remove().await;
            }
            (output, proxy)
        };
        let (output, proxy) = through(u64::MAX).await;
        assert!(output.status.success(), "{subcommand}: {}", stderr(&output));
        let answers = proxy.answers();
        let places = (0..PLACES).map(|place| (answers - 1) * place / (PLACES - 1));
        for (place, (output, proxy)) in join_all(places.map(through)).await.into_iter().enumerate() {
            // What comes last is perhaps not an answer that the command needs, but one to its question whether the database is
            // still there.
            let is_last = place + 1 == usize::try_from(PLACES).expect("a few");
            if output.status.success() && (is_last || !proxy.is_silent()) {
                continue;
            }
            let said = refused(&output, 1);
            assert!(
                said.contains("\ndevice-assignment: ") || said.starts_with("device-assignment: "),
                "{said}"
            );
            println!("{subcommand}: {}", said.lines().last().unwrap_or_default());
        }
    });
    join_all(runs).await;
    database.remove().await;
}
