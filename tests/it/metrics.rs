//! The metrics for Prometheus: they are exactly those documented, their values are right, and they hold no data of callers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    process::Stdio,
};

use device_assignment::pb::{AssignDevicesToOwnerRequest, AssignDevicesToOwnerResponse};
use serde_json::json;
use tokio::{io::AsyncWriteExt, process::Command};
use tonic::Code;

use crate::changes::follower::{Event, Follower, From};
use crate::reads::{Read, read};
use crate::support::{
    Api, Client, Kind, PATH, Program, Suite, TestDatabase, TestServer, organization, program::command,
};

/// The documented metrics.
const DOCUMENT: &str = include_str!("../../docs/METRICS.md");

pub fn register(suite: &mut Suite) {
    suite.on_each("metrics::all_documented_metrics_exist_and_no_others", documented);
    suite.on_each("metrics::values_are_right", metrics);
    suite.on_each("metrics::more_callers_make_no_more_series", cardinality);
    suite.on_each("metrics::a_gateway_has_its_own", gateway);
    suite.on(Kind::Sqlite, "metrics::a_library_has_none", library);
}

/// The response of `/metrics`, by series.
#[derive(Debug)]
pub struct Metrics {
    pub text: String,
    series: BTreeMap<String, f64>,
}

impl Metrics {
    pub async fn of(admin: SocketAddr) -> Self {
        let answer = reqwest::get(format!("http://{admin}/metrics"))
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer.headers()["content-type"],
            "text/plain; version=0.0.4; charset=utf-8"
        );
        let text = answer.text().await.expect("text");
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let series = lines.map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            (series.to_owned(), value.parse().expect("a number"))
        });
        let series = series.collect();
        Self { text, series }
    }

    /// The value of a series; 0 if it does not exist yet.
    pub fn get(&self, series: &str) -> f64 {
        self.series.get(series).copied().unwrap_or_default()
    }

    /// The name and the type of every metric.
    fn types(&self) -> BTreeMap<&str, &str> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(|line| line.split_once(' ').expect("a type")).collect()
    }
}

/// The names and types in the document's tables.
fn promised() -> BTreeMap<&'static str, &'static str> {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').map(str::trim));
    let named = cells.map(|mut cells| {
        (
            cells.nth(1).expect("a name").trim_matches('`'),
            cells.next().expect("a type"),
        )
    });
    named.collect()
}

/// Some of every kind of call.
async fn make_calls(program: &Program, key: &str) {
    for api in [Api::Grpc, Api::Rest] {
        let client = program.client(api, key);
        let [one, two] = ["1", "2"].map(|number| format!("SN-{}-{number}", api.name()));
        client.create("owner@example.com", &[&one, &two]).await.ok();
        client.assign("owner@example.com", &[&one, "unknown"]).await.ok();
        assert_eq!(client.assign("x", &[]).await.code, "INVALID_ARGUMENT");
        assert_eq!(client.with_key(None).assign("x", &[]).await.code, "UNAUTHENTICATED");
    }
}

/// A call that is repeated with its idempotency key, and one that reads.
async fn repeat_and_read(program: &Program, key: &str) {
    let client = program.client(Api::Grpc, key);
    let keyed = client.with_header("idempotency-key", "a key");
    for _ in 0..2 {
        keyed.create("owner@example.com", &["SN-repeated"]).await.ok();
    }
    let request = json!({ "deviceIdentifiers": ["SN-repeated"] });
    read(&client, Read::BatchGetDeviceOwners, &request).await.ok();
}

/// A stream that tells a change, and one that ends at once.
async fn follow(program: &Program, key: &str) {
    let client = program.client(Api::Grpc, key);
    let mut follower = Follower::start(&client, &From::default()).await.expect("a stream");
    loop {
        if let Event::Heartbeat(_) = follower.next().await.expect("an event") {
            break;
        }
    }
    client.create("owner@example.com", &["SN-followed"]).await.ok();
    follower.change().await;
    Follower::start(&client, &From::after(u64::MAX))
        .await
        .err()
        .expect("a rejection");
}

async fn documented(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let mut serve = command(&["serve", "--database-url", database.url()]);
    let mut promised = promised();
    match database.kind {
        // Its own standby.
        Kind::Postgres => {
            serve.args(["--read-database-url", database.url()]);
        }
        Kind::Sqlite => promised.retain(|name, _| !name.starts_with("device_assignment_replica_")),
    }
    // `tls::reload` looks at it.
    promised.remove("device_assignment_tls_certificate_expiry_timestamp_seconds");
    let program = Program::spawn(serve).await;
    make_calls(&program, &key).await;
    repeat_and_read(&program, &key).await;
    follow(&program, &key).await;
    let metrics = Metrics::of(program.admin).await;
    assert_eq!(metrics.types(), promised);
    for name in metrics.types().into_keys() {
        assert!(metrics.text.contains(&format!("# HELP {name} ")), "{name} has no help");
    }
    check_labels(&metrics);
    check_format(&metrics).await;
    program.terminate().await;
}

/// Every label, and every label value, is in the row of its metric in the document.
fn check_labels(metrics: &Metrics) {
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in DOCUMENT.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').collect();
        let words = cells[3].split('`').skip(1).step_by(2);
        labels.insert(cells[1].trim().trim_matches('`'), words.collect());
    }
    let types = metrics.types();
    for series in metrics.series.keys() {
        let Some((name, pairs)) = series.strip_suffix('}').and_then(|series| series.split_once('{')) else {
            continue;
        };
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
            let base = name.strip_suffix(suffix)?;
            types.get(base).is_some_and(|kind| *kind == "histogram").then_some(base)
        });
        for pair in pairs.split(',') {
            let (label, _) = pair.split_once('=').expect("a label");
            let is_known = label == "le" || labels[base.unwrap_or(name)].contains(label);
            assert!(is_known, "{series}");
        }
    }
}

/// Checks the text with Prometheus' own tool, if it is installed.
async fn check_format(metrics: &Metrics) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join("promtool").is_file()) {
        return;
    }
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    let mut stdin = check.stdin.take().expect("a pipe");
    stdin.write_all(metrics.text.as_bytes()).await.expect("written");
    drop(stdin);
    let output = check.wait_with_output().await.expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &*String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}

async fn metrics(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let program = Program::serve(database.url()).await;
    make_calls(&program, &key).await;
    let metrics = Metrics::of(program.admin).await;

    let calls_of = |method: &str, code: &str| {
        metrics.get(&format!(
            "rpc_server_call_duration_seconds_count{{rpc_method=\"telemetron.device_assignment.v1.{method}\",\
             rpc_response_status_code=\"{code}\"}}"
        ))
    };
    let calls = |code: &str| calls_of("DeviceAssignmentService/AssignDevicesToOwner", code);
    assert_eq!(
        [calls("OK"), calls("INVALID_ARGUMENT"), calls("UNAUTHENTICATED")],
        [4.0, 2.0, 1.0],
        "{}",
        metrics.text
    );
    // The gateway checks the key before it reads a body.
    let checks = |code: &str| calls_of("OrganizationService/CheckCredentials", code);
    assert_eq!(checks("UNAUTHENTICATED"), 1.0, "{}", metrics.text);
    assert!(checks("OK") >= 1.0, "{}", metrics.text);
    let requests = |status: &str| {
        metrics.get(&format!(
            "http_server_request_duration_seconds_count{{http_route=\"{}\",http_response_status_code=\"{status}\"}}",
            PATH
        ))
    };
    assert_eq!([requests("200"), requests("400"), requests("401")], [2.0, 1.0, 1.0]);
    for (series, expected) in [
        ("devices_total{outcome=\"assigned\"}", 4.0),
        ("devices_total{outcome=\"already_assigned\"}", 2.0),
        ("devices_total{outcome=\"skipped\"}", 2.0),
        ("devices_created_total", 4.0),
        ("customers_created_total", 1.0),
        ("refusals_total{reason=\"INVALID_REQUEST\"}", 2.0),
        ("refusals_total{reason=\"MISSING_API_KEY\"}", 2.0),
        ("queue_calls{queue=\"small\"}", 0.0),
        ("queue_devices{queue=\"small\"}", 0.0),
        ("queue_wait_seconds_count{queue=\"small\"}", 4.0),
        ("batch_calls_sum", 4.0),
        ("batch_calls_count", 4.0),
        ("batch_devices_sum", 8.0),
        ("batch_duration_seconds_count{outcome=\"committed\"}", 4.0),
        ("batch_duration_seconds_count{outcome=\"failed\"}", 0.0),
        ("statements_total{kind=\"insert_changes\"}", 2.0),
        ("statements_total{kind=\"insert_customers\"}", 1.0),
        ("statements_total{kind=\"insert_devices\"}", 2.0),
        ("statements_total{kind=\"insert_assignments\"}", 2.0),
        ("statements_total{kind=\"begin\"}", 2.0),
        ("statements_total{kind=\"commit\"}", 2.0),
        ("connections{face=\"admin\"}", 1.0),
        ("connections_total{face=\"grpc\"}", 1.0),
    ] {
        assert_eq!(
            metrics.get(&format!("device_assignment_{series}")),
            expected,
            "{series}"
        );
    }
    // On PostgreSQL, one statement reads and assigns; what has to be created is read again under the lock of the organization.
    let reads = |kind: &str| metrics.get(&format!("device_assignment_statements_total{{kind=\"{kind}\"}}"));
    let expected = match database.kind {
        Kind::Postgres => [4.0, 2.0, 2.0],
        Kind::Sqlite => [0.0, 4.0, 0.0],
    };
    assert_eq!(["find_and_assign", "find", "lock_organization"].map(reads), expected);
    // On a busy machine a key may be forgotten in between and looked up again.
    let lookups = |result: &str| metrics.get(&format!("device_assignment_key_lookups_total{{result=\"{result}\"}}"));
    assert_eq!(lookups("hit") + lookups("miss"), 6.0 + checks("OK"), "{}", metrics.text);
    assert_eq!(
        lookups("miss"),
        metrics.get("device_assignment_statements_total{kind=\"find_api_key\"}")
    );
    let version = format!(
        "device_assignment_build_info{{version=\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(metrics.get(&version), 1.0);
    program.terminate().await;
}

/// How many different values callers send.
const WORDS: usize = 10_000;
const SMALL_CALLS: usize = 4_000;
const AT_ONCE: usize = 200;

async fn cardinality(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let program = Program::serve(database.url()).await;
    make_calls(&program, &key).await;
    let client = program.client(Api::Grpc, &key);
    ask_for_nothing(&program, &client, 0).await;
    let before = Metrics::of(program.admin).await;

    // Large calls with different identifiers, then small ones with different customers.
    for call in 0..4 {
        let many: Vec<String> = (0..WORDS / 4)
            .map(|number| format!("SN-many-{call}-{number}"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        client.create(&format!("many-{call}@example.com"), &many).await.ok();
    }
    for first in (0..SMALL_CALLS).step_by(AT_ONCE) {
        let calls = (first..first + AT_ONCE).map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let email = format!("owner-{number}@example.com");
                client
                    .assign(&email, &[&format!("SN-many-0-{}", number % 1_000)])
                    .await
                    .ok();
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.expect("a call");
        }
    }
    for number in 0..50 {
        ask_for_nothing(&program, &client, number).await;
    }
    let after = Metrics::of(program.admin).await;
    assert_eq!(
        after.series.keys().collect::<Vec<_>>(),
        before.series.keys().collect::<Vec<_>>()
    );
    program.terminate().await;
}

/// Calls unknown methods and routes over gRPC and REST.
async fn ask_for_nothing(program: &Program, client: &Client, number: usize) {
    let made_up = format!("http://{}/made-up-{number}", program.rest);
    assert_eq!(reqwest::get(made_up).await.expect("an answer").status(), 404);
    let mut request = tonic::Request::new(AssignDevicesToOwnerRequest::default());
    client.sign(request.metadata_mut());
    let mut grpc = tonic::client::Grpc::new(client.channel());
    grpc.ready().await.expect("a connection");
    let path = format!("/made.up.Service{number}/Method").parse().expect("a path");
    let codec = tonic_prost::ProstCodec::<_, AssignDevicesToOwnerResponse>::default();
    let answer = grpc.unary(request, path, codec).await;
    assert_eq!(answer.expect_err("no such method").code(), Code::Unimplemented);
}

async fn gateway(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let service = Program::serve(database.url()).await;
    let gateway = Program::gateway(command(&["gateway"]), service.grpc).await;
    let client = gateway.client(Api::Rest, &key);
    client.create("owner@example.com", &["SN-1"]).await.ok();
    let metrics = Metrics::of(gateway.admin).await;
    let requests = format!(
        "http_server_request_duration_seconds_count{{http_route=\"{PATH}\",http_response_status_code=\"200\"}}"
    );
    assert_eq!(metrics.get(&requests), 1.0, "{}", metrics.text);
    assert_eq!(metrics.get("device_assignment_connections_total{face=\"rest\"}"), 1.0);
    // It has no metrics of a service, not even zeros.
    let names = metrics.types();
    let of_service = ["queue", "batch", "database", "pool", "devices"].map(|part| format!("device_assignment_{part}"));
    let strange = names
        .keys()
        .find(|name| of_service.iter().any(|part| name.starts_with(part)));
    assert_eq!(strange, None);
    let promised = promised();
    assert!(
        names.iter().all(|(name, kind)| promised.get(name) == Some(kind)),
        "{names:?}"
    );
    check_format(&metrics).await;
    gateway.terminate().await;
    service.terminate().await;
}

/// A server without a recorder, as in another program, has no metrics.
async fn library(database: &'static TestDatabase) {
    let server = TestServer::start(database).await;
    let answer = reqwest::get(format!("http://{}/metrics", server.admin)).await;
    assert_eq!(answer.expect("an answer").status(), 404);
    server.stop().await;
}
