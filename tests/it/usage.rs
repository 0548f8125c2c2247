//! What the program says about itself.

use tempfile::TempDir;

use crate::support::{
    Suite,
    program::{command, finish, refused, run, stderr, stdout},
};

/// Every subcommand, with the environment variables that its help must name.
const SUBCOMMANDS: [(&str, &[&str]); 20] = [
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
            "WRITER_LANES",
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
    ("config", &["CONFIG_FILE"]),
    ("config default", &[]),
    ("config check", &["CONFIG_FILE"]),
    ("config check serve", &["DATABASE_URL", "GRPC_ADDR"]),
    ("config check gateway", &["UPSTREAM", "REST_ADDR"]),
    ("openapi", &[]),
    ("", &[]),
];

pub fn register(suite: &mut Suite) {
    suite.test("usage::every_subcommand_has_help", help);
    suite.test("usage::top_level_help_begins_with_examples", examples);
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
        "serve --writer-lanes 0",
        "serve --writer-lanes 65",
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
