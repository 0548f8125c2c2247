//! Traces: one tree from the caller's span down to each statement, nothing if traces are off, and no effect on calls if they
//! cannot be sent.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command};
use tonic::metadata::MetadataValue;

use crate::{
    metrics::Metrics,
    support::{
        Answer, Api, Client, Collector, Kind, PATH, Program, Suite, TestDatabase,
        collector::{Collected, hex, tree},
        load::eventually,
        organization,
        program::{command, run, sentence},
    },
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

pub fn register(suite: &mut Suite) {
    suite.on_each("traces::one_tree_over_grpc", over_grpc);
    suite.on_each("traces::one_tree_over_rest", over_rest);
    suite.on_each("traces::one_tree_through_a_gateway", through_gateway);
    suite.on(Kind::Sqlite, "traces::the_last_are_sent_at_the_end", flush);
    suite.on_each("traces::without_a_caller_begin_here", roots);
    suite.on_each("traces::what_is_not_sampled_is_not_sent", unsampled);
    suite.on_each("traces::failures_are_marked", failures);
    suite.on(Kind::Postgres, "traces::a_batch_names_all_its_calls", batches);
    suite.on(Kind::Sqlite, "traces::are_off_by_default", unwanted);
    suite.on(
        Kind::Sqlite,
        "traces::a_collector_that_is_down_changes_no_call",
        collector_down,
    );
    suite.on(
        Kind::Sqlite,
        "traces::a_collector_that_is_silent_changes_no_call",
        collector_silent,
    );
    suite.test("traces::mistakes_of_usage", usage);
}

/// `serve` with traces that are sent at once.
async fn serve(database: &TestDatabase, endpoint: &str) -> Program {
    let serve = command(&["serve", "--database-url", database.url(), "--log-format", "json"]);
    Program::spawn(traced(serve, endpoint)).await
}

fn traced(mut command: Command, endpoint: &str) -> Command {
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_BSP_SCHEDULE_DELAY", "50");
    command
}

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// Creates one device for one customer, in the trace of a caller.
async fn create(client: &Client, name: &str, traceparent: &str) -> Answer {
    let body = json!({
        "customerEmail": format!("{name}@example.com"),
        "deviceIdentifiers": [format!("SN-{name}")],
        "autoCreateDevices": true,
        "deviceType": "sensor",
    });
    if client.api == Api::Grpc {
        let mut request = tonic::Request::new(serde_json::from_value(body).expect("a message"));
        client.sign(request.metadata_mut());
        let traceparent = MetadataValue::try_from(traceparent).expect("metadata");
        request.metadata_mut().insert("traceparent", traceparent);
        return client.send_grpc(request).await;
    }
    let request = client.request(reqwest::Method::POST, PATH);
    let request = request.header("content-type", "application/json");
    client
        .send(request.header("traceparent", traceparent).body(body.to_string()))
        .await
}

/// The lines of a JSON log with this message.
fn lines(log: &str, message: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

/// The tree of a call that creates something, below its gateway if there is one. On PostgreSQL, it is read again under the lock of
/// the organization.
fn call_tree(kind: Kind) -> String {
    let again = match kind {
        Kind::Postgres => {
            "    device-assignment: SELECT pg_advisory_xact_lock
    device-assignment: SELECT customer device device_assignment
"
        }
        Kind::Sqlite => "",
    };
    format!("{BEFORE}{again}{AFTER}")
}

fn span_count(kind: Kind) -> usize {
    call_tree(kind).lines().count()
}

const BEFORE: &str = "\
device-assignment: telemetron.device_assignment.v1.DeviceAssignmentService/AssignDevicesToOwner
  device-assignment: SELECT api_key
  device-assignment: queue
  device-assignment: batch
    device-assignment: SELECT customer device device_assignment
    device-assignment: BEGIN
";
const AFTER: &str = "    device-assignment: INSERT change_log
    device-assignment: INSERT customer
    device-assignment: INSERT device
    device-assignment: INSERT device_assignment
    device-assignment: COMMIT
";

/// The check of the key that a gateway makes before it reads a body. The call then finds the key in memory.
const CHECK: &str = "\
device-assignment: telemetron.device_assignment.v1.OrganizationService/CheckCredentials
  device-assignment: SELECT api_key
";

fn below(gateway: &str, kind: Kind) -> String {
    let request = format!("{gateway}: POST {PATH}\n");
    let call = call_tree(kind);
    let call = call.lines().filter(|line| !line.ends_with("SELECT api_key"));
    CHECK
        .lines()
        .chain(call)
        .fold(request, |tree, line| format!("{tree}  {line}\n"))
}

async fn over_grpc(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let collector = Collector::start().await;
    let program = serve(database, &collector.endpoint()).await;
    create(&program.client(Api::Grpc, &key), "one", &traceparent("01"))
        .await
        .ok();
    collector
        .until(|all| all.trace(TRACE).len() >= span_count(database.kind))
        .await;
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    let spans = collector.trace(TRACE);
    assert_eq!(tree(&spans, CALLER), call_tree(database.kind));
    assert_eq!(spans.len(), span_count(database.kind));
    assert_eq!(lines(&log, "call")[0]["trace_id"], TRACE);
    check_attributes(&spans, database.kind);
}

/// Names and values that OpenTelemetry's conventions give.
fn check_attributes(spans: &[Collected], kind: Kind) {
    let named = |name: &str| {
        let found = spans.iter().find(|collected| collected.span.name.ends_with(name));
        found.unwrap_or_else(|| panic!("no {name}"))
    };
    let call = named("/AssignDevicesToOwner");
    assert_eq!(call.get("rpc.system.name").as_deref(), Some("grpc"));
    assert_eq!(call.get("rpc.method").as_deref(), Some(call.span.name.as_str()));
    assert_eq!(call.get("rpc.response.status_code").as_deref(), Some("OK"));
    assert_eq!(call.span.kind, 2, "a server's");
    let insert = named("INSERT device_assignment");
    let system = match kind {
        Kind::Sqlite => "sqlite",
        Kind::Postgres => "postgresql",
    };
    assert_eq!(insert.get("db.system.name").as_deref(), Some(system));
    assert_eq!(insert.get("db.operation.name").as_deref(), Some("INSERT"));
    assert_eq!(
        insert.get("db.query.summary").as_deref(),
        Some("INSERT device_assignment")
    );
    assert_eq!(insert.span.kind, 3, "a client's");
    let batch = named("batch");
    assert_eq!(batch.get("device_assignment.batch.calls").as_deref(), Some("1"));
    assert_eq!(batch.get("device_assignment.batch.devices").as_deref(), Some("1"));
    let known = ["rpc.", "http.", "db.", "device_assignment."];
    for collected in spans {
        let strange = collected.span.attributes.iter().find(|attribute| {
            let is_known = known.iter().any(|prefix| attribute.key.starts_with(prefix));
            !is_known
        });
        assert_eq!(strange, None);
        assert!(collected.span.end_time_unix_nano >= collected.span.start_time_unix_nano);
        assert!(!collected.failed(), "{collected:?}");
        assert!(collected.span.events.is_empty(), "{collected:?}");
    }
}

async fn flush(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let collector = Collector::start().await;
    let serve = command(&["serve", "--database-url", database.url()]);
    let mut serve = traced(serve, &collector.endpoint());
    serve.env("OTEL_BSP_SCHEDULE_DELAY", "3600000");
    let program = Program::spawn(serve).await;
    create(&program.client(Api::Grpc, &key), "one", &traceparent("01"))
        .await
        .ok();
    assert_eq!(collector.spans().len(), 0);
    program.terminate().await;
    assert_eq!(collector.trace(TRACE).len(), span_count(database.kind));
}

async fn over_rest(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let collector = Collector::start().await;
    let program = serve(database, &collector.endpoint()).await;
    create(&program.client(Api::Rest, &key), "one", &traceparent("01"))
        .await
        .ok();
    collector
        .until(|all| all.trace(TRACE).len() > span_count(database.kind) + 1)
        .await;
    let (_, log) = program.terminate().await;
    let spans = collector.trace(TRACE);
    assert_eq!(tree(&spans, CALLER), below("device-assignment", database.kind));
    assert_eq!(spans.len(), span_count(database.kind) + 2);
    assert_eq!(lines(&log, "call")[0]["trace_id"], TRACE);
    check_attributes(&spans, database.kind);
    let request = spans.iter().find(|collected| collected.span.name.starts_with("POST"));
    let request = request.expect("a request");
    assert_eq!(request.get("http.request.method").as_deref(), Some("POST"));
    assert_eq!(request.get("http.route").as_deref(), Some(PATH));
    assert_eq!(request.get("http.response.status_code").as_deref(), Some("200"));
}

async fn through_gateway(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let collector = Collector::start().await;
    let service = serve(database, &collector.endpoint()).await;
    let gateway = traced(command(&["gateway", "--log-format", "json"]), &collector.endpoint());
    let gateway = Program::gateway(gateway, service.grpc).await;
    create(&gateway.client(Api::Rest, &key), "one", &traceparent("01"))
        .await
        .ok();
    collector
        .until(|all| all.trace(TRACE).len() > span_count(database.kind) + 1)
        .await;
    let (_, log_of_gateway) = gateway.terminate().await;
    let (_, log) = service.terminate().await;
    let spans = collector.trace(TRACE);
    assert_eq!(tree(&spans, CALLER), below("device-assignment-gateway", database.kind));
    assert_eq!(spans.len(), span_count(database.kind) + 2);
    assert_eq!(lines(&log, "call")[0]["trace_id"], TRACE);
    assert_eq!(lines(&log_of_gateway, "request")[0]["trace_id"], TRACE);
}

async fn roots(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let collector = Collector::start().await;
    let program = serve(database, &collector.endpoint()).await;
    for api in [Api::Grpc, Api::Rest] {
        let malformed = format!("00-{TRACE}-{CALLER}-01-canary");
        create(&program.client(api, &key), api.name(), &malformed).await.ok();
    }
    collector
        .until(|all| all.spans().len() >= 2 * span_count(database.kind))
        .await;
    let (_, log) = program.terminate().await;
    assert_eq!(collector.trace(TRACE).len(), 0);
    let lines = lines(&log, "call");
    assert_eq!(lines.len(), 2);
    for (line, first) in lines.iter().zip(["telemetron.", "POST "]) {
        let id = line["trace_id"].as_str().expect("a trace");
        let spans = collector.trace(id);
        assert!(spans.len() >= span_count(database.kind) - 1, "{spans:?}");
        let top: Vec<_> = spans
            .iter()
            .filter(|collected| collected.span.parent_span_id.is_empty())
            .collect();
        assert_eq!(top.len(), 1, "{top:?}");
        assert!(top[0].span.name.starts_with(first), "{top:?}");
    }
}

async fn unsampled(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let collector = Collector::start().await;
    let mut serve = command(&["serve", "--database-url", database.url(), "--log-format", "json"]);
    // No trace begins here.
    serve.args(["--trace-sample-ratio", "0"]);
    let program = Program::spawn(traced(serve, &collector.endpoint())).await;
    for api in [Api::Grpc, Api::Rest] {
        let client = program.client(api, &key);
        create(&client, api.name(), &traceparent("00")).await.ok();
        client.create("owner@example.com", &["SN-1"]).await.ok();
    }
    // This one is sampled. Earlier spans would have arrived with it.
    let wanted = traceparent("01").replace(TRACE, &"9".repeat(32));
    create(&program.client(Api::Grpc, &key), "wanted", &wanted).await.ok();
    let id = "9".repeat(32);
    collector
        .until(|all| all.trace(&id).len() >= span_count(database.kind) - 1)
        .await;
    let (_, log) = program.terminate().await;
    assert_eq!(collector.trace(&"9".repeat(32)).len(), collector.spans().len());
    assert!(collector.spans().len() >= span_count(database.kind) - 1);
    let ids: Vec<_> = lines(&log, "call")
        .iter()
        .map(|line| line["trace_id"].clone())
        .collect();
    assert_eq!([&ids[0], &ids[2]], [TRACE, TRACE]);
}

async fn failures(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let collector = Collector::start().await;
    let program = serve(database, &collector.endpoint()).await;
    let client = program.client(Api::Rest, &key);
    create(&client, "warm", &traceparent("00")).await.ok();
    let outside = database.connect().await;
    outside
        .execute_unprepared("ALTER TABLE device_assignment RENAME TO elsewhere")
        .await
        .expect("renamed");
    assert_eq!(create(&client, "one", &traceparent("01")).await.code, "INTERNAL");
    assert_eq!(
        create(
            &client.with_key(None),
            "one",
            &traceparent("01").replace(CALLER, &"8".repeat(16))
        )
        .await
        .code,
        "UNAUTHENTICATED"
    );
    let requests = |all: &Collector| {
        let spans = all.trace(TRACE);
        spans
            .iter()
            .filter(|collected| collected.span.name.starts_with("POST"))
            .count()
    };
    collector.until(|all| requests(all) == 2).await;
    program.terminate().await;
    outside
        .execute_unprepared("ALTER TABLE elsewhere RENAME TO device_assignment")
        .await
        .expect("renamed");
    outside.close().await.expect("closed");
    let spans = collector.trace(TRACE);
    let failed: Vec<&str> = spans
        .iter()
        .filter(|collected| collected.failed())
        .map(|collected| collected.span.name.rsplit(['/', '.']).next().expect("a name"))
        .collect();
    // The statement may run more than once. A rejected call is not a fault of the service.
    for name in [
        "SELECT customer device device_assignment",
        "batch",
        "AssignDevicesToOwner",
        "assignDevicesToOwner",
    ] {
        assert!(failed.contains(&name), "{failed:?}");
    }
    let refused = spans
        .iter()
        .find(|collected| hex(&collected.span.parent_span_id) == "8".repeat(16));
    let refused = refused.expect("a refused request");
    assert_eq!(refused.get("http.response.status_code").as_deref(), Some("401"));
    assert!(!refused.failed());
    let said = format!("{spans:?}");
    for word in [
        "elsewhere",
        "relation",
        "no such table",
        "example.com",
        "SN-",
        key.as_str(),
    ] {
        assert!(!said.contains(word), "{word}: {said}");
    }
}

/// Calls that wait share the next batch: its span is below the first traced call, with links to the others.
async fn batches(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let collector = Collector::start().await;
    let program = serve(database, &collector.endpoint()).await;
    let client = program.client(Api::Grpc, &key);
    create(&client, "warm", &traceparent("00")).await.ok();
    let outside = database.connect().await;
    let blocker = outside.begin().await.expect("begun");
    let lock = "LOCK TABLE customer IN ACCESS EXCLUSIVE MODE";
    blocker.execute_unprepared(lock).await.expect("locked");

    let id = |digit: &str| digit.repeat(32);
    let mut calls = Vec::new();
    for (waiting, (name, digit, flags)) in [("a", "a", "00"), ("b", "b", "00"), ("c", "c", "01"), ("d", "d", "01")]
        .into_iter()
        .enumerate()
    {
        let client = client.clone();
        let traceparent = traceparent(flags).replace(TRACE, &id(digit));
        calls.push(tokio::spawn(
            async move { create(&client, name, &traceparent).await.ok() },
        ));
        if waiting == 0 {
            let locks = "SELECT count(*) FROM pg_locks WHERE NOT granted";
            eventually(
                "the first call waits for the lock",
                Duration::from_secs(10),
                async || database.number(locks).await > 0,
            )
            .await;
        } else {
            eventually("the call waits in the queue", Duration::from_secs(10), async || {
                let metrics = Metrics::of(program.admin).await;
                metrics.get("device_assignment_queue_calls{queue=\"small\"}") == waiting as f64
            })
            .await;
        }
    }
    drop(blocker);
    for call in calls {
        call.await.expect("a call");
    }
    outside.close().await.expect("closed");
    collector
        .until(|all| all.trace(&id("c")).len() >= span_count(database.kind) - 1 && all.trace(&id("d")).len() >= 2)
        .await;
    program.terminate().await;

    assert_eq!(collector.trace(&id("a")).len() + collector.trace(&id("b")).len(), 0);
    let batch = collector
        .trace(&id("c"))
        .into_iter()
        .find(|collected| collected.span.name == "batch");
    let batch = batch.expect("a batch");
    assert_eq!(batch.get("device_assignment.batch.calls").as_deref(), Some("3"));
    let links: Vec<_> = batch.span.links.iter().map(|link| hex(&link.trace_id)).collect();
    assert_eq!(links, [id("d")]);
    let other = tree(&collector.trace(&id("d")), CALLER);
    assert!(other.contains("queue") && !other.contains("batch"), "{other}");
}

/// The caller's trace id is still in the log, and goes on to the service.
async fn unwanted(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let service = Program::spawn(command(&[
        "serve",
        "--database-url",
        database.url(),
        "--log-format=json",
    ]))
    .await;
    let gateway = Program::gateway(command(&["gateway", "--log-format=json"]), service.grpc).await;
    for program in [&service, &gateway] {
        create(&program.client(Api::Rest, &key), "one", &traceparent("01"))
            .await
            .ok();
        program
            .client(Api::Rest, &key)
            .assign("one@example.com", &["SN-one"])
            .await
            .ok();
    }
    let (_, log_of_gateway) = gateway.terminate().await;
    let (_, log) = service.terminate().await;
    for (log, message, count) in [(log, "call", 4), (log_of_gateway, "request", 2)] {
        let lines = lines(&log, message);
        assert_eq!(lines.len(), count, "{log}");
        for pair in lines.chunks(2) {
            assert_eq!(pair[0]["trace_id"], TRACE, "{log}");
            assert_eq!(pair[1].get("trace_id"), None, "{log}");
        }
    }
}

async fn collector_down(database: &'static TestDatabase) {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nobody = free.local_addr().expect("an address");
    drop(free);
    harms_nobody(database, nobody).await;
}

/// It accepts connections, and never responds.
async fn collector_silent(database: &'static TestDatabase) {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    let hold = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok(connection) = silent.accept().await {
            held.push(connection);
        }
    });
    harms_nobody(database, address).await;
    hold.abort();
}

async fn harms_nobody(database: &'static TestDatabase, collector: SocketAddr) {
    let key = organization(database, "acme").await;
    let program = serve(database, &format!("http://{collector}")).await;
    let client = program.client(Api::Grpc, &key);
    for number in 0..300 {
        create(&client, &format!("{number}"), &traceparent("01")).await.ok();
    }
    let start = Instant::now();
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(log.lines().filter(|line| line.contains("traces")).count() <= 2, "{log}");
    assert!(
        log.contains("traces could not be sent") || log.contains("traces cannot be sent"),
        "{log}"
    );
}

async fn usage() {
    for (arguments, setting) in [
        (["--otlp-endpoint=localhost:4317"], "--otlp-endpoint"),
        (["--otlp-endpoint=https://collector:4317"], "--otlp-endpoint"),
        (["--otlp-endpoint=http://"], "--otlp-endpoint"),
        (["--trace-sample-ratio=2"], "--trace-sample-ratio"),
        (["--trace-sample-ratio=many"], "--trace-sample-ratio"),
    ] {
        for subcommand in [["serve"].as_slice(), &["gateway", "--upstream=http://127.0.0.1:1"]] {
            let output = run(&[subcommand, &arguments].concat()).await;
            let said = crate::support::program::refused(&output, 2);
            assert!(said.contains(setting), "{said}");
        }
    }
    let output = run(&["serve", "--otlp-endpoint=http://[", "--admin-addr=off"]).await;
    let said = sentence(&output, 2);
    assert!(
        said.contains("--otlp-endpoint (OTEL_EXPORTER_OTLP_ENDPOINT): "),
        "{said}"
    );
}
