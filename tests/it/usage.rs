//! What the program says about itself.

use std::collections::BTreeSet;

use tempfile::TempDir;

use crate::support::{
    Suite,
    program::{command, finish, refused, run, stderr, stdout},
};

/// The variables of commands that call a running service, and of those that do so in bulk.
const CLIENT: [&str; 5] = [
    "DEVICE_ASSIGNMENT_SERVER",
    "DEVICE_ASSIGNMENT_CA",
    "DEVICE_ASSIGNMENT_API_KEY_FILE",
    "DEVICE_ASSIGNMENT_TIMEOUT",
    "DEVICE_ASSIGNMENT_RETRY_FOR",
];
const BULK: [&str; 6] = [
    CLIENT[0],
    CLIENT[1],
    CLIENT[2],
    CLIENT[3],
    CLIENT[4],
    "DEVICE_ASSIGNMENT_PARALLEL",
];

/// Every subcommand, with the environment variables that its help must name.
pub const SUBCOMMANDS: [(&str, &[&str]); 37] = [
    (
        "serve",
        &[
            "DATABASE_URL",
            "GRPC_ADDR",
            "REST_ADDR",
            "ADMIN_ADDR",
            "MAX_DEVICES_PER_REQUEST",
            "MIGRATE",
            "HEALTH_INTERVAL",
            "HEALTH_TIMEOUT",
            "SHUTDOWN_GRACE",
            "TLS_CERT",
            "TLS_KEY",
            "TLS_CLIENT_CA",
            "TLS_HANDSHAKE_TIMEOUT",
            "TLS_RELOAD_INTERVAL",
            "PLAINTEXT",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "OTEL_TRACES_SAMPLER_ARG",
            "KEY_CALLS_PER_SECOND",
            "KEY_CALLS_BURST",
            "KEY_DEVICES_PER_SECOND",
            "KEY_DEVICES_BURST",
            "FAILED_KEYS_PER_SECOND",
            "FAILED_KEYS_BURST",
            "MAX_IN_FLIGHT",
            "QUEUE_CALLS",
            "QUEUE_DEVICES",
            "WRITER_WORKERS",
            "KEY_USAGE_INTERVAL",
            "KEY_EXPIRY_WARNING",
            "TRUSTED_PROXIES",
        ],
    ),
    (
        "gateway",
        &[
            "UPSTREAM",
            "REST_ADDR",
            "ADMIN_ADDR",
            "MAX_REQUEST_BYTES",
            "REQUEST_TIMEOUT",
            "HEALTH_INTERVAL",
            "SHUTDOWN_GRACE",
            "TLS_CERT",
            "TLS_KEY",
            "PLAINTEXT",
            "UPSTREAM_CA",
            "UPSTREAM_CERT",
            "UPSTREAM_KEY",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "TRUSTED_PROXIES",
        ],
    ),
    ("health", &["ADMIN_ADDR"]),
    ("migrate", &["DATABASE_URL", "CONNECT_TIMEOUT"]),
    ("organization", &[]),
    ("organization create", &["DATABASE_URL"]),
    ("organization list", &["DATABASE_URL"]),
    ("api-key", &[]),
    ("api-key create", &["DATABASE_URL"]),
    ("api-key list", &["DATABASE_URL"]),
    ("api-key revoke", &["DATABASE_URL"]),
    ("device", &[]),
    ("device import", &["DATABASE_URL"]),
    ("verify", &["DATABASE_URL"]),
    ("new-history", &["DATABASE_URL"]),
    ("config", &["CONFIG_FILE"]),
    ("config default", &[]),
    ("config check", &["CONFIG_FILE"]),
    ("config check serve", &["DATABASE_URL", "GRPC_ADDR"]),
    ("config check gateway", &["UPSTREAM", "REST_ADDR"]),
    ("openapi", &[]),
    ("device show", &["DATABASE_URL"]),
    ("customer", &[]),
    ("customer show", &["DATABASE_URL"]),
    ("assign", &BULK),
    ("transfer", &BULK),
    ("unassign", &BULK),
    ("owners", &CLIENT),
    ("devices", &CLIENT),
    ("customers", &CLIENT),
    ("device delete", &CLIENT),
    ("customer delete", &CLIENT),
    (
        "changes",
        &[
            "DEVICE_ASSIGNMENT_SERVER",
            "DEVICE_ASSIGNMENT_CA",
            "DEVICE_ASSIGNMENT_API_KEY_FILE",
            "DEVICE_ASSIGNMENT_WEBHOOK",
            "DEVICE_ASSIGNMENT_CURSOR",
            "DEVICE_ASSIGNMENT_WEBHOOK_SECRET",
            "DEVICE_ASSIGNMENT_WEBHOOK_SECRET_FILE",
            "DEVICE_ASSIGNMENT_WEBHOOK_CA",
            "DEVICE_ASSIGNMENT_WEBHOOK_TIMEOUT",
        ],
    ),
    (
        "mcp",
        &[
            "DEVICE_ASSIGNMENT_SERVER",
            "DEVICE_ASSIGNMENT_CA",
            "DEVICE_ASSIGNMENT_API_KEY_FILE",
        ],
    ),
    ("completions", &[]),
    ("man", &[]),
    ("", &[]),
];

pub fn register(suite: &mut Suite) {
    suite.test("usage::every_subcommand_has_help", help);
    suite.test("usage::top_level_help_begins_with_examples", examples);
    suite.test("usage::every_help_begins_with_examples", begins_with_examples);
    suite.test("usage::every_subcommand_is_known_here", complete);
    suite.test("usage::a_slip_of_the_finger_is_understood", suggestions);
    suite.test("usage::completions_for_every_shell", completions);
    suite.test("usage::bash_completes_what_was_begun", completions_of_bash);
    suite.test("usage::a_manual_page_for_every_subcommand", manual);
    suite.test("usage::unknown_flags_are_a_mistake_of_usage", unknown_flags);
    suite.test("usage::values_that_do_not_parse_are_a_mistake_of_usage", values);
}

async fn help() {
    for (subcommand, variables) in SUBCOMMANDS {
        let mut arguments: Vec<&str> = subcommand.split_whitespace().collect();
        arguments.push("--help");
        let output = command(&arguments)
            .env("DATABASE_URL", "postgres://app:canary-password@db/devices")
            .output()
            .await
            .expect("the program runs");
        let help = stdout(&output);
        assert_eq!(output.status.code(), Some(0), "{subcommand}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{subcommand}");
        let usage = format!("Usage: device-assignment {subcommand}");
        assert!(help.contains(usage.trim_end()), "{help}");
        assert!(!help.contains("canary-password"), "{help}");
        for variable in variables.iter().chain(&["LOG_FORMAT"]) {
            assert!(help.contains(&format!("[env: {variable}")), "{variable}: {help}");
        }
    }
}

async fn examples() {
    let output = run(&["--help"]).await;
    assert!(stdout(&output).starts_with("Examples:\n  device-assignment serve\n"));
}

async fn begins_with_examples() {
    for (subcommand, _) in SUBCOMMANDS {
        let mut command = command(&[]);
        command
            .args(subcommand.split_whitespace())
            .arg("--help")
            .env("COLUMNS", "80");
        let help = stdout(&finish(command).await);
        let examples = help.strip_prefix("Examples:\n");
        let examples = examples.unwrap_or_else(|| panic!("{subcommand}: {help}"));
        let (examples, _) = examples.split_once("\n\n").expect("a paragraph");
        let of_this = format!("device-assignment {subcommand}");
        assert!(examples.contains(of_this.trim_end()), "{subcommand}: {examples}");
        for example in examples.replace("\\\n", "").lines() {
            assert!(example.starts_with("  "), "wrapped at 80 columns: {example}");
            try_out(example);
        }
        for line in help.lines() {
            // Only clap's line of usage is not wrapped.
            assert!(
                line.chars().count() <= 80 || line.contains("device-assignment "),
                "{line}"
            );
        }
    }
}

/// Checks the arguments of an example, if it is a command line of the program.
fn try_out(example: &str) {
    let Some((_, arguments)) = example.split_once("device-assignment ") else {
        return;
    };
    if example.starts_with("      ") {
        return;
    }
    let end = arguments.find(['|', '>', ')']).unwrap_or(arguments.len());
    let mut words = vec!["device-assignment".to_owned()];
    // Every second part is in quotes.
    for (index, part) in arguments[..end].split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    let parsed = device_assignment::cli::command().try_get_matches_from(&words);
    assert!(parsed.is_ok(), "{example}: {}", parsed.expect_err("an error"));
}

/// The list above has them all, nested ones, too.
async fn complete() {
    fn collect(command: &clap::Command, path: &str, names: &mut BTreeSet<String>) {
        names.insert(path.trim_start().to_owned());
        for subcommand in command.get_subcommands() {
            collect(subcommand, &format!("{path} {}", subcommand.get_name()), names);
        }
    }
    let mut names = BTreeSet::new();
    collect(&device_assignment::cli::command(), "", &mut names);
    let listed = SUBCOMMANDS.iter().map(|(name, _)| (*name).to_owned());
    assert_eq!(names, listed.collect());
}

async fn suggestions() {
    for (arguments, meant) in [
        ("migrat", "'migrate'"),
        ("customer shw ann@example.com", "'show'"),
        ("device imprt", "'import'"),
        ("assign --custmer ann@example.com SN-1", "'--customer'"),
        ("device import --organisation acme list.csv", "'--organization'"),
    ] {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let said = refused(&run(&arguments).await, 2);
        assert!(said.contains("tip: a similar") && said.contains(meant), "{said}");
    }
    let said = refused(&run(&["asign"]).await, 2);
    assert!(said.contains("tip: some similar"), "{said}");
    assert!(said.contains("'assign'") && said.contains("'unassign'"), "{said}");
}

async fn completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = run(&["completions", shell]).await;
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        for word in ["device-assignment", "assign", "skipped", "customer"] {
            assert!(stdout(&output).contains(word), "{shell}: {word}");
        }
    }
    refused(&run(&["completions", "tcsh"]).await, 2);
}

/// What bash offers for the last word.
async fn completed(words: &[&str]) -> Vec<String> {
    let script = stdout(&run(&["completions", "bash"]).await);
    let ask = format!(
        "{script}\nCOMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1))\n\
         function=$(complete -p device-assignment); function=${{function##*-F }}\n\
         \"${{function%% *}}\" device-assignment \"${{!#}}\" assign; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let mut bash = tokio::process::Command::new("bash");
    bash.args(["--norc", "-c", &ask, "bash"]).args(words);
    let offered = finish(bash).await;
    stdout(&offered).lines().map(str::to_owned).collect()
}

async fn completions_of_bash() {
    assert_eq!(
        completed(&["device-assignment", "cust"]).await,
        ["customer", "customers"]
    );
    assert_eq!(
        completed(&["device-assignment", "assign", "--ski"]).await,
        ["--skipped"]
    );
    assert_eq!(
        completed(&["device-assignment", "api-key", "create", "--lab"]).await,
        ["--label"]
    );
}

async fn manual() {
    let folder = TempDir::new().expect("a folder");
    let mut command = command(&["man", "--dir", "."]);
    command
        .current_dir(folder.path())
        .env("DATABASE_URL", "postgres://app:canary-password@db/devices")
        .env("DEVICE_ASSIGNMENT_API_KEY", "canary-password");
    let output = finish(command).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for (subcommand, _) in SUBCOMMANDS {
        let words: Vec<&str> = subcommand.split_whitespace().collect();
        let name = [&["device-assignment"], words.as_slice()].concat().join("-");
        let path = folder.path().join(format!("{name}.1"));
        let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
        assert!(!page.contains("canary-password"), "{page}");
        let printed = stdout(&run(&[&["man"], words.as_slice()].concat()).await);
        assert_eq!(printed.lines().next(), page.lines().next());
        assert!(printed.contains(&format!(".TH {name} 1")), "{printed}");
    }
    assert!(stdout(&run(&["man", "assign"]).await).contains("Examples:"));
    refused(&run(&["man", "asign"]).await, 2);
    let nowhere = finish({
        let mut command = crate::support::program::command(&["man", "--dir", "missing"]);
        command.current_dir(folder.path());
        command
    })
    .await;
    refused(&nowhere, 1);
}

async fn unknown_flags() {
    let folder = TempDir::new().expect("a folder");
    for (subcommand, _) in SUBCOMMANDS {
        let mut arguments: Vec<&str> = subcommand.split_whitespace().collect();
        arguments.push("--no-such-flag");
        let mut command = command(&arguments);
        command.current_dir(folder.path());
        let output = finish(command).await;
        let said = refused(&output, 2);
        assert!(said.contains("--no-such-flag"), "{subcommand}: {said}");
    }
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 0);
}

async fn values() {
    let folder = TempDir::new().expect("a folder");
    for arguments in [
        "serve --grpc-addr nowhere",
        "serve --rest-addr 127.0.0.1:99999",
        "serve --max-devices-per-request 0",
        "serve --max-request-bytes many",
        "serve --request-timeout soon",
        "serve --request-timeout 0s",
        "serve --request-timeout 18446744073709551615s",
        "gateway --upstream http://127.0.0.1:1 --request-timeout 25h",
        "serve --connect-timeout 2",
        "serve --key-calls-per-second -1",
        "serve --key-calls-per-second 1000000001",
        "serve --key-calls-burst 0",
        "serve --key-devices-burst 9999",
        "serve --key-devices-burst 20000 --max-devices-per-request 20001",
        "serve --failed-keys-per-second some",
        "serve --failed-keys-burst 0",
        "serve --max-in-flight -1",
        "serve --queue-calls 0",
        "serve --queue-devices 0",
        "serve --writer-workers 0",
        "serve --writer-workers 65",
        "serve --key-usage-interval 0s",
        "serve --key-expiry-warning soon",
        "serve --trusted-proxies 10.0.0.0/33",
        "serve --trusted-proxies 10.0.0.1,proxy.example.com",
        "gateway --upstream http://127.0.0.1:1 --trusted-proxies everyone",
        "serve --log-format xml",
        "gateway",
        "gateway --upstream ftp://127.0.0.1",
        "gateway --upstream /",
        "device import --organization acme",
        "device import list.csv",
        "api-key create",
        "no-such-subcommand",
    ] {
        let parts: Vec<&str> = arguments.split_whitespace().collect();
        let mut command = command(&parts);
        command.current_dir(folder.path());
        let output = finish(command).await;
        refused(&output, 2);
    }
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 0);
}
