//! Assigning in bulk from the command line, at a running service.

mod lost_answer;
mod refusals;
mod stream;
mod tls;
mod transfer;
mod trouble;
mod unassign;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Permissions},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Output,
};

use device_assignment::server::ServerSettings;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{
    Suite, TestDatabase, TestServer, devices,
    effects::owned,
    organization,
    program::{command, finish, sentence, stderr, stdout},
};

pub const HEADER: &str = "customer_email,device_identifier\n";

pub fn register(suite: &mut Suite) {
    suite.on_each("assign::one_customer_gets_what_is_named", one_customer);
    suite.on_each("assign::many_customers_get_what_a_list_says", many_customers);
    suite.on_each("assign::what_was_skipped_can_be_fed_in_again", skipped);
    suite.on_each("assign::bad_rows_are_named_by_line_and_the_others_done", bad_rows);
    suite.on_each(
        "assign::a_service_with_a_smaller_limit_gets_smaller_calls",
        smaller_limit,
    );
    suite.on_each("assign::a_mistake_on_the_command_line_is_said_once", one_mistake);
    suite.on_each("assign::lists_come_as_spreadsheets_write_them", spreadsheets);
    suite.on_each("assign::the_key_may_be_in_a_file", key_in_a_file);
    lost_answer::register(suite);
    refusals::register(suite);
    stream::register(suite);
    tls::register(suite);
    transfer::register(suite);
    trouble::register(suite);
    unassign::register(suite);
}

/// A service with an organization, and a folder for lists.
pub struct Site {
    pub server: TestServer,
    pub key: String,
    folder: TempDir,
}

impl Site {
    pub async fn start(database: &'static TestDatabase) -> Self {
        Self::start_with(database, ServerSettings::default()).await
    }

    pub async fn start_with(database: &'static TestDatabase, settings: ServerSettings) -> Self {
        let key = organization(database, "acme").await;
        Self {
            server: TestServer::start_with(database, settings).await,
            key,
            folder: TempDir::new().expect("a folder"),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a file");
        path
    }

    /// `assign` with the key, at this service, in the folder of the lists.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.of("assign", arguments)
    }

    /// A subcommand, in the same way.
    pub fn of(&self, subcommand: &str, arguments: &[&str]) -> Command {
        of(subcommand, &self.folder, self.server.grpc, &self.key, arguments)
    }

    pub async fn run(&self, arguments: &[&str]) -> Output {
        finish(self.command(arguments)).await
    }

    /// Assigns what a CSV list says.
    pub async fn csv(&self, list: impl AsRef<[u8]>, options: &[&str]) -> Output {
        self.write("list.csv", list);
        self.run(&[&["--csv", "list.csv"], options].concat()).await
    }
}

pub fn assign(folder: &TempDir, server: SocketAddr, key: &str, arguments: &[&str]) -> Command {
    of("assign", folder, server, key, arguments)
}

fn of(subcommand: &str, folder: &TempDir, server: SocketAddr, key: &str, arguments: &[&str]) -> Command {
    let words = Some(subcommand).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.into_iter().chain(arguments.iter().copied()).collect();
    let mut command = command(&words);
    command
        .current_dir(folder.path())
        .env("DEVICE_ASSIGNMENT_SERVER", format!("http://{server}"))
        .env("DEVICE_ASSIGNMENT_API_KEY", key);
    command
}

/// What `--json` printed: assigned, already assigned, skipped, refused, devices created, customers created.
#[track_caller]
pub fn report(output: &Output, code: i32) -> [u64; 6] {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
    for printed in [stdout(output), stderr(output)] {
        let is_plain = |char: char| char == '\n' || !char.is_control();
        assert!(printed.chars().all(is_plain), "{printed:?}");
    }
    let value: Value = serde_json::from_str(&stdout(output)).expect("JSON");
    [
        "assigned",
        "alreadyAssigned",
        "skipped",
        "refused",
        "devicesCreated",
        "customersCreated",
    ]
    .map(|count| value[count].as_u64().expect("a number"))
}

/// What is said of rows, in the order of the list.
pub fn refusals(output: &Output) -> Vec<String> {
    let said = stderr(output);
    let lines = said.lines().filter(|line| line.starts_with("line "));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort_by_key(|line| {
        let number: String = line[5..].chars().take_while(char::is_ascii_digit).collect();
        number.parse::<u64>().expect("a number")
    });
    lines
}

pub fn owners(expected: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
    let owner = |(email, devices): &(&str, &[&str])| {
        let devices = devices.iter().map(|device| (*device).to_owned());
        ((*email).to_owned(), devices.collect())
    };
    expected.iter().map(owner).collect()
}

async fn one_customer(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    devices(database, "acme", &["SN-1", "SN-2", "SN-3"]).await;
    let output = site
        .run(&["--customer", "Ann@example.com", "SN-1", " SN-2 ", "SN-1", "SN-9"])
        .await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        "2 assigned, 1 already assigned, 1 skipped, 0 refused\n0 device(s) and 1 customer(s) created\n"
    );
    assert_eq!(stderr(&output), "skipped, device does not exist: SN-9\n");

    site.write("identifiers.txt", "SN-2\r\n\r\nSN-3\nSN,9");
    let file = ["--customer", "ann@example.com", "--file", "identifiers.txt", "--json"];
    assert_eq!(report(&site.run(&file).await, 3), [1, 1, 1, 0, 0, 0]);
    let create = ["--auto-create", "--type", "sensor"];
    assert_eq!(
        report(&site.run(&[file.as_slice(), &create].concat()).await, 0),
        [1, 2, 0, 0, 1, 0]
    );
    let expected = owners(&[("ann@example.com", &["SN,9", "SN-1", "SN-2", "SN-3"])]);
    assert_eq!(owned(database).await, expected);
    site.server.stop().await;
}

async fn many_customers(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    devices(database, "acme", &["SN-1", "SN-2", "SN-3"]).await;
    let list = "customer_email,device_identifier\n\
                ann@example.com,SN-1\n\
                bob@example.com,SN-2\n\
                 ANN@example.com , SN-3 \n\
                bob@example.com,SN-1\n\
                bob@example.com,SN-2\n";
    assert_eq!(report(&site.csv(list, &["--json"]).await, 0), [4, 1, 0, 0, 0, 2]);
    assert_eq!(report(&site.csv(list, &["--json"]).await, 0), [0, 5, 0, 0, 0, 0]);
    let expected = owners(&[
        ("ann@example.com", &["SN-1", "SN-3"]),
        ("bob@example.com", &["SN-1", "SN-2"]),
    ]);
    assert_eq!(owned(database).await, expected);

    // A type counts when devices are to be created; that of the row before that of the command.
    let list = "customer_email,device_identifier,device_type\neve@example.com,SN-1,meter\neve@example.com,SN-4,meter\n\
                eve@example.com,SN-5,\n";
    assert_eq!(report(&site.csv(list, &["--json"]).await, 3), [1, 0, 2, 0, 0, 1]);
    let create = ["--json", "--auto-create", "--type", "sensor"];
    assert_eq!(report(&site.csv(list, &create).await, 0), [2, 1, 0, 0, 2, 0]);
    let dump = database.dump().await;
    for row in [" SN-1 imported\n", " SN-4 meter\n", " SN-5 sensor\n"] {
        assert!(dump.contains(row), "{row}: {dump}");
    }
    assert_eq!(report(&site.csv(HEADER, &["--json"]).await, 0), [0; 6]);
    site.server.stop().await;
}

async fn skipped(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    devices(database, "acme", &["SN-1"]).await;
    let options = ["--json", "--skipped", "skipped.csv"];
    let list =
        format!("{HEADER}ann@example.com,SN-1\nann@example.com,\"SN-2, the \"\"second\"\"\"\nbob@example.com,SN-3\n");
    let output = site.csv(&list, &options).await;
    assert_eq!(report(&output, 3), [1, 0, 2, 0, 0, 1]);
    assert_eq!(stderr(&output), "", "what is in the file is not said, too");
    let mode = || {
        fs::metadata(site.path("skipped.csv"))
            .expect("a file")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(), 0o600);
    fs::set_permissions(site.path("skipped.csv"), Permissions::from_mode(0o644)).expect("a mode");
    let written = fs::read_to_string(site.path("skipped.csv")).expect("a file");
    let mut rows: Vec<&str> = written.lines().collect();
    rows[1..].sort_unstable();
    let expected = [
        "customer_email,device_identifier",
        "ann@example.com,\"SN-2, the \"\"second\"\"\"",
        "bob@example.com,SN-3",
    ];
    assert_eq!(rows, expected);
    let again = ["--csv", "skipped.csv", "--json", "--auto-create", "--type", "sensor"];
    assert_eq!(report(&site.run(&again).await, 0), [2, 0, 0, 0, 2, 1]);

    // The types of a list stay with its rows.
    let list = "customer_email,device_identifier,device_type\nann@example.com,SN-4,meter\nann@example.com,SN-5,\n";
    assert_eq!(report(&site.csv(list, &options).await, 3), [0, 0, 2, 0, 0, 0]);
    let written = fs::read_to_string(site.path("skipped.csv")).expect("a file");
    let mut rows: Vec<&str> = written.lines().collect();
    rows[1..].sort_unstable();
    assert_eq!(rows, list.lines().collect::<Vec<_>>());
    assert_eq!(mode(), 0o600, "a file that exists loses the permissions of others");
    assert_eq!(
        report(&site.csv(&list[..list.len() - 22], &options).await, 3),
        [0, 0, 1, 0, 0, 0]
    );

    // Without a file the first few are named.
    let many = (0..25).fold(HEADER.to_owned(), |list, number| {
        format!("{list}ann@example.com,NO-{number}\n")
    });
    let output = site.csv(many, &[]).await;
    let said = stderr(&output);
    assert_eq!(said.lines().count(), 11, "{said}");
    assert!(
        said.contains("device does not exist: NO-9 (for ann@example.com)\n"),
        "{said}"
    );
    assert!(
        said.ends_with("and more; use --skipped FILE to write them all to a file\n"),
        "{said}"
    );
    site.server.stop().await;
}

async fn bad_rows(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    let mut list = b"customer_email,device_identifier,device_type\r\n".to_vec();
    let mut expected = Vec::new();
    let mut good = 0;
    // Far more bad rows of one customer than the service names at once.
    for line in 2..=201 {
        if line % 3 == 0 {
            list.extend_from_slice(b"ann@example.com,a\x01b,sensor\r\n");
            expected.push(format!(
                "line {line}: device_identifier must not contain control characters"
            ));
        } else {
            list.extend_from_slice(format!("ann@example.com,SN-{line},sensor\r\n").as_bytes());
            good += 1;
        }
    }
    let long = "t".repeat(101);
    for (line, row, problem) in [
        (
            202,
            "nonsense,SN-1,sensor",
            "customer_email must be a valid email address",
        ),
        (203, ",SN-1,sensor", "customer_email is required"),
        (204, "bob@example.com,,sensor", "device_identifier must not be empty"),
        (205, "bob@example.com", "expected 3 fields, found 1"),
        (206, "bob@example.com,SN-1,sensor,more", "expected 3 fields, found 4"),
        (
            207,
            &format!("bob@example.com,SN-1,{long}"),
            "device_type must be at most 100 characters",
        ),
        (
            208,
            "bob@example.com,SN-1,",
            "device_type is required when auto_create_devices is true",
        ),
    ] {
        list.extend_from_slice(format!("{row}\r\n").as_bytes());
        expected.push(format!("line {line}: {problem}"));
    }
    list.extend_from_slice(b"bob@example.com,M\xfcller,sensor\r\n\r\nbob@example.com,SN-1,sensor");
    expected.push("line 209: device_identifier must be UTF-8".into());
    let refused = expected.len() as u64;

    let output = site.csv(&list, &["--json", "--auto-create"]).await;
    assert_eq!(report(&output, 1), [good + 1, 0, 0, refused, good + 1, 2]);
    assert_eq!(refusals(&output), expected);
    assert_eq!(
        database.count("device").await,
        i64::try_from(good + 1).expect("a number")
    );
    let output = site.csv(&list, &["--json", "--auto-create"]).await;
    assert_eq!(report(&output, 1), [0, good + 1, 0, refused, 0, 0]);

    site.server.stop().await;
}

/// A mistake on the command line is one mistake, however many rows there are.
async fn one_mistake(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    let many: String = (0..25_000).map(|number| format!("SN-{number}\n")).collect();
    site.write("identifiers.txt", many);
    let long = "t".repeat(101);
    for (arguments, problem) in [
        (
            ["--customer", "nonsense"].as_slice(),
            "--customer: customer_email must be a valid email address",
        ),
        (&["--customer", ""], "--customer: customer_email is required"),
        (
            &["--customer", "ann@example.com", "--auto-create", "--type", &long],
            "--type: device_type must be at most 100 characters",
        ),
    ] {
        for rows in [["SN-1", "SN-2"], ["--file", "identifiers.txt"]] {
            let said = sentence(&site.run(&[arguments, &rows].concat()).await, 2);
            assert_eq!(said, format!("device-assignment: {problem}"));
        }
    }
    let list = format!("{HEADER}ann@example.com,SN-1\n");
    let said = sentence(&site.csv(list, &["--auto-create"]).await, 2);
    assert!(
        said.contains("--auto-create needs --type, or a column device_type"),
        "{said}"
    );
    assert_eq!(database.count("device").await, 0);
    site.server.stop().await;
}

/// Lists as spreadsheets write them.
async fn spreadsheets(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    devices(database, "acme", &["SN-1", "SN-2", "SN-3"]).await;
    for (list, note) in [
        ("device_identifier,customer_email\nSN-1,ann@example.com\n", ""),
        (
            "\u{feff}Customer_Email;Device_Identifier\r\nann@example.com;SN-2\r\n",
            "",
        ),
        (
            "name,device_identifier,customer_email,city\n\"Ann, B\",SN-3,ann@example.com,Graz\n",
            "ignoring the columns name, city\n",
        ),
    ] {
        let output = site.csv(list, &["--json"]).await;
        assert_eq!(report(&output, 0)[..4], [1, 0, 0, 0], "{list}");
        assert_eq!(stderr(&output), note);
    }
    let list = "device_type;device_identifier;customer_email\nmeter;SN-4;ann@example.com\n";
    assert_eq!(
        report(&site.csv(list, &["--json", "--auto-create"]).await, 0),
        [1, 0, 0, 0, 1, 0]
    );
    assert!(database.dump().await.contains(" SN-4 meter\n"));
    site.server.stop().await;
}

async fn smaller_limit(database: &'static TestDatabase) {
    let mut settings = ServerSettings::default();
    settings.service.max_devices_per_request = 7;
    let site = Site::start_with(database, settings).await;
    let list = (0..500).fold(HEADER.to_owned(), |list, number| {
        format!("{list}ann@example.com,SN-{number}\n")
    });
    let create = ["--json", "--auto-create", "--type", "sensor"];
    assert_eq!(report(&site.csv(&list, &create).await, 0), [500, 0, 0, 0, 500, 1]);
    site.server.stop().await;
}

async fn key_in_a_file(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    site.write("key", format!("{}\n", site.key));
    let mut command = site.command(&["--api-key-file", "key", "--customer", "ann@example.com", "SN-1"]);
    // The file is meant: it was named by hand.
    command.env("DEVICE_ASSIGNMENT_API_KEY", "another");
    let output = finish(command).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    site.server.stop().await;
}
