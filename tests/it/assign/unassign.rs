//! Removing devices in bulk from the command line.

use std::process::Output;

use serde_json::{Value, json};

use super::{HEADER, Site};
use crate::support::{
    Suite, TestDatabase, devices,
    program::{finish, stderr, stdout},
};

pub fn register(suite: &mut Suite) {
    suite.on_each("assign::unassign::one_customer", one_customer);
    suite.on_each("assign::unassign::many_customers", many_customers);
    suite.on_each("assign::unassign::an_unknown_customer", unknown_customer);
}

async fn unassign(site: &Site, arguments: &[&str]) -> Output {
    finish(site.of("unassign", arguments)).await
}

#[track_caller]
fn assert_report(output: &Output, code: i32, counts: [u64; 3]) {
    assert_eq!(output.status.code(), Some(code), "{}", stderr(output));
    let report: Value = serde_json::from_str(&stdout(output)).expect("JSON");
    let [unassigned, skipped, refused] = counts;
    let expected =
        json!({ "unassigned": unassigned, "skipped": skipped, "refused": refused, "retries": 0, "dryRun": false });
    assert_eq!(report, expected);
}

async fn one_customer(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    devices(database, "acme", &["SN-1", "SN-2", "SN-3"]).await;
    let assign = ["--customer", "ann@example.com", "SN-1", "SN-2", "SN-3"];
    assert_eq!(site.run(&assign).await.status.code(), Some(0));

    let before = database.dump().await;
    let rows = ["--customer", "ann@example.com", "--dry-run", "SN-1", "SN-9"];
    let output = unassign(&site, &rows).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(stdout(&output), "dry run: 1 unassigned, 1 skipped, 0 refused\n");
    let rows = [
        "--customer",
        "bob@example.com",
        "--dry-run",
        "SN-1",
        "SN-8",
        "--auto-create",
        "--type",
        "t",
    ];
    let output = site.run(&rows).await;
    assert_eq!(
        stdout(&output),
        "dry run: 2 assigned, 0 already assigned, 0 skipped, 0 refused\n1 device(s) and 1 customer(s) created\n"
    );
    assert_eq!(database.dump().await, before);

    let rows = ["--customer", "Ann@example.com", "SN-1", " SN-2 ", "SN-1", "SN-9"];
    let output = unassign(&site, &rows).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(stdout(&output), "2 unassigned, 2 skipped, 0 refused\n");
    // Rows that are read late are in another call, and calls end in any order.
    let stderr = stderr(&output);
    let mut skipped: Vec<&str> = stderr.lines().collect();
    skipped.sort_unstable();
    assert_eq!(
        skipped,
        [
            "skipped, device does not belong to the customer: SN-1",
            "skipped, device does not belong to the customer: SN-9"
        ]
    );
    let rows = ["--customer", "ann@example.com", "--json", "SN-1", "SN-3"];
    assert_report(&unassign(&site, &rows).await, 3, [1, 1, 0]);
    assert_eq!(database.count("device_assignment").await, 0);
    site.server.stop().await;
}

async fn many_customers(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    devices(database, "acme", &["SN-1", "SN-2"]).await;
    let list = format!("{HEADER}ann@example.com,SN-1\nbob@example.com,SN-1\nbob@example.com,SN-2\n");
    assert_eq!(site.csv(&list, &[]).await.status.code(), Some(0));

    let removed = format!("{HEADER}ann@example.com,SN-1\nbob,SN-1\nbob@example.com,SN-2\nbob@example.com,\n");
    site.write("list.csv", removed);
    let options = ["--csv", "list.csv", "--json", "--skipped", "skipped.csv"];
    let output = unassign(&site, &options).await;
    assert_report(&output, 1, [2, 0, 2]);
    let mut said: Vec<String> = stderr(&output).lines().map(str::to_owned).collect();
    said.sort();
    assert_eq!(
        said,
        [
            "line 3: customer_email must be a valid email address",
            "line 5: device_identifier must not be empty",
        ]
    );
    assert_eq!(database.count("device_assignment").await, 1);

    site.write("list.csv", &list);
    let output = unassign(&site, &options).await;
    assert_report(&output, 3, [1, 2, 0]);
    let skipped = std::fs::read_to_string(site.path("skipped.csv")).expect("a file");
    let mut skipped: Vec<&str> = skipped.lines().skip(1).collect();
    skipped.sort_unstable();
    assert_eq!(skipped, ["ann@example.com,SN-1", "bob@example.com,SN-2"]);
    assert_eq!(database.count("device_assignment").await, 0);
    site.server.stop().await;
}

async fn unknown_customer(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    devices(database, "acme", &["SN-1"]).await;
    let output = unassign(&site, &["--customer", "ann@example.com", "SN-1"]).await;
    assert_eq!(output.status.code(), Some(1));
    let sentence = "There is no customer with this customer_email in your organization";
    assert!(
        stderr(&output).contains(&format!("--customer: {sentence}")),
        "{}",
        stderr(&output)
    );

    site.write("list.csv", format!("{HEADER}ann@example.com,SN-1\n"));
    let output = unassign(&site, &["--csv", "list.csv", "--json"]).await;
    assert_report(&output, 1, [0, 0, 1]);
    assert_eq!(stderr(&output), format!("line 2: {sentence}\n"));
    site.server.stop().await;
}
