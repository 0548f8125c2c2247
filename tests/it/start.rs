//! `serve` from its first line to its last: what it prints, and how it ends.

use std::{
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Output,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{io::AsyncBufReadExt, net::TcpListener, process::Command};

use crate::support::{
    Api, Client, Program, Suite,
    program::{command, finish, run, sentence, stderr, stdout},
};

const KEY_FILE: &str = "device-assignment.api-key";

pub fn register(suite: &mut Suite) {
    suite.test("start::the_printed_curl_line_works_as_pasted", curl_line);
    suite.with_grpcurl("start::the_printed_grpcurl_line_works_as_pasted", grpcurl_line);
    suite.test("start::the_key_is_printed_once", key_once);
    suite.test("start::without_a_terminal_the_key_goes_to_a_private_file", key_file);
    suite.test(
        "start::a_key_file_that_cannot_be_written_burns_no_key",
        unwritable_key_file,
    );
    for format in ["json", "text"] {
        let name = format!("start::start_and_stop_are_in_the_log::{format}");
        suite.test(&name, move || lifecycle(format));
    }
    suite.test("start::a_welcome_that_was_cut_short_is_given_again", cut_short);
    suite.test("start::other_databases_get_no_key", no_key_elsewhere);
    for (name, variable) in [("grpc", "GRPC_ADDR"), ("rest", "REST_ADDR"), ("admin", "ADMIN_ADDR")] {
        suite.test(&format!("start::a_taken_{name}_port_burns_no_key"), move || {
            taken_port(variable)
        });
    }
    for signal in ["TERM", "INT"] {
        suite.test(
            &format!("start::ends_well_on_sig{}", signal.to_lowercase()),
            move || ends_well(format!("-{signal}")),
        );
    }
}

async fn on_terminal(folder: &Path) -> Program {
    let mut command = command(&["serve"]);
    command.current_dir(folder);
    Program::on_terminal(command).await
}

/// What a first start prints on a terminal.
pub struct Welcome {
    pub key: String,
    pub curl: String,
    pub grpcurl: String,
}

pub async fn welcome(program: &mut Program) -> Welcome {
    let mut lines = Vec::new();
    while !lines
        .last()
        .is_some_and(|line: &String| line.ends_with("/AssignDevicesToOwner"))
    {
        let mut line = String::new();
        let count = program.stdout.read_line(&mut line).await.expect("a line");
        assert!(count > 0, "the program ended after {lines:?}");
        lines.push(line.trim_end().to_owned());
    }
    let key = lines.iter().find_map(|line| line.trim().strip_prefix("tlm_"));
    let pasted = |start: &str| {
        let begin = lines.iter().position(|line| line.trim().starts_with(start));
        let command = lines.iter().skip(begin.expect(start));
        let mut pasted = String::new();
        for line in command {
            pasted.push_str(line);
            pasted.push('\n');
            if !line.ends_with('\\') {
                break;
            }
        }
        pasted
    };
    Welcome {
        key: format!("tlm_{}", key.expect("a key")),
        curl: pasted("curl "),
        grpcurl: pasted("grpcurl "),
    }
}

/// Runs a command line as a shell does that it was pasted into.
pub async fn paste(line: &str) -> Output {
    let mut shell = Command::new("bash");
    // No proxy of this machine stands between it and itself.
    shell.args(["-c", line]).env("NO_PROXY", "*");
    shell.output().await.expect("bash")
}

async fn curl_line() {
    let folder = TempDir::new().expect("a folder");
    let mut program = on_terminal(folder.path()).await;
    let Welcome { key, curl, .. } = welcome(&mut program).await;

    let output = paste(&curl).await;
    assert!(output.status.success(), "{curl}: {}", stderr(&output));
    let answer: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(answer["success"], true, "{answer}");
    assert_eq!(answer["customerWasCreated"], true, "{answer}");
    assert_eq!(answer["assignedDevices"][1]["identifier"], "SN-002", "{answer}");

    // Another option, which changes nothing of the line, shows the status.
    let output = paste(&curl.replacen(
        "curl ",
        "curl --silent --output /dev/null --write-out '%{http_code}' ",
        1,
    ))
    .await;
    assert_eq!(stdout(&output), "200");

    let ended = program.end_by("-TERM").await;
    assert!(!ended.log.contains(&key), "{}", ended.log);
}

async fn grpcurl_line() {
    let folder = TempDir::new().expect("a folder");
    let mut program = on_terminal(folder.path()).await;
    let Welcome { grpcurl, .. } = welcome(&mut program).await;
    let output = paste(&grpcurl).await;
    assert!(output.status.success(), "{grpcurl}: {}", stderr(&output));
    let answer: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(answer["success"], true, "{answer}");
    assert_eq!(answer["customerWasCreated"], true, "{answer}");
    assert_eq!(answer["assignedDevices"][1]["identifier"], "SN-002", "{answer}");
}

async fn key_once() {
    let folder = TempDir::new().expect("a folder");
    let mut program = on_terminal(folder.path()).await;
    let Welcome { key, curl, grpcurl } = welcome(&mut program).await;
    assert_eq!(key.len(), 53, "{key}");
    for line in [&curl, &grpcurl] {
        assert!(line.contains(&format!("'x-api-key: {key}'")), "{line}");
    }
    assert!(curl.contains(&format!("http://{}/api/ext-v1/", program.rest)), "{curl}");
    assert!(grpcurl.contains(&format!(" {} telemetron.", program.grpc)), "{grpcurl}");
    assert_eq!(program.end_by("-TERM").await.code, Some(0));

    let again = on_terminal(folder.path()).await;
    let answer = again.client(Api::Rest, &key).create("a@example.com", &["SN-1"]).await;
    answer.ok();
    let ended = again.end_by("-TERM").await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(ended.stdout, "");
    assert!(!ended.log.contains("tlm_"), "{}", ended.log);
    assert!(!folder.path().join(KEY_FILE).exists());
}

/// A supervisor's journal is no place for a key.
async fn key_file() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join(KEY_FILE);
    // From a database that was deleted; and everybody may read it.
    fs::write(&path, "tlm_of_a_database_that_is_gone, and longer than a key is").expect("a file");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("a mode");
    let program = Program::serve_in(folder.path()).await;
    let key = fs::read_to_string(&path).expect("a file");
    let key = key.strip_suffix('\n').expect("one line").to_owned();
    assert_eq!(key.len(), 53, "{key}");
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let client = program.client(Api::Rest, &key);
    client.create("a@example.com", &["SN-1"]).await.ok();
    let ended = program.end_by("-TERM").await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{}", ended.log);
    assert!(!ended.log.contains("tlm_"), "{}", ended.log);
    let named = format!("\"file\":{}", Value::from(path.to_str().expect("text")));
    assert!(ended.log.contains(&named), "{}", ended.log);

    fs::remove_file(&path).expect("removed");
    let ended = Program::serve_in(folder.path()).await.end_by("-TERM").await;
    assert_eq!(ended.stdout, "");
    assert!(!path.exists(), "a key is created once");
}

async fn unwritable_key_file() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join(KEY_FILE);
    fs::create_dir(&path).expect("a folder");
    let mut serve = command(&["serve"]);
    for listener in ["--grpc-addr", "--rest-addr", "--admin-addr"] {
        serve.args([listener, "127.0.0.1:0"]);
    }
    serve.current_dir(folder.path());
    let said = sentence(&finish(serve).await, 1);
    assert!(said.contains(KEY_FILE), "{said}");
    fs::remove_dir(&path).expect("removed");
    Program::serve_in(folder.path()).await.end_by("-TERM").await;
    assert!(path.exists());
}

async fn lifecycle(format: &'static str) {
    let folder = TempDir::new().expect("a folder");
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("devices.db").display());
    run(&["organization", "create", "acme", "--database-url", &url]).await;
    let program = Program::spawn(command(&["serve", "--database-url", &url, "--log-format", format])).await;
    let (grpc, rest, admin) = (program.grpc, program.rest, program.admin);
    let ended = program.end_by("-TERM").await;
    let expected = [
        ("starting", format!("version={}", env!("CARGO_PKG_VERSION"))),
        ("listening", format!("api=grpc address={grpc} tls=false")),
        ("listening", format!("api=rest address={rest} tls=false")),
        ("listening", format!("api=admin address={admin} tls=false")),
        ("stopping", String::new()),
        ("stopped", String::new()),
    ];
    let expected = expected.map(|(message, fields)| format!("{message} {fields}").trim().to_owned());
    let lines = ended.log.lines().filter_map(|line| match format {
        "json" => from_json(line),
        _ => Some(
            line.split_once("device_assignment::cli::")?
                .1
                .split_once(": ")?
                .1
                .replace('"', ""),
        ),
    });
    assert_eq!(lines.collect::<Vec<_>>(), expected, "{}", ended.log);
}

/// The message and fields of a line that the command line has logged.
fn from_json(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).expect("each line is JSON");
    if !line["target"].as_str()?.starts_with("device_assignment::cli::") {
        return None;
    }
    let fields = line.as_object()?.iter();
    let fields = fields.filter(|(name, _)| !["timestamp", "level", "message", "target"].contains(&name.as_str()));
    let fields = fields.map(|(name, value)| format!(" {name}={}", value.to_string().replace('"', "")));
    Some(format!("{}{}", line["message"].as_str()?, fields.collect::<String>()))
}

/// A start that was killed before it had printed a key leaves the organization without one.
async fn cut_short() {
    let folder = TempDir::new().expect("a folder");
    let create = command(&["organization", "create", "default"])
        .current_dir(folder.path())
        .output()
        .await;
    assert!(create.expect("the program runs").status.success());
    let mut program = on_terminal(folder.path()).await;
    let Welcome { key, .. } = welcome(&mut program).await;
    program
        .client(Api::Rest, &key)
        .create("a@example.com", &["SN-1"])
        .await
        .ok();

    // An organization of the operator's own making is left alone.
    let folder = TempDir::new().expect("a folder");
    let create = command(&["organization", "create", "acme"])
        .current_dir(folder.path())
        .output()
        .await;
    assert!(create.expect("the program runs").status.success());
    let ended = Program::serve_in(folder.path()).await.end_by("-TERM").await;
    assert_eq!(ended.stdout, "");
    assert!(!folder.path().join(KEY_FILE).exists());
}

/// Only who asked for nothing gets something; an operator who named a database decides who may call.
async fn no_key_elsewhere() {
    let folder = TempDir::new().expect("a folder");
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("named.db").display());
    let ended = Program::serve(&url).await.end_by("-TERM").await;
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(ended.stdout, "");
    assert!(
        ended.log.contains("`device-assignment organization create NAME`"),
        "{}",
        ended.log
    );
}

async fn taken_port(variable: &str) {
    let folder = TempDir::new().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let output = command(&["serve"])
        .current_dir(folder.path())
        .env("GRPC_ADDR", "127.0.0.1:0")
        .env("REST_ADDR", "127.0.0.1:0")
        .env("ADMIN_ADDR", "127.0.0.1:0")
        .env(variable, &address)
        .output()
        .await
        .expect("the program runs");
    let said = sentence(&output, 1);
    let flag = variable.to_lowercase().replace('_', "-");
    assert!(said.contains(&format!("set --{flag} ({variable})")), "{said}");
    assert!(said.contains(&address), "{said}");

    let mut program = on_terminal(folder.path()).await;
    let Welcome { key, .. } = welcome(&mut program).await;
    let answer = program.client(Api::Rest, &key).create("a@example.com", &["SN-1"]).await;
    answer.ok();
}

/// A supervisor may ask as soon as the program says that it listens.
async fn ends_well(signal: String) {
    let folder = TempDir::new().expect("a folder");
    for _ in 0..5 {
        let program = Program::serve_in(folder.path()).await;
        let addresses: [SocketAddr; 2] = [program.grpc, program.rest];
        let ended = program.end_by(&signal).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(!ended.log.contains("panic"), "{}", ended.log);
        for address in addresses {
            assert!(tokio::net::TcpStream::connect(address).await.is_err());
        }
    }
    // And when it has served.
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("served.db").display());
    let program = Program::serve(&url).await;
    let client: Client = program.client(Api::Grpc, "tlm_wrong");
    let answer = client.assign("a@example.com", &["SN-1"]).await;
    assert_eq!(answer.code, "UNAUTHENTICATED");
    assert_eq!(program.end_by(&signal).await.code, Some(0));
}
