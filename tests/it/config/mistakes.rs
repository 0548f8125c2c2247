//! Mistakes in settings: all are reported, each in one sentence, and without secrets.

use std::{fs, path::PathBuf, process::Output};

use tempfile::TempDir;

use super::file;
use crate::support::{
    Suite,
    program::{command, finish, refused, run, sentence, stderr, stdout},
};

const SECRET: &str = "canary-password";

pub fn register(suite: &mut Suite) {
    suite.test("config::every_mistake_of_a_file_is_named_at_once", mistakes_of_file);
    suite.test("config::every_mistake_is_named_with_its_source", mistakes_of_all);
    suite.test("config::addresses_that_are_taken_twice_are_a_mistake", same_address);
    suite.test("config::an_unknown_setting_gets_a_suggestion", unknown_names);
    suite.test("config::a_check_can_be_that_of_one_subcommand", check_one);
    suite.test("config::a_file_that_cannot_be_used_is_a_mistake", bad_files);
    suite.test("config::no_secret_is_printed", secrets);
}

async fn check(path: &PathBuf, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let folder = TempDir::new().expect("a folder");
    let mut check = command(arguments);
    check.env("CONFIG_FILE", path).current_dir(folder.path());
    check.envs(environment.iter().copied());
    let output = finish(check).await;
    assert_eq!(
        folder.path().read_dir().expect("a folder").count(),
        0,
        "nothing is made"
    );
    output
}

/// The mistakes that the program reported, without its name in front of each.
#[track_caller]
fn mistakes(output: &Output) -> Vec<String> {
    let said = refused(output, 2);
    let prefix = "device-assignment: ";
    let mistakes = said
        .lines()
        .map(|line| line.strip_prefix(prefix).unwrap_or_else(|| panic!("{said}")));
    mistakes.map(str::to_owned).collect()
}

/// Each mistake begins with one of these, and each of these begins one.
#[track_caller]
fn assert_begin(mistakes: &[String], beginnings: &[&str]) {
    let unexpected = mistakes
        .iter()
        .filter(|mistake| !beginnings.iter().any(|start| mistake.starts_with(start)));
    assert_eq!(unexpected.collect::<Vec<_>>(), [""; 0], "{mistakes:#?}");
    let missing = beginnings
        .iter()
        .filter(|start| !mistakes.iter().any(|mistake| mistake.starts_with(*start)));
    assert_eq!(missing.collect::<Vec<_>>(), [&""; 0], "{mistakes:#?}");
    assert_eq!(mistakes.len(), beginnings.len(), "{mistakes:#?}");
}

async fn mistakes_of_file() {
    let (_folder, path) = file(
        "grpc-addr = \"nowhere\"\n\
         # A comment, and a setting of another subcommand that is right.\n\
         upstream = \"http://127.0.0.1:1\"\n\
         max-devices-per-request = 0\n\
         database-url = \"mysql://db/devices\"\n\
         head-timeout = 10\n\
         migrate = \"perhaps\"\n",
    );
    let at = |line: usize| format!("(from {}, line {line}): ", path.display());
    let expected = [
        format!("--grpc-addr {}", at(1)),
        format!(
            "--max-devices-per-request {}must be a number from 1 to 1000000000; the default is 10000",
            at(4)
        ),
        format!(
            "--database-url {}the database URL must start with sqlite:// or postgres://",
            at(5)
        ),
        format!("--head-timeout {}", at(6)),
        format!("--migrate {}", at(7)),
    ];
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    for arguments in [
        ["config", "check"].as_slice(),
        &["config", "check", "serve"],
        &["serve"],
    ] {
        assert_begin(&mistakes(&check(&path, &[], arguments).await), &expected);
    }
    // Mistakes in settings of other subcommands do not matter.
    let gateway = check(&path, &[], &["config", "check", "gateway"]).await;
    assert_begin(&mistakes(&gateway), &[expected[1], expected[3]]);
}

async fn mistakes_of_all() {
    let (_folder, path) =
        file("max-streams = -1\nrest-adr = \"127.0.0.1:8080\"\nrest-addr = localhost\nrequest-timeout = \"x\"");
    let environment = [
        ("ADMIN_ADDR", "on"),
        ("UPSTREAM", "ftp://host"),
        ("DATABASE_URL", "sqlite::memory:"),
        ("LOG_FORMAT", "xml"),
        // The value in the file is not checked.
        ("REQUEST_TIMEOUT", "25h"),
    ];
    let file = path.display();
    let streams = format!("--max-streams (from {file}, line 1): ");
    let unknown = format!("{file}, line 2: there is no setting rest-adr; did you mean rest-addr?");
    let broken = format!("{file}, line 3, column 13: invalid TOML: ");
    let common = [
        streams.as_str(),
        &unknown,
        &broken,
        "--admin-addr (from ADMIN_ADDR): must be an address with a port, as in 127.0.0.1:8080, localhost:8080 or :8080, or off",
        "--log-format (from LOG_FORMAT): must be one of auto, text, json",
        "--request-timeout (from REQUEST_TIMEOUT): must be a duration from 1ms to 1day, as in 90s or 500ms; the default is 10s",
        "--body-timeout (from the command line): ",
    ];
    let database = "--database-url (from DATABASE_URL): an in-memory SQLite database cannot keep anything";
    let upstream = "--upstream (from UPSTREAM): the URL must start with http://";
    for (arguments, own) in [
        (["serve", "--body-timeout", "soon"].as_slice(), database),
        (&["gateway", "--body-timeout=0s"], upstream),
    ] {
        let expected = [common.as_slice(), &[own]].concat();
        assert_begin(&mistakes(&check(&path, &environment, arguments).await), &expected);
        let arguments = [&["config", "check"], arguments].concat();
        assert_begin(&mistakes(&check(&path, &environment, &arguments).await), &expected);
    }
    let expected = [&common[..6], &[database, upstream]].concat();
    let checked = check(&path, &environment, &["config", "check"]).await;
    assert_begin(&mistakes(&checked), &expected);
}

async fn same_address() {
    let (_folder, path) = file("grpc-addr = \"127.0.0.1:8080\"\nmax-streams = \"few\"\n");
    let conflict = format!(
        "--grpc-addr (from {}, line 1) and --rest-addr (by default): both are 127.0.0.1:8080; ",
        path.display()
    );
    let streams = format!("--max-streams (from {}, line 2): ", path.display());
    for arguments in [
        ["serve"].as_slice(),
        &["config", "check"],
        &["config", "check", "serve"],
    ] {
        let found = mistakes(&check(&path, &[], arguments).await);
        assert_begin(&found, &[&conflict, &streams]);
        // A setting that is invalid by itself has no conflict.
        let found = mistakes(&check(&path, &[("REST_ADDR", "8080")], arguments).await);
        assert_begin(&found, &["--rest-addr (from REST_ADDR): ", &streams]);
    }
}

async fn unknown_names() {
    for (line, said) in [
        (
            "grcp-addr = 1",
            "line 1: there is no setting grcp-addr; did you mean grpc-addr?",
        ),
        (
            "max_streams = 1",
            "line 1: there is no setting max_streams; did you mean max-streams?",
        ),
        (
            "GRPC_ADDR = 1",
            "line 1: there is no setting GRPC_ADDR; `device-assignment config default` lists all",
        ),
        (
            "zzz = 1",
            "line 1: there is no setting zzz; `device-assignment config default` lists all",
        ),
        ("config = 1", "line 1: config cannot be in the file itself"),
        (
            "[serve]\ngrpc-addr = 1",
            "line 1: serve is a table; settings are not in tables",
        ),
        ("organization = 1", "line 1: there is no setting organization; "),
    ] {
        let (_folder, path) = file(line);
        let said = format!("{}, {said}", path.display());
        assert_begin(&mistakes(&check(&path, &[], &["config", "check"]).await), &[&said]);
        assert_begin(&mistakes(&check(&path, &[], &["migrate"]).await), &[&said]);
    }
}

async fn check_one() {
    let gateway = run(&["config", "check", "gateway"]).await;
    let silence = "--upstream (or UPSTREAM) is required: gRPC address of the service";
    assert_begin(&mistakes(&gateway), &[silence]);
    for arguments in [
        ["config", "check"].as_slice(),
        &["config", "check", "serve", "--migrate"],
        &["config", "check", "gateway", "--upstream", "http://127.0.0.1:1"],
    ] {
        let output = run(arguments).await;
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).starts_with("the environment is valid; no settings file is given"));
    }
}

async fn bad_files() {
    let (folder, path) = file("");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        path
    };
    let missing = folder.path().join("missing.toml");
    for (file, problem) in [
        (missing, "cannot read "),
        (folder.path().to_owned(), "cannot read "),
        (
            write("latin", b"max-streams = 1\n# caf\xe9"),
            "is not valid UTF-8 (line 2)",
        ),
        (
            write("equals", b"\nmax-streams == 1"),
            "line 2, column 14: invalid TOML: ",
        ),
        (write("quote", b"rest-addr = \"x"), "line 1, column 15: invalid TOML: "),
        (write("key", b"max-streams"), "line 1, column 12: invalid TOML: "),
        (
            write("twice", b"max-streams = 1\nmax-streams = 2"),
            "line 2, column 1: invalid TOML: duplicate key",
        ),
        (
            write("table", b"max-streams = { a = 1 }"),
            "line 1): must be a string, an integer or a boolean, not a TOML table",
        ),
        (
            write("list", b"max-streams = [1]"),
            "line 1): must be one value, not a list",
        ),
        (
            write("lists", b"max-streams = [[1]]"),
            "line 1): must be a string, an integer or a boolean, not a TOML array",
        ),
        (
            write("float", b"max-streams = 1.5"),
            "line 1): must be a string, an integer or a boolean, not a TOML float",
        ),
        (
            write("date", b"max-streams = 2026-01-01"),
            "line 1): must be a string, an integer or a boolean, not a TOML datetime",
        ),
        (
            write("huge", b"max-streams = 99999999999999999999"),
            "line 1): must be a number from 1 to 4294967295",
        ),
    ] {
        let said = sentence(&check(&file, &[], &["config", "check"]).await, 2);
        assert!(said.contains(&file.display().to_string()), "{said}");
        assert!(said.contains(problem), "{problem}: {said}");
        let start = sentence(&check(&file, &[], &["serve"]).await, 2);
        assert_eq!(start, said);
    }
    let said = sentence(&check(&path, &[], &["serve", "--config", "/dev/null/x"]).await, 2);
    assert!(
        said.contains("--config (from the command line): cannot read /dev/null/x: "),
        "{said}"
    );
    assert_eq!(check(&path, &[], &["config", "check"]).await.status.code(), Some(0));
}

async fn secrets() {
    let urls = [
        format!("mysql://app:{SECRET}@db/devices"),
        format!("postgres://app:{SECRET}@[/devices"),
        format!("postgres://app:{SECRET}@db:port/devices"),
        format!("sqlite://devices.db?mode={SECRET}"),
    ];
    let subcommands = [
        ["serve"].as_slice(),
        &["migrate"],
        &["config", "check"],
        &["config", "check", "serve"],
    ];
    let refuse = async |file: &str, environment: &[(&str, &str)], arguments: &[&str]| {
        let (_folder, path) = self::file(file);
        let environment = [environment, &[("RUST_LOG", "trace")]].concat();
        let said = refused(&check(&path, &environment, arguments).await, 2);
        assert!(!said.contains(SECRET), "{said}");
        said
    };
    for url in &urls {
        for arguments in subcommands {
            refuse(&format!("database-url = {url:?}"), &[], arguments).await;
            refuse("", &[("DATABASE_URL", url)], arguments).await;
            // With a mistake in the TOML, the name or the place, too.
            refuse(&format!("database-url = {url}"), &[], arguments).await;
            refuse(&format!("database-url = \"{url}\n"), &[], arguments).await;
            refuse(&format!("database-url = [{url:?}]"), &[], arguments).await;
            refuse(&format!("database-url {url:?}"), &[], arguments).await;
            refuse(&format!("database-uri = {url:?}"), &[], arguments).await;
            refuse(&format!("{url:?} = 1"), &[], arguments).await;
            refuse("", &[], &[arguments, &[url]].concat()).await;
            refuse("", &[], &[arguments, &["--database-uri", url]].concat()).await;
            refuse("", &[], &[arguments, &[&format!("--database-uri={url}")]].concat()).await;
        }
        let said = refuse("", &[], &["serve", "--database-url", url]).await;
        assert!(said.contains("--database-url (from the command line): "), "{said}");
        refuse("", &[], &[url]).await;
        let mut help = command(&["serve", "--help"]);
        let output = finish({
            help.env("DATABASE_URL", url);
            help
        });
        assert!(!stdout(&output.await).contains(SECRET));
    }
    let template = finish({
        let mut default = command(&["config", "default"]);
        default.env("DATABASE_URL", &urls[0]);
        default
    });
    assert!(!stdout(&template.await).contains(SECRET));
}
