//! `mcp`, through the reference client of the protocol, which is pinned in `tests/mcp_client/`; `.ci/run` installs it.

use std::{fs, path::PathBuf, process::Stdio};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
};

use crate::{
    contract::world,
    support::{
        Suite, TestDatabase, TestServer,
        database::Kind,
        example::clean,
        program::{command, finish, refused, stderr, stdout},
        read_key,
    },
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp_client");

const READING: [&str; 7] = [
    "get_device_owners",
    "list_customer_devices",
    "get_customer",
    "search_customers",
    "get_device",
    "search_devices",
    "list_changes",
];

/// The tools that change something, and whether somebody loses something by them.
const WRITING: [(&str, bool); 3] = [
    ("assign_devices", false),
    ("unassign_devices", true),
    ("transfer_devices", true),
];

pub fn register(suite: &mut Suite) {
    suite.with_tools("mcp::tools_and_their_descriptions", missing, described);
    suite.with_tools("mcp::look_ups", missing, look_ups);
    suite.with_tools("mcp::a_change_needs_a_preview_and_is_made_once", missing, changes);
    suite.with_tools("mcp::errors_say_what_to_fix", missing, errors);
    suite.with_tools("mcp::a_read_key_gets_no_tools_that_write", missing, reader);
    suite.test("mcp::the_documented_configuration_is_valid", configuration);
    suite.on(Kind::Sqlite, "mcp::start_and_end", start_and_end);
}

fn python() -> PathBuf {
    PathBuf::from(FOLDER).join(".venv/bin/python")
}

fn missing() -> Option<String> {
    (!python().exists()).then(|| format!("there is no {}", python().display()))
}

/// A client that has started the server.
struct Mcp {
    hello: Value,
    client: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Mcp {
    async fn start(server: &TestServer, key: &str) -> Self {
        let mut client = clean(python());
        client
            .arg(PathBuf::from(FOLDER).join("client.py"))
            .arg(env!("CARGO_BIN_EXE_device-assignment"))
            .args(["mcp", "--server", &format!("http://{}", server.grpc)])
            .env("DEVICE_ASSIGNMENT_API_KEY", key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut client = client.spawn().expect("Python");
        let stdin = client.stdin.take().expect("a pipe");
        let stdout = BufReader::new(client.stdout.take().expect("a pipe")).lines();
        let mut mcp = Self {
            hello: Value::Null,
            client,
            stdin,
            stdout,
        };
        mcp.hello = mcp.line().await;
        mcp
    }

    async fn line(&mut self) -> Value {
        let line = self.stdout.next_line().await.expect("a pipe");
        let line = line.expect("a line; the client has ended");
        serde_json::from_str(&line).expect("JSON")
    }

    /// The result of a tool, whose text is the same JSON.
    async fn result(&mut self, tool: &str, arguments: &Value) -> Value {
        let call = json!({ "tool": tool, "arguments": arguments });
        self.stdin
            .write_all(format!("{call}\n").as_bytes())
            .await
            .expect("written");
        let result = self.line().await;
        if let Some(text) = result["content"][0]["text"].as_str() {
            let text: Value = serde_json::from_str(text).expect("JSON");
            assert_eq!(text, result["structuredContent"], "{result}");
        }
        result
    }

    /// The answer of a tool that succeeds.
    async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let mut result = self.result(tool, &arguments).await;
        assert_eq!(result["isError"], false, "{result}");
        result["structuredContent"].take()
    }

    /// The error of a tool that fails.
    async fn fails(&mut self, tool: &str, arguments: Value) -> Value {
        let mut result = self.result(tool, &arguments).await;
        assert_eq!(result["isError"], true, "{result}");
        result["structuredContent"].take()
    }

    fn tools(&self) -> &[Value] {
        self.hello["tools"].as_array().expect("tools")
    }

    fn names(&self) -> Vec<&str> {
        self.tools()
            .iter()
            .map(|tool| tool["name"].as_str().expect("a name"))
            .collect()
    }

    /// Closes the client, which must end by itself. The server has nothing to log.
    async fn end(mut self) {
        drop(self.stdin);
        assert_eq!(self.stdout.next_line().await.expect("a pipe"), None);
        let output = self.client.wait_with_output().await.expect("an end");
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

async fn described(database: &TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let mcp = Mcp::start(&server, &key).await;
    let previews = WRITING.map(|(name, _)| format!("preview_{name}"));
    let mut expected = READING.to_vec();
    for ((name, _), preview) in WRITING.iter().zip(&previews) {
        expected.extend([preview.as_str(), name]);
    }
    assert_eq!(mcp.names(), expected);
    for tool in mcp.tools() {
        let name = tool["name"].as_str().expect("a name");
        let annotations = &tool["annotations"];
        assert_eq!(annotations["openWorldHint"], false, "{name}");
        let change = WRITING.iter().find(|(change, _)| *change == name);
        assert_eq!(annotations["readOnlyHint"], change.is_none(), "{name}");
        if let Some((_, is_destructive)) = change {
            assert_eq!(annotations["destructiveHint"], *is_destructive, "{name}");
            assert_eq!(annotations["idempotentHint"], true, "{name}");
        }
        assert!(!tool["description"].as_str().expect("a description").is_empty());
        for schema in ["inputSchema", "outputSchema"] {
            assert_eq!(tool[schema]["type"], "object", "{name}");
            let text = tool[schema].to_string();
            for word in ["#/components", "customer_email"] {
                assert!(!text.contains(word), "{name}: {word} in {text}");
            }
        }
        let properties = tool["inputSchema"]["properties"].as_object().expect("arguments");
        for (argument, schema) in properties {
            assert!(schema["description"].is_string(), "{name}: {argument}");
            assert!(!["validateOnly", "minRevision"].contains(&argument.as_str()), "{name}");
        }
    }
    let instructions = mcp.hello["instructions"].as_str().expect("instructions");
    assert!(
        instructions.contains("\"acme\"") && instructions.contains("preview"),
        "{instructions}"
    );
    mcp.end().await;
    server.stop().await;
}

async fn look_ups(database: &TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let mut mcp = Mcp::start(&server, &key).await;
    let john = json!({ "customerEmail": "john.doe@example.com" });

    let owners = mcp
        .call(
            "get_device_owners",
            json!({ "deviceIdentifiers": ["SN-001", "SN-002", "SN-9"] }),
        )
        .await;
    let found: Vec<_> = owners["devices"].as_array().expect("devices").iter().collect();
    assert_eq!(found[0]["owners"], json!([]));
    assert_eq!(found[1]["owners"][0]["email"], "john.doe@example.com");
    assert_eq!(found[2]["found"], false);

    let devices = mcp.call("list_customer_devices", john).await;
    assert_eq!(devices["devices"][0]["identifier"], "SN-002");
    let customer = mcp
        .call("get_customer", json!({ "email": "john.doe@example.com" }))
        .await;
    assert_eq!(customer["devicesCount"], 1);
    let customers = mcp.call("search_customers", json!({ "emailPrefix": "john" })).await;
    assert_eq!(customers["customers"][0]["id"], customer["id"]);
    let none = mcp.call("search_customers", json!({ "emailPrefix": "ann" })).await;
    assert_eq!(none["customers"], json!([]));
    let device = mcp.call("get_device", json!({ "identifier": "SN-002" })).await;
    assert_eq!(device["ownersCount"], 1);
    let page = mcp
        .call("search_devices", json!({ "prefix": "SN-", "pageSize": 1 }))
        .await;
    let rest = json!({ "prefix": "SN-", "pageSize": 1, "pageToken": page["nextPageToken"] });
    let rest = mcp.call("search_devices", rest).await;
    let listed = [&page, &rest].map(|page| page["devices"][0]["identifier"].as_str());
    assert_eq!(listed, [Some("SN-001"), Some("SN-002")]);

    // Names are added unless the caller does not want them; revisions are text or numbers.
    let all = mcp.call("list_changes", json!({})).await;
    let newest: u64 = all["revision"].as_str().expect("a revision").parse().expect("a number");
    for before in [json!(newest - 1), json!((newest - 1).to_string())] {
        let last = mcp.call("list_changes", json!({ "afterRevision": before })).await;
        assert_eq!(last["changes"].as_array().map(Vec::len), Some(1));
        assert_eq!(last["changes"][0]["kind"], "assign");
        assert_eq!(last["changes"][0]["customers"][0]["email"], "john.doe@example.com");
    }
    let bare = json!({ "afterRevision": newest - 1, "includeNames": false, "pageSize": 1 });
    assert_eq!(
        mcp.call("list_changes", bare).await["changes"][0]["customers"],
        json!([])
    );
    mcp.end().await;
    server.stop().await;
}

async fn changes(database: &TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let mut mcp = Mcp::start(&server, &key).await;
    let request = |email: &str, device: &str| json!({ "customerEmail": email, "deviceIdentifiers": [device] });
    let with_token = |mut request: Value, token: &Value| {
        request["previewToken"] = token.clone();
        request
    };
    // Each with a device that has the effect, and another one.
    let cases = [
        ("assign_devices", "ann@example.com", "assignedDevices"),
        ("transfer_devices", "bob@example.com", "assignedDevices"),
        ("unassign_devices", "bob@example.com", "unassignedDevices"),
    ];
    for (tool, email, member) in cases {
        let before = database.dump().await;
        let preview = mcp.call(&format!("preview_{tool}"), request(email, "SN-001")).await;
        let token = &preview["previewToken"];
        assert_eq!(
            preview["preview"][member].as_array().map(Vec::len),
            Some(1),
            "{preview}"
        );

        // Nothing changes without the token of this very call.
        for wrong in [
            request(email, "SN-001"),
            with_token(request(email, "SN-001"), &json!("0190163d-8694-739b-aea5-966c26f8ad91")),
            with_token(request(email, "SN-001"), &json!(1)),
            with_token(request(email, "SN-002"), token),
            with_token(request("eve@example.com", "SN-001"), token),
        ] {
            let error = mcp.fails(tool, wrong).await;
            let message = error["message"].as_str().expect("a message");
            assert!(message.contains(&format!("preview_{tool}")), "{message}");
        }
        for (other, _, _) in cases.into_iter().filter(|(other, _, _)| *other != tool) {
            mcp.fails(other, with_token(request(email, "SN-001"), token)).await;
        }
        assert_eq!(database.dump().await, before, "{tool}");

        // null is the same as an absent argument.
        let mut same = with_token(request(email, "SN-001"), token);
        if tool != "unassign_devices" {
            same["autoCreateDevices"] = Value::Null;
        }
        let answer = mcp.call(tool, same.clone()).await;
        assert_eq!(answer[member].as_array().map(Vec::len), Some(1), "{answer}");
        assert_ne!(answer["customerId"], "", "{answer}");
        let after = database.dump().await;
        assert_ne!(after, before, "{tool}");
        assert_eq!(
            mcp.call(tool, same).await,
            answer,
            "the same call again gets the same answer"
        );
        assert_eq!(database.dump().await, after, "and changes nothing");
    }
    mcp.end().await;
    server.stop().await;
}

async fn errors(database: &TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let mut mcp = Mcp::start(&server, &key).await;

    // The service's reason, and the arguments by the names that they have here.
    let unknown = mcp.fails("get_customer", json!({ "email": "eve@example.com" })).await;
    assert_eq!(unknown["code"], "NOT_FOUND");
    assert_eq!(unknown["reason"], "CUSTOMER_NOT_FOUND");
    assert!(unknown["requestId"].is_string(), "{unknown}");
    let invalid = json!({ "customerEmail": "john", "deviceIdentifiers": ["SN-001", ""] });
    let invalid = mcp.fails("preview_assign_devices", invalid).await;
    assert_eq!(invalid["reason"], "INVALID_REQUEST");
    let fields = invalid["fieldViolations"].as_array().expect("violations");
    let fields: Vec<_> = fields.iter().map(|violation| &violation["field"]).collect();
    assert_eq!(fields, ["customerEmail", "deviceIdentifiers[1]"]);

    let cases = [
        (json!({ "deviceIdentifiers": "SN-001" }), "deviceIdentifiers: "),
        (json!({ "devices": ["SN-001"] }), "\"devices\" is not an argument"),
        (
            json!({ "deviceIdentifiers": ["SN-001"], "validateOnly": true }),
            "\"validateOnly\" is not an argument",
        ),
    ];
    for (arguments, expected) in cases {
        let error = mcp.fails("preview_assign_devices", arguments).await;
        assert_eq!(error["code"], "INVALID_ARGUMENT");
        let message = error["message"].as_str().expect("a message");
        assert!(message.starts_with(expected), "{message}");
    }
    let nothing = mcp.result("delete_everything", &json!({})).await;
    assert_eq!(nothing["protocolError"], "there is no tool with this name");

    // A service that is away fails the call, not the server of the tools.
    server.stop().await;
    let away = mcp.fails("get_device", json!({ "identifier": "SN-001" })).await;
    assert_eq!(away["code"], "UNAVAILABLE");
    assert!(
        away["message"].as_str().expect("a message").contains("no response"),
        "{away}"
    );
    mcp.end().await;
}

async fn reader(database: &TestDatabase) {
    world(database).await;
    let key = read_key(database, "acme").await;
    let server = TestServer::start(database).await;
    let mut mcp = Mcp::start(&server, &key).await;
    assert_eq!(mcp.names(), READING);
    let instructions = mcp.hello["instructions"].as_str().expect("instructions");
    assert!(instructions.contains("may only read"), "{instructions}");
    let rejected = mcp.result("assign_devices", &json!({})).await;
    assert_eq!(rejected["protocolError"], "there is no tool with this name");
    mcp.call("get_device", json!({ "identifier": "SN-001" })).await;
    mcp.end().await;
    server.stop().await;
}

async fn configuration() {
    let guide = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/MCP.md")).expect("the guide");
    let (_, json) = guide.split_once("```json\n").expect("a configuration");
    let (json, _) = json.split_once("```").expect("an end");
    let configuration: Value = serde_json::from_str(json).expect("JSON");
    let server = &configuration["mcpServers"]["device-assignment"];
    let words = [&server["command"]]
        .into_iter()
        .chain(server["args"].as_array().expect("a list"));
    let words = words.map(|word| word.as_str().expect("text"));
    let parsed = device_assignment::cli::command().try_get_matches_from(words);
    assert!(parsed.is_ok(), "{parsed:?}");
    // Its table has the tools.
    let writing = WRITING.map(|(name, _)| [name.to_owned(), format!("preview_{name}")]);
    let tools = READING
        .map(str::to_owned)
        .into_iter()
        .chain(writing.into_iter().flatten());
    for tool in tools {
        assert!(guide.contains(&format!("`{tool}`")), "{tool}");
    }
}

async fn start_and_end(database: &TestDatabase) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let url = format!("http://{}", server.grpc);
    let run = async |url: &str, key: &str| {
        let mut command = command(&["mcp", "--server", url]);
        command.env("DEVICE_ASSIGNMENT_API_KEY", key);
        finish(command).await
    };
    // Standard input is closed at once.
    let output = run(&url, &key).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output), "");

    let cases = [
        (url.as_str(), "", 2, "the API key is missing"),
        (&url, "tlm_unknown", 1, "rejects the API key"),
        ("host:50051", &key, 2, "write http://host:50051"),
    ];
    for (url, key, code, expected) in cases {
        let said = refused(&run(url, key).await, code);
        assert!(said.contains(expected), "{said}");
    }
    let rest = format!("http://{}", server.rest);
    let said = refused(&run(&rest, &key).await, 1);
    assert!(said.contains("check --server: it is the address for gRPC"), "{said}");
    server.stop().await;
    let said = refused(&run(&url, &key).await, 1);
    assert!(said.contains("cannot be reached"), "{said}");
}
