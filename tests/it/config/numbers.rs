//! Numbers and durations: the bounds of each, and what the program does with the values at them.

use std::collections::BTreeSet;

use clap::CommandFactory;
use device_assignment::cli;

use super::{Told, mistakes, tell};
use crate::support::{Api, Kind, Program, Suite, TestDatabase, organization, program::command};

const BILLION: [&str; 2] = ["1000000000", "1000000001"];
const U32: [&str; 2] = ["4294967295", "4294967296"];
const GIB: [&str; 2] = ["1073741824", "1073741825"];
const TIB: [&str; 2] = ["1099511627776", "1099511627777"];
const ONE: [&str; 2] = ["0", "1"];
const ZERO: [&str; 2] = ["-1", "0"];
const MS: [&str; 2] = ["999us", "1ms"];
const NO_TIME: [&str; 2] = ["-1s", "0s"];
const DAY: [&str; 2] = ["1d", "86400001ms"];
const YEAR: [&str; 2] = ["365d", "366d"];

/// A setting, what is too small and the smallest, the largest and what is too large.
const NUMBERS: [(&str, [&str; 2], [&str; 2]); 48] = [
    ("connect-timeout", NO_TIME, YEAR),
    ("max-answer-bytes", ONE, GIB),
    ("max-request-timeout", MS, DAY),
    ("key-calls-per-second", ZERO, BILLION),
    ("key-calls-burst", ONE, BILLION),
    ("key-devices-per-second", ZERO, BILLION),
    ("key-devices-burst", ONE, BILLION),
    ("failed-keys-per-second", ZERO, BILLION),
    ("failed-keys-burst", ONE, BILLION),
    ("max-in-flight", ZERO, BILLION),
    ("max-keyless-calls", ONE, BILLION),
    ("queue-calls", ONE, BILLION),
    ("queue-devices", ONE, BILLION),
    ("writer-workers", ONE, ["64", "65"]),
    ("bulk-workers", ONE, ["64", "65"]),
    ("key-change-streams", ZERO, BILLION),
    ("max-change-streams", ZERO, BILLION),
    ("key-usage-interval", MS, DAY),
    ("key-expiry-warning", NO_TIME, YEAR),
    ("max-request-bytes", ONE, GIB),
    ("max-devices-per-request", ONE, BILLION),
    ("max-bytes-in-flight", ONE, TIB),
    ("request-timeout", MS, DAY),
    ("tls-handshake-timeout", MS, DAY),
    ("tls-reload-interval", MS, DAY),
    ("max-connections", ONE, BILLION),
    ("head-timeout", MS, DAY),
    ("body-timeout", MS, DAY),
    ("write-timeout", MS, DAY),
    ("max-streams", ONE, U32),
    ("max-local-resets", ZERO, BILLION),
    ("max-pending-resets", ZERO, BILLION),
    ("max-control-frames", ONE, BILLION),
    ("max-head-bytes", ["1023", "1024"], U32),
    ("keepalive-interval", MS, DAY),
    ("keepalive-timeout", MS, DAY),
    ("max-connection-age", MS, DAY),
    ("max-connection-age-grace", MS, DAY),
    ("health-interval", MS, DAY),
    ("health-timeout", MS, DAY),
    ("shutdown-grace", NO_TIME, ["60s", "61s"]),
    ("trace-sample-ratio", ["-0.1", "0"], ["1", "1.1"]),
    ("parallel", ONE, ["100", "101"]),
    ("timeout", MS, DAY),
    ("retry-for", NO_TIME, YEAR),
    ("webhook-timeout", MS, DAY),
    // Values that no number type takes.
    ("max-connections", ["", "1"], ["1", "99999999999999999999999"]),
    ("trace-sample-ratio", ["NaN", "0"], ["1", "inf"]),
];

pub fn register(suite: &mut Suite) {
    suite.test("config::every_number_has_bounds", bounds);
    suite.on(
        Kind::Sqlite,
        "config::the_program_runs_with_the_largest_numbers",
        largest,
    );
    suite.on(
        Kind::Sqlite,
        "config::the_program_runs_with_the_smallest_numbers",
        smallest,
    );
}

/// The settings of a subcommand that are numbers.
fn numbers(subcommand: &clap::Command) -> BTreeSet<&str> {
    let args = subcommand.get_arguments().filter(|arg| arg.get_env().is_some());
    let numbers = args.filter(|arg| {
        let unit = arg.get_value_names().unwrap_or_default().join(" ");
        ["COUNT", "BYTES", "DURATION", "RATIO"].contains(&unit.as_str())
    });
    numbers.filter_map(|arg| arg.get_long()).collect()
}

async fn bounds() {
    let program = cli::command();
    let declared: BTreeSet<&str> = program.get_subcommands().flat_map(numbers).collect();
    let tested: BTreeSet<&str> = NUMBERS.iter().map(|(setting, ..)| *setting).collect();
    assert_eq!(declared, tested);
    let told = Told::command();
    for (setting, [too_small, smallest], [largest, too_large]) in NUMBERS {
        let user = told
            .get_subcommands()
            .find(|command| numbers(command).contains(setting));
        let user = user.expect(setting).get_name();
        let with = |value: &str| format!("{user} --{setting}={value}");
        for value in [smallest, largest] {
            assert!(tell(&with(value), &[]).is_ok(), "{}", with(value));
        }
        for value in [too_small, too_large] {
            let found = mistakes(&with(value));
            assert_eq!(found.len(), 1, "{found:?}");
            let start = format!("--{setting} (from the command line): ");
            assert!(found[0].starts_with(&start), "{found:?}");
        }
    }
}

/// A command with one bound of each of its numbers, except the settings in `instead`.
fn at_bounds(
    subcommand: &str,
    bound: impl Fn([&'static str; 2], [&'static str; 2]) -> &'static str,
    instead: &[(&str, &str)],
) -> tokio::process::Command {
    let program = cli::command();
    let known = numbers(program.find_subcommand(subcommand).expect(subcommand));
    let mut command = command(&[subcommand]);
    for (setting, small, large) in &NUMBERS[..NUMBERS.len() - 2] {
        let other = instead.iter().find(|(name, _)| name == setting);
        let value = other.map_or_else(|| bound(*small, *large), |(_, value)| value);
        if known.contains(setting) {
            command.arg(format!("--{setting}={value}"));
        }
    }
    command
}

async fn largest(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    // A minute would be waited for.
    let instead = [("shutdown-grace", "1s")];
    let mut serve = at_bounds("serve", |_, [largest, _]| largest, &instead);
    serve.args(["--database-url", database.url()]);
    let service = Program::spawn(serve).await;
    let gateway = at_bounds("gateway", |_, [largest, _]| largest, &instead);
    let gateway = Program::gateway(gateway, service.grpc).await;
    for client in [
        service.client(Api::Grpc, &key),
        service.client(Api::Rest, &key),
        gateway.client(Api::Rest, &key),
    ] {
        client.create("john@example.com", &["SN-1", "SN-2"]).await.ok();
    }
    for program in [gateway, service] {
        let (code, log) = program.terminate().await;
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

async fn smallest(database: &TestDatabase) {
    // A request and its answer must fit twice.
    let instead = [("max-bytes-in-flight", "4")];
    let mut serve = at_bounds("serve", |[_, smallest], _| smallest, &instead);
    serve.args(["--database-url", database.url()]);
    let service = Program::spawn(serve).await;
    let gateway = at_bounds("gateway", |[_, smallest], _| smallest, &instead);
    let gateway = Program::gateway(gateway, service.grpc).await;
    for program in [gateway, service] {
        let (code, log) = program.terminate().await;
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}
