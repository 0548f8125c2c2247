//! The deployment files: every setting, metric and alert in them exists, and the systemd unit starts without settings.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use tempfile::TempDir;

use crate::support::{
    Program, Suite,
    program::{command, finish, run, stdout},
};

const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yml");
const ALERTS_TEST: &str = include_str!("../../deploy/prometheus/alerts_test.yml");
const DASHBOARD: &str = include_str!("../../deploy/grafana/device-assignment.json");
const METRICS: &str = include_str!("../../docs/METRICS.md");
const UNIT: &str = include_str!("../../deploy/systemd/device-assignment.service");
const VERIFY: &str = include_str!("../../deploy/systemd/device-assignment-verify.service");
const OPERATIONS: &str = include_str!("../../docs/OPERATIONS.md");

/// Files that name settings by environment variable.
const SETTINGS: [(&str, &str); 6] = [
    ("Dockerfile", include_str!("../../deploy/Dockerfile")),
    ("compose.yaml", include_str!("../../deploy/compose.yaml")),
    ("config.yaml", include_str!("../../deploy/kubernetes/config.yaml")),
    ("verify.yaml", include_str!("../../deploy/kubernetes/verify.yaml")),
    ("device-assignment.service", UNIT),
    ("device-assignment-verify.service", VERIFY),
];

/// Variables in these files that other programs read.
const OF_OTHERS: [&str; 5] = [
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
    "POSTGRES_DB",
    "GF_AUTH_ANONYMOUS_ENABLED",
    "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH",
];

pub fn register(suite: &mut Suite) {
    suite.test("deploy::settings_are_those_of_the_program", settings);
    suite.test("deploy::metrics_are_those_that_are_documented", metrics);
    suite.test("deploy::each_alert_is_tested_and_explained", alerts);
    suite.test("deploy::the_systemd_unit_starts_without_settings", unit);
}

/// The words of `text` that consist of `alphabet` and have several parts.
fn words(text: &str, alphabet: fn(char) -> bool) -> BTreeSet<&str> {
    text.split(|char| !alphabet(char))
        .filter(|word| word.trim_matches('_').contains('_'))
        .collect()
}

async fn settings() {
    let known = stdout(&run(&["config", "default"]).await);
    let is_of_a_variable = |char: char| char.is_ascii_uppercase() || char == '_';
    let known = words(&known, is_of_a_variable);
    for (file, text) in SETTINGS {
        let text: String = text
            .lines()
            .filter(|line| !line.trim().starts_with('#'))
            .collect::<Vec<_>>()
            .join("\n");
        let named = words(&text, is_of_a_variable);
        let is_foreign = |name: &&&str| {
            OF_OTHERS.contains(name) || **name == "CONFIG_FILE" || name.contains("INET") || **name == "AF_UNIX"
        };
        let unknown: Vec<_> = named.difference(&known).filter(|name| !is_foreign(name)).collect();
        assert!(unknown.is_empty(), "{file} sets what nobody reads: {unknown:?}");
        assert!(named.intersection(&known).count() > 0, "{file}");
    }
}

/// The documented metric that has this name in Prometheus.
fn documented<'a>(name: &'a str, documented: &BTreeSet<&str>) -> Option<&'a str> {
    let parts = ["", "_bucket", "_sum", "_count"];
    let names = parts.iter().filter_map(|part| name.strip_suffix(part));
    names.into_iter().find(|name| documented.contains(name))
}

async fn metrics() {
    let is_of_a_name = |char: char| char.is_ascii_lowercase() || char == '_';
    let rows = METRICS.lines().filter(|line| line.starts_with("| `"));
    // The first cell of a row. Another test compares these names with those that are exported.
    let known: BTreeSet<&str> = rows.filter_map(|line| line.split('`').nth(1)).collect();
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let expressions = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let expressions = expressions.map(|target| target["expr"].as_str().expect("an expression"));
    let prefixes = ["device_assignment_", "rpc_server_", "http_server_", "process_"];
    let mut used = BTreeSet::new();
    for text in expressions.chain(ALERTS.lines()) {
        for name in words(text, is_of_a_name) {
            if !prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let found =
                documented(name, &known).unwrap_or_else(|| panic!("{name} is not a metric of the service: {text}"));
            used.insert(found);
        }
    }
    // An empty dashboard would pass.
    assert!(used.len() > 20, "{used:?}");
}

async fn alerts() {
    let alerts = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: BTreeSet<&str> = alerts.collect();
    assert!(!alerts.is_empty());
    let explained: BTreeSet<&str> = OPERATIONS
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|heading| heading.starts_with("DeviceAssignment"))
        .collect();
    assert_eq!(alerts, explained);
    for alert in alerts {
        assert!(
            ALERTS_TEST.contains(&format!("alertname=\"{alert}\"")),
            "{alert} is not tested"
        );
    }
}

/// Its commands succeed in an empty directory with nothing but the environment that it sets, on a SQLite database.
async fn unit() {
    let folder = TempDir::new().expect("a folder");
    let values_in = |unit: &str, name: &str| {
        let prefix = format!("{name}=");
        let lines = unit
            .lines()
            .filter_map(move |line| line.strip_prefix(&prefix).map(str::to_owned));
        lines.collect::<Vec<_>>()
    };
    let values = |name: &str| values_in(UNIT, name);
    let with_environment = |line: &str| {
        let (program, arguments) = line.split_once(' ').expect("arguments");
        assert_eq!(program, "/usr/local/bin/device-assignment");
        let mut command = command(&arguments.split(' ').collect::<Vec<_>>());
        command.current_dir(folder.path());
        for variable in values("Environment").iter().flat_map(|line| line.split(' ')) {
            let (name, value) = variable.split_once('=').expect("a value");
            command.env(name, value);
        }
        command
    };
    // A file or a group that is not there would keep the unit from starting.
    let required: Vec<String> = values("EnvironmentFile")
        .into_iter()
        .filter(|file| !file.starts_with('-'))
        .collect();
    assert_eq!(required, [""; 0]);
    assert_eq!(values("SupplementaryGroups"), [""; 0]);
    for line in values("ExecStartPre") {
        let output = finish(with_environment(&line)).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    let [serve] = &values("ExecStart")[..] else {
        panic!("one program");
    };
    let program = Program::spawn(with_environment(serve)).await;
    let ready = reqwest::get(format!("http://{}/readyz", program.admin))
        .await
        .expect("an answer");
    assert_eq!(ready.status(), 200);
    let files = fs::read_dir(folder.path()).expect("a folder");
    let names: Vec<_> = files.map(|file| file.expect("a file").file_name()).collect();
    assert!(names.iter().any(|name| name == "device-assignment.db"), "{names:?}");
    // Beside the service, which has the database open.
    for line in values_in(VERIFY, "ExecStart") {
        let output = finish(with_environment(&line)).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    for name in ["DynamicUser", "StateDirectory", "WorkingDirectory", "EnvironmentFile"] {
        assert_eq!(values_in(VERIFY, name), values(name));
    }
    // The name of a dynamic user is that of its unit, unless another one is given.
    assert_eq!(values_in(VERIFY, "User"), ["device-assignment"]);
    program.terminate().await;
}
