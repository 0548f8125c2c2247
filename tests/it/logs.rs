//! The log: one line a call, and nothing in it that belongs to a caller; nor in metrics and traces.

use std::{io::Write, time::Duration};

use futures_util::future::join_all;
use rustix::fs::{OFlags, fcntl_setfl};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    metrics::Metrics,
    shutdown::{PATIENCE, half_a_request},
    support::{
        Answer, Api, Client, Collector, Kind, PATH, Program, Suite, TestDatabase, organization, program::command,
    },
};

/// Words that the service is told and must not repeat in its log. Whatever a caller sends here contains one of them.
const CANARIES: [&str; 6] = [
    "canary-mail",
    "CANARY-SN",
    "canary-type",
    "canary-member",
    "canary-key",
    "canary_bearer",
];

pub fn register(suite: &mut Suite) {
    for (format, level) in [("json", "info"), ("json", "debug"), ("text", "info"), ("text", "debug")] {
        let name = format!("logs::one_line_a_call_and_no_data::{format}_{level}");
        suite.on_each(&name, move |database| one_line_a_call(database, format, level));
    }
    suite.on(Kind::Sqlite, "logs::calls_do_not_wait_for_the_reader", nobody_reads);
    suite.on(
        Kind::Sqlite,
        "logs::lines_that_cannot_be_written_are_counted",
        reader_has_gone,
    );
    suite.test(
        "logs::a_failure_that_nobody_reads_ends_the_program",
        failure_that_nobody_reads,
    );
}

/// A call that was made, and what its line must say.
struct Made {
    id: String,
    code: &'static str,
    is_authenticated: bool,
    /// Assigned, already assigned, skipped.
    counts: Option<[u64; 3]>,
    /// The reason of an error, and the paths of the invalid fields.
    error: Option<(String, Option<&'static str>)>,
}

struct Caller {
    client: Client,
    made: Vec<Made>,
}

impl Caller {
    async fn call(&mut self, name: &str, body: &Value, code: &'static str, counts: Option<[u64; 3]>) {
        self.call_as(&self.client.clone(), name, body, code, counts, true).await;
    }

    async fn call_as(
        &mut self,
        client: &Client,
        name: &str,
        body: &Value,
        code: &'static str,
        counts: Option<[u64; 3]>,
        is_authenticated: bool,
    ) {
        let id = format!("{}-{name}", client.api.name());
        let answer = match client.api {
            Api::Grpc => {
                let message = serde_json::from_value(body.clone()).expect("the JSON of a message");
                client.call_grpc(message, Some(&id)).await
            }
            Api::Rest | Api::RemoteRest => post(client, &id, body.to_string()).await,
        };
        assert_eq!(
            (answer.code.as_str(), answer.request_id.as_str()),
            (code, id.as_str()),
            "{answer:?}"
        );
        let error = answer.reason.map(|reason| (reason, fields(name, client.api)));
        self.made.push(Made {
            id,
            code,
            is_authenticated,
            counts,
            error,
        });
    }
}

/// The paths in the line of a call of this name: as the service names them, or the gateway, if that rejects the call.
fn fields(name: &str, api: Api) -> Option<&'static str> {
    match (name, api) {
        ("invalid", _) => Some("customer_email,device_identifiers[0],device_type"),
        ("too-many", Api::Grpc) => Some("device_identifiers"),
        ("too-many" | "not-the-message", _) => Some("deviceIdentifiers"),
        _ => None,
    }
}

async fn post(client: &Client, id: &str, body: String) -> Answer {
    let request = client.request(reqwest::Method::POST, PATH);
    client.send(request.header("x-request-id", id).body(body)).await
}

async fn one_line_a_call(database: &'static TestDatabase, format: &str, level: &str) {
    let key = organization(database, "acme").await;
    let mut serve = command(&["serve", "--max-devices-per-request=3", "--database-url", database.url()]);
    serve.args(["--log-format", format]).env("RUST_LOG", level);
    let collector = Collector::start().await;
    serve.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint());
    let program = Program::spawn(serve).await;

    let mut made = Vec::new();
    for api in [Api::Grpc, Api::Rest] {
        // A caller cannot claim another protocol.
        let client = program.client(api, &key).with_header("x-protocol", "rest");
        let mut caller = Caller { client, made };
        make_calls(&mut caller, api).await;
        made = caller.made;
    }
    // A call with no id of its own has one all the same.
    let answer = program
        .client(Api::Rest, &key)
        .assign("canary-mail@example.com", &["CANARY-SN-unknown"])
        .await;
    made.push(Made {
        id: answer.request_id,
        code: "FAILED_PRECONDITION",
        is_authenticated: true,
        counts: None,
        error: Some(("NO_VALID_DEVICES".into(), None)),
    });

    let metrics = Metrics::of(program.admin).await;
    let ended = program.end_by("-TERM").await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(ended.stdout, "", "the log goes to stderr");
    for canary in CANARIES.into_iter().chain([key.as_str()]) {
        let line = ended.log.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "{canary} stands in the log");
        assert!(!metrics.text.contains(canary), "{canary} stands among the metrics");
        assert!(
            !format!("{:?}", collector.spans()).contains(canary),
            "{canary} stands in a trace"
        );
    }
    assert!(collector.spans().len() > made.len());
    let organization = organization_id(database).await;
    let key_id = key_id(database).await;
    let lines: Vec<Line> = ended.log.lines().filter_map(Line::parser(format)).collect();
    assert_eq!(lines.len(), made.len(), "{}", ended.log);
    for call in made {
        let of_call: Vec<&Line> = lines
            .iter()
            .filter(|line| line.get("request_id") == Some(&call.id))
            .collect();
        let [line] = of_call.as_slice() else {
            panic!("{} lines of {}: {}", of_call.len(), call.id, ended.log);
        };
        // The gateway asks whose key it is before it reads a body.
        let is_checked_first = !call.is_authenticated && call.id.starts_with("rest");
        let method = if is_checked_first {
            "CheckCredentials"
        } else {
            "AssignDevicesToOwner"
        };
        assert_eq!(line.get("method"), Some(method), "{line:?}");
        assert_eq!(line.get("code"), Some(call.code), "{line:?}");
        let duration: f64 = line.get("duration_ms").expect("a duration").parse().expect("a number");
        assert!(duration > 0.0, "{line:?}");
        let caller = call.is_authenticated.then_some(organization.as_str());
        assert_eq!(line.get("organization"), caller, "{line:?}");
        assert_eq!(line.get("key"), caller.map(|_| key_id.as_str()), "{line:?}");
        let is_rest = call.id.starts_with("rest") || !call.id.starts_with("grpc");
        assert_eq!(
            line.get("protocol"),
            Some(if is_rest { "rest" } else { "grpc" }),
            "{line:?}"
        );
        let error = call.error.as_ref();
        assert_eq!(line.get("reason"), error.map(|(reason, _)| reason.as_str()), "{line:?}");
        assert_eq!(line.get("fields"), error.and_then(|(_, fields)| *fields), "{line:?}");
        let counts = ["assigned", "already_assigned", "skipped"].map(|count| line.get(count).map(str::to_owned));
        assert_eq!(
            counts,
            call.counts.map_or([const { None }; 3], |counts| counts
                .map(|count| Some(count.to_string()))),
            "{line:?}"
        );
    }
}

async fn make_calls(caller: &mut Caller, api: Api) {
    let email = format!("canary-mail-{}@example.com", api.name());
    let [first, second, third] = ["1", "2", "3"].map(|number| format!("CANARY-SN-{}-{number}", api.name()));
    let create = json!({
        "customerEmail": email,
        "deviceIdentifiers": [first, second],
        "autoCreateDevices": true,
        "deviceType": "canary-type",
    });
    caller.call("new", &create, "OK", Some([2, 0, 0])).await;
    let assign = json!({ "customerEmail": email, "deviceIdentifiers": [first, second, third] });
    caller.call("again", &assign, "OK", Some([0, 2, 1])).await;
    let none = json!({ "customerEmail": email, "deviceIdentifiers": [third] });
    caller.call("none", &none, "FAILED_PRECONDITION", None).await;
    let invalid = json!({
        "customerEmail": "canary-mail at example.com",
        "deviceIdentifiers": ["CANARY-SN\u{7}"],
        "autoCreateDevices": true,
        "deviceType": "canary-type\u{7}",
    });
    caller.call("invalid", &invalid, "INVALID_ARGUMENT", None).await;
    let too_many = json!({ "customerEmail": email, "deviceIdentifiers": ["CANARY-SN-1", "CANARY-SN-2", "CANARY-SN-3", "CANARY-SN-4"] });
    caller.call("too-many", &too_many, "INVALID_ARGUMENT", None).await;
    if api == Api::Rest {
        let not_the_message = json!({ "customerEmail": email, "deviceIdentifiers": "CANARY-SN", "canary-member": 1 });
        caller
            .call("not-the-message", &not_the_message, "INVALID_ARGUMENT", None)
            .await;
        let answer = post(
            &caller.client,
            "rest-no-json",
            "{\"customerEmail\": \"canary-mail".into(),
        )
        .await;
        assert_eq!(answer.code, "INVALID_ARGUMENT");
        caller.made.push(Made {
            id: "rest-no-json".into(),
            code: "INVALID_ARGUMENT",
            is_authenticated: true,
            counts: None,
            error: Some(("INVALID_JSON".into(), None)),
        });
        // A member whose name is the caller's own.
        let unknown = json!({ "canary-member": 1 });
        caller.call("unknown-member", &unknown, "INVALID_ARGUMENT", None).await;
    }
    let bearer = caller
        .client
        .with_key(None)
        .with_header("authorization", "Bearer tlm_canary_bearer");
    caller
        .call_as(&bearer, "bearer", &create, "UNAUTHENTICATED", None, false)
        .await;
    // Of the right form, so that it is looked up; and of the wrong one.
    let unknown = device_assignment::domain::api_key::ApiKeySecret::from_random([9; 32]);
    for (name, key) in [
        ("unknown-key", Some(unknown.reveal())),
        ("malformed-key", Some("canary-key")),
        ("no-key", None),
    ] {
        let client = caller.client.with_key(key);
        caller
            .call_as(&client, name, &create, "UNAUTHENTICATED", None, false)
            .await;
    }
}

async fn key_id(database: &TestDatabase) -> String {
    let database = database.open().await;
    let keys = device_assignment::service::api_keys(&database, "acme")
        .await
        .expect("keys");
    database.close().await;
    keys[0].id.to_string()
}

async fn organization_id(database: &TestDatabase) -> String {
    let database = database.open().await;
    let organizations = device_assignment::service::organizations(&database)
        .await
        .expect("organizations");
    database.close().await;
    organizations[0].id.to_string()
}

/// How many lines were lost for this reason.
async fn lost(program: &Program, cause: &str) -> f64 {
    let series = format!("device_assignment_log_lines_lost_total{{cause=\"{cause}\"}}");
    Metrics::of(program.admin).await.get(&series)
}

/// Makes calls until lines are lost for this reason. None of the calls hangs.
async fn calls_until_lost(program: &Program, key: &str, cause: &str) {
    /// Longer than a call takes on any machine.
    const HANGS: Duration = Duration::from_secs(60);
    /// More than the pipe and the queue of the log have room for, by far.
    const MOST_ROUNDS: usize = 500;
    const CALLERS: usize = 64;
    let client = program.client(Api::Grpc, key);
    let mut rounds = 0;
    while lost(program, cause).await == 0.0 {
        rounds += 1;
        assert!(rounds < MOST_ROUNDS, "no line is lost");
        let calls = (0..CALLERS).map(|_| client.assign("ann@example.com", &["unknown"]));
        let answers = tokio::time::timeout(HANGS, join_all(calls)).await;
        for answer in answers.expect("a call hangs") {
            assert_eq!(answer.code, "FAILED_PRECONDITION");
        }
    }
}

/// A program may take the log and not read it: then lines are lost and counted, and nobody waits. The stop has ten seconds, and here
/// it needs most of them: for a call whose body does not arrive, for traces that nobody takes and for the log.
async fn nobody_reads(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let mut serve = command(&["serve", "--database-url", database.url()]);
    serve.env("RUST_LOG", "trace");
    // It accepts connections and is silent.
    let collector = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = collector.local_addr().expect("an address");
    serve.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"));
    let program = Program::spawn(serve).await;
    program.stop_reading_its_log();
    calls_until_lost(&program, &key, "too_slow").await;
    let half = half_a_request(program.rest, &key).await;
    let ended = tokio::time::timeout(PATIENCE, program.end_by("-TERM")).await;
    let ended = ended.expect("the stop takes too long");
    assert_eq!(ended.code, Some(0));
    // The last one may be cut off: the program ended while it was written.
    let lines: Vec<_> = ended.log.lines().collect();
    for line in &lines[..lines.len() - 1] {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "cut off: {line}");
    }
    drop((half, collector));
}

/// The program that took the log has ended.
async fn reader_has_gone(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let program = Program::serve(database.url()).await;
    program.close_its_log();
    calls_until_lost(&program, &key, "not_written").await;
    assert_eq!(lost(&program, "too_slow").await, 0.0);
    let (code, _) = program.terminate().await;
    assert_eq!(code, Some(0));
}

/// Why the program fails is said to a pipe that is full. It ends all the same.
async fn failure_that_nobody_reads() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    // It is filled without waiting. The program then writes to it as to any pipe.
    fcntl_setfl(&writer, OFlags::NONBLOCK).expect("a flag");
    while writer.write(&[b'.'; 4096]).is_ok() {}
    fcntl_setfl(&writer, OFlags::empty()).expect("a flag");
    let database = TestDatabase::create(Kind::Sqlite).await;
    let mut serve = command(&["serve", "--database-url", database.url(), "--rest-addr", &address]);
    serve.args(["--grpc-addr", "127.0.0.1:0", "--admin-addr", "off"]);
    let mut child = serve.stderr(writer).spawn().expect("the program starts");
    let status = tokio::time::timeout(Duration::from_secs(60), child.wait()).await;
    let status = status.expect("the program hangs").expect("an exit");
    assert_eq!(status.code(), Some(1));
    drop(reader);
    database.remove().await;
}

/// The line of a call, as its fields.
#[derive(Debug)]
struct Line(Vec<(String, String)>);

impl Line {
    /// How to read a line that was written in this format; `None` for a line of something else.
    fn parser(format: &str) -> fn(&str) -> Option<Self> {
        if format == "json" {
            Self::from_json
        } else {
            Self::from_text
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let field = self.0.iter().find(|(field, _)| field == name);
        field.map(|(_, value)| value.as_str())
    }

    fn from_json(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).expect("every line is JSON");
        if value["message"] != "call" {
            return None;
        }
        let fields = value.as_object()?.iter().map(|(name, value)| {
            (
                name.clone(),
                value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            )
        });
        Some(Self(fields.collect()))
    }

    /// `TIME LEVEL target: call a="b" c=d`
    fn from_text(line: &str) -> Option<Self> {
        let (_, event) = line.split_once(": call ")?;
        let fields = event.split(' ').filter_map(|field| field.split_once('='));
        Some(Self(
            fields
                .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
                .collect(),
        ))
    }
}
