//! The command `changes` and the cache of the crate's client, at a running service.

use std::process::Stdio;

use device_assignment::{
    client::{OwnershipCache, Position, Target},
    service::begin_history,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::ChildStdout,
};

use crate::{
    changes::world,
    support::{
        Api, Suite, TestDatabase, TestServer,
        program::{command, finish, stderr, stdout},
    },
};

const ANN: &str = "ann@example.com";
const BOB: &str = "bob@example.com";

pub fn register(suite: &mut Suite) {
    suite.on_each("follow::the_command_prints_every_change", prints);
    suite.on_each("follow::the_command_goes_on_after_a_restart", restarts);
    suite.on_each("follow::mistakes_are_explained", mistakes);
    suite.on_each("follow::a_cache_knows_the_owners", cache);
}

fn changes(server: &TestServer, key: &str, arguments: &str) -> tokio::process::Command {
    let words: Vec<&str> = ["changes"].into_iter().chain(arguments.split_whitespace()).collect();
    let mut command = command(&words);
    command.env("DEVICE_ASSIGNMENT_SERVER", format!("http://{}", server.grpc));
    command.env("DEVICE_ASSIGNMENT_API_KEY", key);
    command
}

async fn prints(database: &TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let output = finish(changes(&server, &key, "")).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = stdout(&output);
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    let told: Vec<_> = lines.iter().map(|line| (line[0], line[2], line[3])).collect();
    let expected = [
        ("1", "import", "3 device(s) created"),
        ("2", "assign", "2 assigned, 1 customer(s) created"),
        ("3", "assign", "2 assigned, 1 customer(s) created, 1 device(s) created"),
        ("4", "unassign", "1 unassigned"),
    ];
    assert_eq!(told, expected);
    let output = finish(changes(&server, &key, "--json --names --after 2")).await;
    let lines: Vec<Value> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["customers"][0]["email"], BOB);
    let output = finish(changes(&server, &key, "--after 4")).await;
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("", Some(0)));
    server.stop().await;
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = lines.next_line().await.expect("a line").expect("no end");
    serde_json::from_str(&line).expect("JSON")
}

async fn restarts(database: &TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let mut command = changes(&server, &key, "--follow --json --after 3");
    let mut program = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("a program");
    let mut lines = BufReader::new(program.stdout.take().expect("stdout")).lines();
    assert_eq!(next(&mut lines).await["revision"], "4");
    server.client(Api::Grpc, &key).assign(BOB, &["SN-3"]).await.ok();
    assert_eq!(next(&mut lines).await["revision"], "5");
    // The same address, later: it goes on where it was.
    let address = server.grpc;
    server.stop().await;
    let server = TestServer::start_at(database, address).await;
    server.client(Api::Grpc, &key).unassign(BOB, &["SN-3"]).await.ok();
    assert_eq!(next(&mut lines).await["revision"], "6");
    program.kill().await.expect("stopped");
    server.stop().await;
}

async fn mistakes(database: &TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    for (key, arguments, problem) in [
        (
            key.as_str(),
            "--after 9",
            "INVALID_ARGUMENT: The organization's current revision is 4",
        ),
        (
            &key,
            "--history hist_x",
            "are no longer available; the copy has to be filled again",
        ),
        ("tlm_x", "", "UNAUTHENTICATED: Invalid API key"),
        (&key, "--server http://127.0.0.1:1", "http://127.0.0.1:1: "),
    ] {
        let output = finish(changes(&server, key, arguments)).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(stderr(&output).contains(problem), "{}", stderr(&output));
    }
    server.stop().await;
}

async fn cache(database: &TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let target = Target {
        url: format!("http://{}", server.grpc),
        ca: None,
        key: key.clone(),
    };
    let cache = OwnershipCache::start(&target).expect("a cache");
    cache.filled().await.expect("filled");
    let count = |identifier: &str| cache.owners(identifier).map(|owners| owners.len());
    for (identifier, owners) in [
        ("SN-1", Some(1)),
        ("SN-2", Some(1)),
        ("SN-3", Some(0)),
        ("SN-4", Some(1)),
        ("SN-9", None),
    ] {
        assert_eq!(count(identifier), owners, "{identifier}");
    }
    assert_eq!(cache.devices(), 4);
    let freshness = cache.freshness();
    assert!(freshness.is_filled && freshness.age.is_some());
    assert_eq!(freshness.position.revision, 4);
    let at = async |revision: u64, history: Option<&str>| {
        let is_there = |position: &Position| {
            position.revision >= revision && history.is_none_or(|history| position.history == history)
        };
        while !is_there(&cache.freshness().position) {
            tokio::task::yield_now().await;
        }
    };
    let client = server.client(Api::Grpc, &key);
    let answer = client.assign(ANN, &["SN-3"]).await.ok();
    at(5, None).await;
    let owners = cache.owners("SN-3").expect("a device");
    assert_eq!(*owners[0], *answer.body["customerId"].as_str().expect("an id"));
    // It goes on with another instance at the same address, and begins again with another history.
    let address = server.grpc;
    server.stop().await;
    let opened = database.open().await;
    let history = begin_history(&opened).await.expect("a history").to_string();
    opened.close().await;
    let server = TestServer::start_at(database, address).await;
    server.client(Api::Grpc, &key).unassign(ANN, &["SN-3"]).await.ok();
    at(6, Some(&history)).await;
    assert_eq!(count("SN-3"), Some(0));
    assert_eq!(cache.devices(), 4);
    drop(cache);
    server.stop().await;
}
