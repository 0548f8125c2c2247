//! The commands that look up, list and delete devices and customers at a running service.

use std::{collections::BTreeSet, process::Output};

use serde_json::{Value, json};

use crate::{
    assign::Site,
    support::{
        Api, Kind, Suite, TestDatabase, devices,
        program::{finish, refused, sentence, stderr, stdout},
        read_key,
    },
};

const ANN: &str = "ann@example.com";
const BOB: &str = "bob@example.com";

pub fn register(suite: &mut Suite) {
    suite.on_each("records::owners_are_looked_up", owners);
    suite.on_each("records::devices_and_customers_are_listed", lists);
    suite.on_each("records::devices_and_customers_are_deleted", deletions);
    suite.on(Kind::Sqlite, "records::long_lists_take_several_calls", long_lists);
    suite.on(Kind::Sqlite, "records::mistakes_are_explained", mistakes);
}

/// A service at which Ann has SN-1 and SN-2, Bob has SN-2, and SN-3 is nobody's.
async fn site(database: &'static TestDatabase) -> Site {
    let site = Site::start(database).await;
    devices(database, "acme", &["SN-1", "SN-2", "SN-3"]).await;
    let client = site.server.client(Api::Grpc, &site.key);
    client.assign(ANN, &["SN-1", "SN-2"]).await.ok();
    client.assign(BOB, &["SN-2"]).await.ok();
    site
}

/// Runs the command with these words.
async fn run(site: &Site, arguments: &str) -> Output {
    finish(site.of("", &arguments.split_whitespace().collect::<Vec<_>>())).await
}

/// What a command printed that must end with this code, a line each.
#[track_caller]
fn lines(output: &Output, code: i32) -> Vec<String> {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
    stdout(output).lines().map(str::to_owned).collect()
}

#[track_caller]
fn objects(output: &Output, code: i32) -> Vec<Value> {
    let lines = lines(output, code);
    lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// The columns of a line at these places.
fn columns(line: &str, places: &[usize]) -> Vec<String> {
    let cells: Vec<&str> = line.split('\t').collect();
    places.iter().map(|place| cells[*place].to_owned()).collect()
}

async fn owners(database: &'static TestDatabase) {
    let mut site = site(database).await;
    // A key that may only read is enough.
    site.key = read_key(database, "acme").await;
    let output = run(&site, "owners SN-2 SN-9 SN-3 SN-1").await;
    let lines = lines(&output, 3);
    let told: Vec<_> = lines.iter().map(|line| columns(line, &[0, 2])).collect();
    let expected = [["SN-2", ANN], ["SN-2", BOB], ["SN-3", ""], ["SN-1", ANN]];
    assert_eq!(told, expected);
    assert_eq!(stderr(&output), "device does not exist: SN-9\n");

    site.write("list.txt", b"SN-1\r\n\n SN-9 \n\xff\nSN-3\n\x01\n");
    let output = run(&site, "owners --json --file list.txt").await;
    let found = objects(&output, 1);
    let told: Vec<_> = found
        .iter()
        .map(|device| json!([device["identifier"], device["found"]]))
        .collect();
    assert_eq!(json!(told), json!([["SN-1", true], ["SN-9", false], ["SN-3", true]]));
    let owner = &found[0]["owners"][0];
    assert_eq!(owner["email"], ANN);
    let members: BTreeSet<&str> = found[1]
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    let expected = ["deviceId", "found", "hasMoreOwners", "identifier", "owners", "type"];
    assert_eq!(members, BTreeSet::from(expected));
    assert_eq!(
        stderr(&output),
        "line 4: device_identifier must be UTF-8\nline 6: device_identifier must not contain control characters\ndevice \
         does not exist: SN-9\n"
    );
    site.server.stop().await;
}

async fn lists(database: &'static TestDatabase) {
    let mut site = site(database).await;
    site.key = read_key(database, "acme").await;
    let all = lines(&run(&site, "devices").await, 0);
    let identifiers: Vec<_> = all.iter().map(|line| columns(line, &[0]).concat()).collect();
    assert_eq!(identifiers, ["SN-1", "SN-2", "SN-3"]);
    for (arguments, expected) in [
        ("devices --limit 2", &["SN-1", "SN-2"][..]),
        ("devices --limit 0", &[]),
        ("devices --unassigned", &["SN-3"]),
        ("devices --prefix SN-2", &["SN-2"]),
        ("devices --type none", &[]),
        ("devices Ann@example.com", &["SN-1", "SN-2"]),
        ("devices ann@example.com --limit 1", &["SN-1"]),
    ] {
        let listed = objects(&run(&site, &format!("{arguments} --json")).await, 0);
        let listed: Vec<_> = listed.iter().map(|device| device["identifier"].clone()).collect();
        assert_eq!(json!(listed), json!(expected), "{arguments}");
    }
    let customers = lines(&run(&site, "customers").await, 0);
    let told: Vec<_> = customers.iter().map(|line| columns(line, &[1, 2, 3])).collect();
    assert_eq!(told, [[ANN, "ann", ""], [BOB, "bob", ""]]);
    let id = columns(&customers[1], &[0]).concat();
    let listed = lines(&run(&site, &format!("devices {id}")).await, 0);
    assert_eq!(columns(&listed[0], &[0]), ["SN-2"]);
    let listed = objects(&run(&site, "customers --email-prefix BOB@ --json").await, 0);
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &json!(id)));
    site.server.stop().await;
}

async fn deletions(database: &'static TestDatabase) {
    let site = site(database).await;
    let before = database.dump().await;
    let dry = lines(&run(&site, "device delete SN-2 --dry-run").await, 0);
    assert!(
        dry[0].starts_with("dry run: dev_") && dry[0].ends_with(" deleted, 2 owner(s) unassigned"),
        "{dry:?}"
    );
    let dry = objects(&run(&site, "customer delete ann@example.com --dry-run --json").await, 0);
    let id = dry[0]["customerId"].as_str().expect("an id").to_owned();
    assert_eq!(dry, [json!({ "customerId": id, "unassignedCount": 2, "dryRun": true })]);
    assert_eq!(database.dump().await, before);

    let deleted = lines(&run(&site, &format!("customer delete {id}")).await, 0);
    assert_eq!(deleted, [format!("{id} deleted, 2 device(s) unassigned")]);
    let deleted = objects(&run(&site, "device delete SN-2 --json").await, 0);
    assert_eq!(deleted[0]["unassignedCount"], 1);
    assert_eq!(
        (database.count("customer").await, database.count("device").await),
        (1, 2)
    );
    for (arguments, sentence) in [
        (
            "device delete SN-2",
            "There is no device with this identifier in your organization",
        ),
        (
            "customer delete ann@example.com",
            "There is no customer with this email in your organization",
        ),
        (
            "devices ann@example.com",
            "There is no customer with this email in your organization",
        ),
        (
            "customer delete cust_00041061050r3gg28a1c60t3gf",
            "There is no customer with this id in your organization",
        ),
    ] {
        let said = self::sentence(&run(&site, arguments).await, 1);
        assert!(said.contains(sentence), "{arguments}: {said}");
    }
    site.server.stop().await;
}

/// More than fits in one call, or in one page.
async fn long_lists(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    let identifiers: Vec<String> = (0..2_345).map(|number| format!("SN-{number:04}")).collect();
    let words: Vec<&str> = identifiers.iter().map(String::as_str).collect();
    site.server.client(Api::Grpc, &site.key).create(ANN, &words).await.ok();
    let of_lines =
        |lines: Vec<String>| -> Vec<String> { lines.iter().map(|line| columns(line, &[0]).concat()).collect() };
    site.write("list.txt", identifiers.join("\n"));
    for arguments in ["owners --file list.txt", "devices", "devices ann@example.com"] {
        assert_eq!(
            of_lines(lines(&run(&site, arguments).await, 0)),
            identifiers,
            "{arguments}"
        );
    }
    let first = of_lines(lines(&run(&site, "devices --limit 1500").await, 0));
    assert_eq!(first, identifiers[..1_500]);
    site.server.stop().await;
}

async fn mistakes(database: &'static TestDatabase) {
    let mut site = site(database).await;
    for (arguments, problem) in [
        ("owners", "--file"),
        ("owners SN-1 --file list.txt", "cannot be used with"),
        ("devices ann@example.com --unassigned", "cannot be used with"),
        ("devices ann", "'[CUSTOMER]': must be an email address, or an id: cust_"),
        (
            "customer delete ann",
            "'<CUSTOMER>': must be an email address, or an id: cust_",
        ),
        ("devices a@b@c", ": email must be a valid email address"),
        (
            "customer delete cust_1",
            ": id must be the id of a customer: cust_ and 26 characters",
        ),
        (
            "device delete \u{7}",
            ": identifier must not contain control characters",
        ),
        ("devices --server localhost", "write http://host:50051"),
    ] {
        let said = refused(&run(&site, arguments).await, 2);
        assert!(said.contains(problem), "{arguments}: {said}");
    }
    let said = sentence(&run(&site, "owners --file missing.txt").await, 1);
    assert!(said.contains("missing.txt: "), "{said}");
    site.key = read_key(database, "acme").await;
    let said = sentence(&run(&site, "device delete SN-1").await, 1);
    assert!(said.contains("the service rejects the API key: "), "{said}");
    site.key = "canary".into();
    let said = sentence(&run(&site, "customers").await, 1);
    assert!(said.contains("API key") && !said.contains("canary"), "{said}");
    assert_eq!(
        (database.count("customer").await, database.count("device").await),
        (2, 3)
    );
    site.server.stop().await;
}
