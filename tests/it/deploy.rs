//! The files to deploy the service with: each setting, figure and alert that they name exists.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{
    Suite,
    program::{run, stdout},
};

const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yml");
const ALERTS_TEST: &str = include_str!("../../deploy/prometheus/alerts_test.yml");
const DASHBOARD: &str = include_str!("../../deploy/grafana/device-assignment.json");
const METRICS: &str = include_str!("../../docs/METRICS.md");
const OPERATIONS: &str = include_str!("../../docs/OPERATIONS.md");

/// Where settings are named by their environment variables.
const SETTINGS: [(&str, &str); 4] = [
    ("Dockerfile", include_str!("../../deploy/Dockerfile")),
    ("compose.yaml", include_str!("../../deploy/compose.yaml")),
    ("config.yaml", include_str!("../../deploy/kubernetes/config.yaml")),
    (
        "device-assignment.service",
        include_str!("../../deploy/systemd/device-assignment.service"),
    ),
];

/// Variables in these files that are those of others.
const OF_OTHERS: [&str; 5] = [
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
    "POSTGRES_DB",
    "GF_AUTH_ANONYMOUS_ENABLED",
    "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH",
];

pub fn register(suite: &mut Suite) {
    suite.test("deploy::settings_are_those_of_the_program", settings);
    suite.test("deploy::figures_are_those_that_are_documented", figures);
    suite.test("deploy::each_alert_is_tested_and_explained", alerts);
}

/// The words of `text` that are made of `alphabet` and more than one part.
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

/// A name as Prometheus has it for one that is documented.
fn documented<'a>(name: &'a str, documented: &BTreeSet<&str>) -> Option<&'a str> {
    let parts = ["", "_bucket", "_sum", "_count"];
    let names = parts.iter().filter_map(|part| name.strip_suffix(part));
    names.into_iter().find(|name| documented.contains(name))
}

async fn figures() {
    let is_of_a_name = |char: char| char.is_ascii_lowercase() || char == '_';
    let rows = METRICS.lines().filter(|line| line.starts_with("| `"));
    // The first cell of a row: what is exported is held to that by a test of its own.
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
                documented(name, &known).unwrap_or_else(|| panic!("{name} is no figure of the service: {text}"));
            used.insert(found);
        }
    }
    // A dashboard that shows nothing would pass.
    assert!(used.len() > 20, "{used:?}");
}

async fn alerts() {
    let alerts = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: BTreeSet<&str> = alerts.collect();
    assert!(!alerts.is_empty());
    let explained: BTreeSet<&str> = OPERATIONS
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    assert_eq!(alerts, explained);
    for alert in alerts {
        assert!(
            ALERTS_TEST.contains(&format!("alertname=\"{alert}\"")),
            "{alert} is not tested"
        );
    }
}
