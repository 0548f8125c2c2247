//! The log under a flood of calls without a known caller: few lines about them, a count of the rest, and every line about
//! everybody else.

use std::time::{Duration, Instant};

use device_assignment::{code::code_name, domain::api_key::ApiKeySecret};
use futures_util::future::join_all;
use serde_json::Value;
use tonic::{Request, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use crate::{
    metrics::Metrics,
    support::{
        Api, Client, INVALID_KEY, PATH, Program, Suite, TestDatabase, load::eventually, organization, program::command,
    },
};

/// What the log takes of one address in a second, and at once.
const LINES: f64 = 10.0;
/// How often the log says at most what it left out.
const SUMMARY_EVERY: f64 = 5.0;
const ATTACKERS: usize = 8;
const CALLS: usize = 250;
const INNOCENT_CALLS: usize = 100;

pub fn register(suite: &mut Suite) {
    suite.on_each("sampling::a_flood_of_strangers_leaves_few_lines", of_service);
    suite.on_each("sampling::a_gateway_keeps_its_log_short_too", of_gateway);
}

/// The lines of a log in JSON.
fn lines(log: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// How many lines were left out of the log, or of the audit log, and how often that was said.
fn left_out(lines: &[Value], is_audit: bool) -> (usize, usize) {
    let says = |line: &&Value| {
        if is_audit {
            line["target"] == "audit" && line["event"] == "lines.left_out"
        } else {
            line["message"] == "lines about unauthenticated calls were left out"
        }
    };
    let said = lines
        .iter()
        .filter(says)
        .map(|line| line["lines"].as_u64().expect("a count"));
    said.fold((0, 0), |(sum, count), lines| {
        (sum + usize::try_from(lines).expect("a count"), count + 1)
    })
}

/// That `told` lines and those left out are `expected` together, and `told` no more than may be in the time since `start`.
#[track_caller]
fn assert_sampled(told: usize, left_out: (usize, usize), expected: usize, start: Instant) {
    let (left_out, summaries) = left_out;
    let seconds = start.elapsed().as_secs_f64();
    println!("{expected} lines in {seconds:.1} s: {told} told, {left_out} left out in {summaries} summaries");
    assert_eq!(told + left_out, expected);
    let float = |count: usize| f64::from(u32::try_from(count).expect("a few"));
    assert!(float(told) <= LINES + LINES * seconds, "{told} lines in {seconds} s");
    // One more when the service stops.
    assert!(
        float(summaries) <= seconds / SUMMARY_EVERY + 1.0,
        "{summaries} in {seconds} s"
    );
}

/// Calls a method that does not exist.
async fn unknown_method(client: &Client) -> &'static str {
    let mut grpc = Grpc::new(client.channel());
    grpc.ready().await.expect("a connection");
    let path = PathAndQuery::from_static("/telemetron.device_assignment.v1.DeviceAssignmentService/Unknown");
    let answer = grpc
        .unary::<(), (), _>(Request::new(()), path, ProstCodec::default())
        .await;
    code_name(answer.expect_err("no such method").code())
}

/// Calls in every way that leaves the caller unknown. Returns how many keys turned out wrong.
async fn strange_calls(client: &Client, calls: usize) -> usize {
    let mut wrong = 0;
    for number in 0..calls {
        let unknown = ApiKeySecret::from_random(rand::random());
        let key = match number % 4 {
            0 => None,
            1 => Some("no key"),
            2 => Some(unknown.reveal()),
            _ if client.api == Api::Grpc => {
                assert_eq!(unknown_method(&client.with_key(None)).await, "UNIMPLEMENTED");
                continue;
            }
            _ => Some(""),
        };
        let answer = client.with_key(key).assign("john@example.com", &["SN-1"]).await;
        assert_eq!(answer.code, "UNAUTHENTICATED");
        wrong += usize::from(answer.error == INVALID_KEY);
    }
    wrong
}

/// Calls with a key, each with an id of its own.
async fn innocent_calls(program: &Program, client: &Client) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..INNOCENT_CALLS {
        let id = format!("innocent-{}-{number}", client.api.name());
        let client = client.with_header("x-request-id", &id);
        let answer = client.create("john@example.com", &["SN-1"]).await;
        if answer.code != "OK" {
            let log = lines(&program.logged());
            let warnings: Vec<&Value> = log.iter().filter(|line| line["level"] != "INFO").collect();
            panic!("{answer:?} {warnings:?}");
        }
        assert_eq!(answer.request_id, id);
        ids.push(id);
    }
    ids
}

async fn of_service(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    // Without a limit on wrong keys each one has a line in the audit log.
    let options = [
        "serve",
        "--log-format=json",
        "--failed-keys-per-second=0",
        "--database-url",
    ];
    let program = Program::spawn(command(&[options.as_slice(), &[database.url()]].concat())).await;
    let start = Instant::now();
    let [grpc, rest] = [Api::Grpc, Api::Rest].map(|api| program.client(api, &key));
    let attackers = [&grpc, &rest].into_iter().cycle().take(ATTACKERS);
    let attackers = join_all(attackers.map(|client| strange_calls(client, CALLS)));
    let (wrong, [by_grpc, by_rest]) = tokio::join!(attackers, async {
        let calls = tokio::join!(innocent_calls(&program, &grpc), innocent_calls(&program, &rest));
        calls.into()
    });
    // The flood is over, and its count is told.
    eventually("a summary", Duration::from_secs(60), async || {
        left_out(&lines(&program.logged()), false).1 > 0
    })
    .await;
    // And so is that of the last moments.
    let more = join_all((0..ATTACKERS).map(|_| strange_calls(&grpc, 8))).await;
    let wrong: usize = wrong.iter().chain(&more).sum();
    let strange = ATTACKERS * (CALLS + 8);

    let metrics = Metrics::of(program.admin).await;
    let counted: f64 = ["MISSING_API_KEY", "INVALID_API_KEY", "UNKNOWN_METHOD"]
        .map(|reason| metrics.get(&format!("device_assignment_refusals_total{{reason=\"{reason}\"}}")))
        .iter()
        .sum();
    assert_eq!(
        counted,
        f64::from(u32::try_from(strange).expect("a few")),
        "metrics count everything"
    );
    let (_, log) = program.terminate().await;
    let lines = lines(&log);
    let calls = lines.iter().filter(|line| line["message"] == "call");
    let (known, unknown): (Vec<_>, Vec<_>) = calls.partition(|line| line["organization"].is_string());
    assert_sampled(unknown.len(), left_out(&lines, false), strange, start);
    let refused = lines.iter().filter(|line| line["event"] == "api_key.refused");
    assert_sampled(refused.count(), left_out(&lines, true), wrong, start);

    let known: Vec<&str> = known.iter().filter_map(|line| line["request_id"].as_str()).collect();
    assert_eq!(known.len(), 2 * INNOCENT_CALLS);
    for id in by_grpc.iter().chain(&by_rest) {
        assert!(known.contains(&id.as_str()), "{id} has no line");
    }
}

async fn of_gateway(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let service = Program::serve(database.url()).await;
    let gateway = Program::gateway(command(&["gateway", "--log-format=json"]), service.grpc).await;
    let start = Instant::now();
    let client = gateway.client(Api::Rest, &key);
    let attackers = join_all((0..ATTACKERS).map(async |_| {
        for number in 0..CALLS {
            let without_key = client.with_key(None);
            let (request, status) = match number % 3 {
                0 => (without_key.request(reqwest::Method::POST, PATH).body("{}"), 401),
                1 => (without_key.request(reqwest::Method::GET, PATH), 405),
                _ => (client.request(reqwest::Method::GET, "/wp-login.php"), 404),
            };
            assert_eq!(request.send().await.expect("an answer").status(), status);
        }
    }));
    let (_, innocent) = tokio::join!(attackers, innocent_calls(&gateway, &client));
    let (_, log) = gateway.terminate().await;
    service.terminate().await;
    let lines = lines(&log);
    let requests = lines.iter().filter(|line| line["message"] == "request");
    let (known, unknown): (Vec<_>, Vec<_>) = requests.partition(|line| line["status"] == 200);
    assert_sampled(unknown.len(), left_out(&lines, false), ATTACKERS * CALLS, start);
    let known: Vec<&str> = known.iter().filter_map(|line| line["request_id"].as_str()).collect();
    assert_eq!(known, innocent);
}
