//! Clients that tools generate from the OpenAPI description. Each must accept the documented calls and get their answers.
//!
//! The tools are pinned in `tests/generated_clients/`; `.ci/run` installs them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    openapi::example_requests,
    support::{
        Program, Suite, TestDatabase,
        example::clean,
        organization,
        program::{finish, is_on_path, stderr, stdout},
    },
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/generated_clients");
const DESCRIPTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");

/// What each client prints on a new database.
const EXPECTED: &str = "\
Successfully assigned 3 device(s) to customer SN-001 SN-002 SN-003 \n\
Successfully assigned 3 device(s) to customer  \n\
INVALID_ARGUMENT customerEmail\n\
acme\n";

pub fn register(suite: &mut Suite) {
    suite.with_tools("generated_clients::openapi_typescript", no_typescript, typescript);
    suite.with_tools("generated_clients::openapi_python_client", no_python, python);
}

fn folder(path: &str) -> PathBuf {
    Path::new(FOLDER).join(path)
}

fn missing(path: &str) -> Option<String> {
    let path = folder(path);
    (!path.exists()).then(|| format!("there is no {}", path.display()))
}

fn no_typescript() -> Option<String> {
    let node = (!is_on_path("node")).then(|| "node is not on the PATH".to_owned());
    node.or_else(|| missing("typescript/node_modules"))
}

fn no_python() -> Option<String> {
    missing("python/.venv/bin/python")
}

/// The output of a command that must succeed.
async fn run(command: Command) -> Output {
    let output = finish(command).await;
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    output
}

async fn typescript(database: &TestDatabase) {
    let work = TempDir::new().expect("a folder");
    let modules = folder("typescript/node_modules");
    std::os::unix::fs::symlink(&modules, work.path().join("node_modules")).expect("a link");
    for file in ["assign.ts", "package.json"] {
        fs::copy(folder("typescript").join(file), work.path().join(file)).expect("copied");
    }
    // The compiler checks a literal more strictly than a value of a declared type.
    let examples = serde_json::to_string_pretty(&example_requests()).expect("JSON");
    let examples = format!(
        "import type {{ components }} from \"./schema.js\";\n\
         type Request = components[\"schemas\"][\"AssignDevicesToOwnerRequest\"];\n\
         export const examples: Request[] = {examples};\n"
    );
    fs::write(work.path().join("examples.ts"), examples).expect("written");
    let tool = |name: &str| {
        let mut command = clean(modules.join(".bin").join(name));
        command.current_dir(work.path());
        command
    };
    let mut generate = tool("openapi-typescript");
    generate.args([DESCRIPTION, "--output", "schema.d.ts"]);
    run(generate).await;
    let mut compile = tool("tsc");
    compile.args([
        "--strict",
        "--target",
        "es2022",
        "--module",
        "nodenext",
        "--lib",
        "es2022,dom",
        "assign.ts",
    ]);
    run(compile).await;

    let mut call = clean("node");
    call.current_dir(work.path()).arg("assign.js");
    assert_eq!(called(database, call, None).await, EXPECTED);
}

async fn python(database: &TestDatabase) {
    let work = TempDir::new().expect("a folder");
    let tools = folder("python/.venv/bin");
    let mut generate = clean(tools.join("openapi-python-client"));
    // It formats what it generates with ruff.
    let path = std::env::var("PATH").unwrap_or_default();
    generate.env("PATH", format!("{}:{path}", tools.display())).args([
        "generate",
        "--path",
        DESCRIPTION,
        "--meta=none",
        "--fail-on-warning",
        "--output-path",
    ]);
    generate.arg(work.path().join("device_assignment_client"));
    run(generate).await;

    let mut call = clean(tools.join("python"));
    call.env("PYTHONPATH", work.path()).arg(folder("python/assign.py"));
    assert_eq!(called(database, call, Some(&example_requests())).await, EXPECTED);
}

/// What a client prints that is called with the address of a service and a key of it.
async fn called(database: &TestDatabase, mut client: Command, input: Option<&Value>) -> String {
    let key = organization(database, "acme").await;
    let server = Program::serve(database.url()).await;
    client.args([format!("http://{}", server.rest), key]);
    client.stdin(std::process::Stdio::piped());
    let mut client = client.spawn().expect("a program");
    let mut stdin = client.stdin.take().expect("a pipe");
    if let Some(input) = input {
        stdin.write_all(input.to_string().as_bytes()).await.expect("written");
    }
    drop(stdin);
    let output = client.wait_with_output().await.expect("an end");
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    server.terminate().await;
    stdout(&output)
}
