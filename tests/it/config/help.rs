//! The help texts of subcommands.

use device_assignment::cli;

use crate::support::{
    Suite,
    program::{command, finish, stdout},
};

/// The flags that `serve --help` lists first.
const MAIN: [&str; 6] = [
    "--database-url",
    "--grpc-addr",
    "--rest-addr",
    "--tls-cert",
    "--tls-key",
    "--config",
];

pub fn register(suite: &mut Suite) {
    suite.test("config::every_help_begins_with_examples", examples);
    suite.test("config::help_of_serve_begins_with_the_main_settings", main_settings);
}

/// What `--help` prints on a terminal of this width.
async fn help(subcommand: &str, columns: usize) -> String {
    let mut help = command(&[]);
    help.args(subcommand.split_whitespace()).arg("--help");
    help.env("COLUMNS", columns.to_string());
    stdout(&finish(help).await)
}

/// The command and all below it, as they are typed.
fn subcommands(command: &clap::Command, above: &str) -> Vec<String> {
    let mut names = vec![above.to_owned()];
    for below in command.get_subcommands() {
        names.extend(subcommands(below, format!("{above} {}", below.get_name()).trim()));
    }
    names
}

async fn examples() {
    let subcommands = subcommands(&cli::command(), "");
    assert!(subcommands.len() > 20, "{subcommands:?}");
    for subcommand in subcommands {
        let help = help(&subcommand, 80).await;
        assert!(help.starts_with("Examples:\n  "), "{subcommand}: {help}");
        // clap does not wrap the line of the usage.
        for line in help.lines().filter(|line| !line.starts_with("Usage: ")) {
            assert!(line.chars().count() <= 80, "{subcommand}: {line}");
        }
    }
}

async fn main_settings() {
    for columns in [80, 100] {
        let help = help("serve", columns).await;
        let (_, options) = help.split_once("\nOptions:\n").expect("options");
        let flags = options.lines().filter_map(|line| line.strip_prefix("      --"));
        let flags: Vec<&str> = flags.filter_map(|flag| flag.split_whitespace().next()).collect();
        let main = MAIN.map(|flag| flag.trim_start_matches('-'));
        assert_eq!(flags[..6], main, "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= columns), "{help}");
        let headings = options
            .lines()
            .filter(|line| line.ends_with(':') && !line.starts_with(' '));
        assert!(headings.count() >= 8, "{help}");
    }
}
