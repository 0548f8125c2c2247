//! Settings from flags, the environment and a file.

mod help;
mod listen;
mod mistakes;
mod numbers;
mod template;

use std::{ffi::OsString, fs, path::PathBuf};

use clap::{Args, CommandFactory, Parser, Subcommand};
use device_assignment::config::{
    BulkConfig, Conflict, DatabaseConfig, GatewayConfig, LogFormat, ProcessConfig, ReadError, ServeConfig,
    WebhookConfig, read,
};
use tempfile::TempDir;

use crate::support::{Api, Kind, Program, Suite, TestDatabase, organization, program::command};

pub fn register(suite: &mut Suite) {
    suite.test(
        "config::a_flag_wins_over_environment_over_file_over_default",
        precedence,
    );
    suite.test("config::switches_and_lists_can_be_given_everywhere", switches_and_lists);
    suite.on(Kind::Sqlite, "config::the_program_does_what_its_file_says", program);
    suite.test("config::a_printed_setting_shows_no_password", printed_settings);
    template::register(suite);
    mistakes::register(suite);
    numbers::register(suite);
    listen::register(suite);
    help::register(suite);
}

/// A command line with the real settings, for reading them without running the program.
#[derive(Debug, Parser)]
struct Told {
    #[command(flatten)]
    process: ProcessConfig,
    #[command(subcommand)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Settings {
    Serve(Box<Serve>),
    Gateway(Box<GatewayConfig>),
    /// The settings of `assign`, which are in the same file.
    Assign(Box<BulkConfig>),
    /// The settings of `changes`, which are in the same file.
    Changes(Box<WebhookConfig>),
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    database: DatabaseConfig,
    #[command(flatten)]
    serve: ServeConfig,
    /// A list, which takes any text
    #[arg(long, env = "FRIENDS", value_name = "NAME", value_delimiter = ',')]
    friends: Vec<String>,
}

fn tell(arguments: &str, environment: &[(&str, &str)]) -> Result<Told, ReadError> {
    let arguments = ["device-assignment"].into_iter().chain(arguments.split_whitespace());
    let arguments: Vec<OsString> = arguments.map(OsString::from).collect();
    let variable = |name: &str| {
        let variable = environment.iter().find(|(variable, _)| *variable == name);
        variable.map(|(_, value)| value.into())
    };
    read(&Told::command(), &arguments, variable, |_| Vec::<Conflict>::new())
}

/// The mistakes in settings that must have some.
fn mistakes(arguments: &str) -> Vec<String> {
    match tell(arguments, &[]) {
        Err(ReadError::Mistakes(mistakes)) => mistakes,
        other => panic!("{arguments}: {other:?}"),
    }
}

fn serve(arguments: &str, environment: &[(&str, &str)]) -> Serve {
    match tell(arguments, environment).expect("no mistake").settings {
        Settings::Serve(serve) => *serve,
        Settings::Gateway(_) | Settings::Assign(_) | Settings::Changes(_) => panic!("{arguments} is no serve"),
    }
}

/// A settings file, and the folder that it is in.
fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("settings.toml");
    fs::write(&path, text).expect("written");
    (folder, path)
}

async fn precedence() {
    let (_folder, path) = file("max-devices-per-request = 2\nmax-streams = 0x20\nlog-format = \"text\"");
    let serve_with = |flags: &str, environment: &[(&str, &str)]| {
        let serve = serve(&format!("serve --config {} {flags}", path.display()), environment).serve;
        (
            serve.server.requests.max_devices_per_request,
            serve.server.connections.max_streams,
        )
    };
    let variable = [("MAX_DEVICES_PER_REQUEST", "3")];
    let flag = "--max-devices-per-request 4";
    assert_eq!(
        serve("serve", &[]).serve.server.requests.max_devices_per_request,
        10_000
    );
    assert_eq!(serve_with("", &[]), (2, 32));
    assert_eq!(serve_with("", &variable), (3, 32));
    assert_eq!(serve_with(flag, &variable), (4, 32));
    assert_eq!(serve_with(flag, &[]), (4, 32));

    // The same file for another subcommand, named by the environment, and a setting of all subcommands.
    let variables = [
        ("CONFIG_FILE", path.to_str().expect("text")),
        ("UPSTREAM", "http://127.0.0.1:1"),
    ];
    let told = tell("gateway", &variables).expect("no mistake");
    assert_eq!(told.process.log_format, LogFormat::Text);
    assert_eq!(told.process.config, Some(path.clone()));
    let Settings::Gateway(gateway) = told.settings else {
        panic!("{told:?}")
    };
    assert_eq!(gateway.server.connections.max_streams, 32);
    assert_eq!(gateway.upstream, "http://127.0.0.1:1/");
    let told = tell("gateway --log-format json", &variables).expect("no mistake");
    assert_eq!(told.process.log_format, LogFormat::Json);
}

async fn switches_and_lists() {
    let (_folder, path) = file("migrate = true\nfriends = [\"a\", \"b\"]");
    let flag = format!("serve --config {}", path.display());
    let on = [("MIGRATE", "true"), ("FRIENDS", "c,d,e")];
    let off = [("MIGRATE", "false")];
    for (arguments, environment, migrate, friends) in [
        ("serve".to_owned(), [].as_slice(), false, 0),
        (flag.clone(), &[], true, 2),
        (flag.clone(), &off, false, 2),
        (format!("{flag} --migrate"), &off, true, 2),
        (format!("{flag} --migrate=false"), &on, false, 3),
        ("serve --friends=f --friends=g,h".into(), &on, true, 3),
        ("serve --migrate".into(), &[], true, 0),
    ] {
        let serve = serve(&arguments, environment);
        let told = (serve.serve.migrate, serve.friends.len());
        assert_eq!(told, (migrate, friends), "{arguments} {environment:?}");
    }
}

async fn program(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let text = format!(
        "database-url = {:?}\nmax-devices-per-request = 2\nupstream = \"http://127.0.0.1:1\"",
        database.url()
    );
    let (_folder, path) = file(&text);
    let mut serve = command(&["--config"]);
    serve.arg(&path).arg("serve");
    let program = Program::spawn(serve).await;
    let client = program.client(Api::Rest, &key);
    client.create("john@example.com", &["SN-1", "SN-2"]).await.ok();
    let answer = client.create("john@example.com", &["SN-1", "SN-2", "SN-3"]).await;
    assert_eq!(answer.code, "INVALID_ARGUMENT", "{answer:?}");
    program.terminate().await;
}

async fn printed_settings() {
    let url = "postgres://app:canary-password@db/devices?password=canary-password";
    let serve = serve("serve", &[("DATABASE_URL", url)]);
    assert_eq!(serve.database.database_url.to_string(), "postgres://db/devices");
    assert!(!format!("{serve:?}").contains("canary-password"));
}
