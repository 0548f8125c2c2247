//! The clients in `examples/`, run against the real program: their output, and their retries.

mod cache;
mod tasks;

use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use serde_json::json;
use tempfile::TempDir;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{
    Api, Kind, Program, Proxy, Suite, TestDatabase, devices,
    effects::owned,
    example::{CACHES, EXAMPLES, Example, TASKS, clean, script},
    load::eventually,
    organization,
    program::{command, finish, refused, stderr, stdout},
};

/// The timeout for something that takes a second or two on an idle machine.
const HANGS: Duration = Duration::from_secs(60);

const SERVICE: &str = "telemetron.device_assignment.v1.DeviceAssignmentService";

/// `buf curl` accepts at most 4 MiB. The JSON that Python writes for such a request is larger than 8 MiB.
const TOO_LARGE_FOR: [&str; 2] = ["buf", "python_rest"];

type Test = fn(&'static TestDatabase, Example) -> LocalBoxFuture<'static, ()>;

pub fn register(suite: &mut Suite) {
    let tests: [(&str, Kind, Test); 6] = [
        ("assigns", Kind::Sqlite, |db, of| Box::pin(assigns(db, of))),
        ("takes_the_largest_answer", Kind::Sqlite, |db, of| {
            Box::pin(largest(db, of))
        }),
        ("tells_each_violation", Kind::Sqlite, |db, of| {
            Box::pin(violations(db, of))
        }),
        ("waits_as_long_as_told", Kind::Sqlite, |db, of| Box::pin(waits(db, of))),
        ("outlives_an_outage", Kind::Postgres, |db, of| Box::pin(outage(db, of))),
        ("keeps_its_deadline", Kind::Sqlite, |db, of| Box::pin(deadline(db, of))),
    ];
    for example in EXAMPLES {
        for (name, kind, test) in tests {
            if name == "takes_the_largest_answer" && TOO_LARGE_FOR.contains(&example.name) {
                continue;
            }
            let name = format!("examples::{}::{name}", example.name);
            suite.with_example(example, kind, &name, move |db| test(db, example));
        }
    }
    for example in EXAMPLES.into_iter().filter(|example| example.name == "buf") {
        let name = "examples::buf::does_not_repeat_a_call_whose_answer_is_too_large";
        suite.with_example(example, Kind::Sqlite, name, move |db| too_large(db, example));
    }
    for example in CACHES {
        let name = format!("examples::{}::follows_the_changes", example.name);
        suite.with_example(example, Kind::Sqlite, &name, move |db| cache::follows(db, example));
    }
    for example in TASKS {
        let name = format!("examples::tasks::{}", example.name);
        suite.with_example(example, Kind::Sqlite, &name, move |db| tasks::work(db, example));
    }
    suite.with_grpcurl("examples::grpcurl::shows_the_service", || on_new(explore));
    suite.with_grpcurl("examples::grpcurl::details_are_text_by_reflection_v1alpha", || {
        on_new(details_by_v1alpha)
    });
    suite.with_grpcurl("examples::grpcurl::details_are_text_by_reflection_v1", || {
        on_new(details_by_v1)
    });
}

async fn assigns(database: &TestDatabase, example: Example) {
    let key = organization(database, "acme").await;
    devices(database, "acme", &["SN-1", "-SN 2"]).await;
    let server = Program::serve(database.url()).await;
    let arguments = ["john@example.com", "SN-1", "-SN 2", "SN-3"];
    let output = finish(example.command(&server, &key, &arguments).await).await;
    let said = stdout(&output);
    assert!(output.status.success(), "{said}{}", stderr(&output));
    assert!(said.contains("Successfully assigned 2 device(s) to customer"), "{said}");
    assert!(said.contains("SN-3"), "the one that is unknown: {said}");
    assert_eq!(stderr(&output), "");
    server.terminate().await;
    let owned = owned(database).await;
    assert_eq!(json!(owned), json!({"john@example.com": ["-SN 2", "SN-1"]}));
}

/// An answer of 5.2 MiB, which is more than gRPC libraries accept by default: the maximum number of identifiers, each of the
/// maximum length.
async fn largest(database: &TestDatabase, example: Example) {
    let (output, calls) = call_with_largest(database, example).await;
    let said = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        said.contains("Successfully assigned 10000 device(s) to customer"),
        "{said:.300}"
    );
    assert_eq!(calls, 1);
}

/// An error of the client library is not retried.
async fn too_large(database: &TestDatabase, example: Example) {
    let (output, calls) = call_with_largest(database, example).await;
    let said = refused(&output, 1);
    assert!(said.contains("larger than configured max"), "{said}");
    assert_eq!(calls, 1, "it is not tried again");
}

/// What a client prints about the largest call, and how often the service carried it out.
async fn call_with_largest(database: &TestDatabase, example: Example) -> (std::process::Output, usize) {
    const COUNT: usize = 10_000;
    let key = organization(database, "acme").await;
    let identifiers: Vec<String> = (0..COUNT)
        .map(|number| format!("{}{number:05}", "ä".repeat(250)))
        .collect();
    devices(
        database,
        "acme",
        &identifiers.iter().map(String::as_str).collect::<Vec<_>>(),
    )
    .await;
    let server = Program::serve(database.url()).await;
    let folder = TempDir::new().expect("a folder");
    let list = folder.path().join("identifiers");
    std::fs::write(&list, identifiers.join("\n")).expect("written");

    let output = finish(
        example
            .command_with_list(&server, &key, "john@example.com", &list)
            .await,
    )
    .await;
    let (_, log) = server.terminate().await;
    (output, answered(&log, "OK").count())
}

async fn violations(database: &TestDatabase, example: Example) {
    let key = organization(database, "acme").await;
    let server = Program::serve(database.url()).await;
    let said = refused(
        &finish(
            example
                .command(&server, &key, &["john at example.com", "SN-1", " "])
                .await,
        )
        .await,
        1,
    );
    let [email, identifier] = match example.api {
        Api::Grpc => ["customer_email", "device_identifiers[1]"],
        Api::Rest | Api::RemoteRest => ["customerEmail", "deviceIdentifiers[1]"],
    };
    for line in [
        format!("{email} must be a valid email address (the first of 2 problems)\n"),
        format!("\n  {email}: {email} must be a valid email address\n"),
        format!("\n  {identifier}: {identifier} must not be empty\n"),
    ] {
        assert!(said.contains(&line), "{line:?} in {said}");
    }
    // An error of the whole call.
    let said = refused(
        &finish(example.command(&server, "tlm_x", &["john@example.com", "SN-1"]).await).await,
        1,
    );
    assert!(said.contains("Invalid API key: "), "{said}");
    server.terminate().await;
}

/// The log lines of calls that ended with `code`.
fn answered<'a>(log: &'a str, code: &str) -> impl Iterator<Item = &'a str> {
    let code = format!("\"code\":\"{code}\"");
    log.lines().filter(move |line| line.contains(&code))
}

/// The key reached its limit: the client waits as long as the answer says, then repeats the call.
async fn waits(database: &TestDatabase, example: Example) {
    let key = organization(database, "acme").await;
    devices(database, "acme", &["SN-1", "SN-2", "SN-3", "SN-4"]).await;
    let mut serve = command(&["serve", "--database-url", database.url()]);
    serve.args([
        "--max-devices-per-request=4",
        "--key-devices-burst=4",
        "--key-devices-per-second=1",
    ]);
    let server = Program::spawn(serve).await;
    let all = ["SN-1", "SN-2", "SN-3", "SN-4"];
    server
        .client(Api::Grpc, &key)
        .assign("jane@example.com", &all)
        .await
        .ok();

    let arguments = ["john@example.com", "SN-1", "SN-2", "SN-3", "SN-4"];
    let output = finish(example.command(&server, &key, &arguments).await).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("assigned 4 device(s)"), "{}", stdout(&output));
    let (_, log) = server.terminate().await;
    let answers = [
        answered(&log, "RESOURCE_EXHAUSTED").count(),
        answered(&log, "OK").count(),
    ];
    assert_eq!(answers, [1, 2], "{log}");
}

/// The database is unreachable when the call is made, and back before the client gives up.
async fn outage(database: &TestDatabase, example: Example) {
    const OURS: &str = "not-the-example";
    let key = organization(database, "acme").await;
    devices(database, "acme", &["SN-1"]).await;
    let proxy = Proxy::before(database).await;
    let server = Program::serve(proxy.url()).await;
    let client = server.client(Api::Grpc, &key).with_header("x-request-id", OURS);
    client.assign("jane@example.com", &["SN-1"]).await.ok();
    proxy.fall_silent();
    eventually("the service knows that the database is away", HANGS, async || {
        client.assign("jane@example.com", &["SN-1"]).await.code == "UNAVAILABLE"
    })
    .await;

    let run = example.command(&server, &key, &["john@example.com", "SN-1"]).await;
    let run = tokio::spawn(finish(run));
    eventually("the client is told so", HANGS, async || {
        let log = server.logged();
        answered(&log, "UNAVAILABLE").any(|line| !line.contains(OURS))
    })
    .await;
    proxy.recover();
    let output = run.await.expect("no panic");
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("assigned 1 device(s)"), "{}", stdout(&output));
    server.terminate().await;
}

/// The service accepts the connection and never answers.
async fn deadline(database: &TestDatabase, example: Example) {
    let key = organization(database, "acme").await;
    let server = Program::serve(database.url()).await;
    server.signal("-STOP").await;
    let mut run = example.command(&server, &key, &["john@example.com", "SN-1"]).await;
    run.env("DEVICE_ASSIGNMENT_TIMEOUT", "2");
    let start = Instant::now();
    let said = refused(&finish(run).await, 1);
    let took = start.elapsed();
    assert_ne!(said.trim(), "");
    // Not a measurement: the default is 30 s.
    assert!(took < Duration::from_secs(20), "{took:?}: {said}");
    server.signal("-CONT").await;
    server.terminate().await;
}

/// Runs a test with a program on a new database, and a key.
async fn on_new<F: Future<Output = Program>>(test: impl FnOnce(Program, String) -> F) {
    let database = TestDatabase::create(Kind::Sqlite).await;
    let key = organization(&database, "acme").await;
    let server = test(Program::serve(database.url()).await, key).await;
    server.terminate().await;
    database.remove().await;
}

async fn explore(server: Program, _key: String) -> Program {
    let output = finish(script("grpcurl/explore.sh", &server)).await;
    let said = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    for text in [
        "grpc.health.v1.Health\n",
        "// Assigns devices to a customer in one transaction.",
        "rpc AssignDevicesToOwner (",
        "\"customerEmail\": \"\"",
    ] {
        assert!(said.contains(text), "{text:?} in {said}");
    }
    server
}

async fn details_by_v1alpha(server: Program, key: String) -> Program {
    // The version on the PATH supports only this one.
    assert_details_are_text(&[], &server, &key).await;
    server
}

/// As later versions do: with the types from reflection v1.
async fn details_by_v1(server: Program, key: String) -> Program {
    let channel = server.client(Api::Grpc, &key).channel();
    let mut files = FileDescriptorSet::default();
    for question in [
        MessageRequest::FileContainingSymbol(SERVICE.into()),
        MessageRequest::FileContainingSymbol("google.rpc.BadRequest".into()),
        MessageRequest::FileByFilename("google/protobuf/duration.proto".into()), // imported by the other
    ] {
        let question = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(question),
        };
        let mut client = ServerReflectionClient::new(channel.clone());
        let answers = client.server_reflection_info(tokio_stream::iter([question])).await;
        let answer = answers
            .expect("an answer")
            .into_inner()
            .message()
            .await
            .expect("an answer");
        let Some(MessageResponse::FileDescriptorResponse(found)) = answer.and_then(|answer| answer.message_response)
        else {
            panic!("not known");
        };
        let found = found.file_descriptor_proto.iter();
        files
            .file
            .extend(found.map(|file| FileDescriptorProto::decode(file.as_slice()).expect("a file")));
    }
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("protoset");
    std::fs::write(&path, files.encode_to_vec()).expect("written");
    let path = path.to_str().expect("text");
    assert_details_are_text(&["-use-reflection=false", "-protoset", path], &server, &key).await;
    server
}

async fn assert_details_are_text(options: &[&str], server: &Program, key: &str) {
    let mut grpcurl = clean("grpcurl");
    grpcurl
        .args(options)
        .args(["-plaintext", "-H", &format!("x-api-key: {key}"), "-d"]);
    grpcurl.args([
        r#"{"device_identifiers": ["SN-1"]}"#,
        &server.grpc.to_string(),
        &format!("{SERVICE}/AssignDevicesToOwner"),
    ]);
    let said = stderr(&finish(grpcurl).await);
    let violation = r#"{"field":"customer_email","description":"customer_email is required"}"#;
    assert!(said.contains(&format!(r#""fieldViolations":[{violation}]"#)), "{said}");
    assert!(said.contains(r#""reason":"INVALID_REQUEST""#), "{said}");
}
