//! Transferring devices in bulk from the command line.

use std::{collections::BTreeMap, process::Output};

use serde_json::{Value, json};

use super::{HEADER, Site, owners};
use crate::support::{
    Kind, Suite, TestDatabase, devices,
    effects::owned,
    program::{finish, stderr, stdout},
};

const ANN: &str = "ann@example.com";
const BOB: &str = "bob@example.com";

pub fn register(suite: &mut Suite) {
    suite.on_each("assign::transfer::a_sale", sale);
    suite.on_each("assign::transfer::many_customers", many_customers);
    suite.on(
        Kind::Sqlite,
        "assign::transfer::the_last_row_of_a_device_decides",
        last_row,
    );
}

async fn transfer(site: &Site, arguments: &[&str]) -> Output {
    finish(site.of("transfer", arguments)).await
}

async fn sale(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    devices(database, "acme", &["SN-1", "SN-2", "SN-3"]).await;
    let assign = ["--customer", ANN, "SN-1", "SN-2"];
    assert_eq!(site.run(&assign).await.status.code(), Some(0));

    let before = database.dump().await;
    let sale = ["--customer", BOB, "--expected-owner", ANN, "SN-1", "SN-3", "SN-9"];
    let output = transfer(&site, &[sale.as_slice(), &["--dry-run"]].concat()).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        "dry run: 1 assigned, 0 already assigned, 2 skipped, 0 refused\n1 previous owner(s) removed\n0 device(s) and 1 \
         customer(s) created\n"
    );
    assert_eq!(database.dump().await, before);

    let output = transfer(&site, &[sale.as_slice(), &["--json"]].concat()).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let expected = json!({
        "assigned": 1, "alreadyAssigned": 0, "ownersRemoved": 1, "skipped": 2, "refused": 0, "devicesCreated": 0,
        "customersCreated": 1, "retries": 0, "dryRun": false,
    });
    assert_eq!(report, expected);
    // The service knows a call if it comes again after a lost answer.
    assert_ne!(database.count("idempotency_key").await, 0);
    // Rows that are not read at once are sent in calls that run in parallel.
    let said = stderr(&output);
    let mut skipped: Vec<&str> = said.lines().collect();
    skipped.sort_unstable();
    let reason = "skipped, device does not exist, or does not belong to the expected owner: ";
    assert_eq!(skipped, [format!("{reason}SN-3"), format!("{reason}SN-9")]);
    assert_eq!(owned(database).await, owners(&[(ANN, &["SN-2"]), (BOB, &["SN-1"])]));

    // A second sale of the same device by Ann takes nothing from Bob.
    let again = ["--customer", "eve@example.com", "--expected-owner", ANN, "SN-1"];
    let output = transfer(&site, &again).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        "0 assigned, 0 already assigned, 1 skipped, 0 refused\n0 previous owner(s) removed\n"
    );

    for (arguments, said) in [
        (["--expected-owner", "ann", "SN-1"], "--expected-owner: "),
        (["--auto-create", "SN-1", "SN-2"], "--auto-create needs --type"),
    ] {
        let output = transfer(&site, &[["--customer", BOB].as_slice(), &arguments].concat()).await;
        assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
    site.server.stop().await;
}

async fn many_customers(database: &'static TestDatabase) {
    let site = Site::start(database).await;
    devices(database, "acme", &["SN-1", "SN-2"]).await;
    let list = format!("{HEADER}{ANN},SN-1\n{BOB},SN-1\n{ANN},SN-2\n");
    assert_eq!(site.csv(&list, &[]).await.status.code(), Some(0));

    // The file names a type, and its last row breaks a rule.
    let sales =
        format!("customer_email,device_identifier,device_type\n{BOB},SN-1,\n{BOB},SN-2,\n{BOB},SN-3,lamp\nbob,SN-1,\n");
    site.write("sales.csv", sales);
    let output = transfer(&site, &["--csv", "sales.csv", "--auto-create", "--type", "sensor"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(
        stderr(&output),
        "line 5: customer_email must be a valid email address\n"
    );
    assert_eq!(
        stdout(&output),
        "2 assigned, 1 already assigned, 0 skipped, 1 refused\n2 previous owner(s) removed\n1 device(s) and 0 customer(s) \
         created\n"
    );
    assert_eq!(
        owned(database).await,
        owners(&[(ANN, &[]), (BOB, &["SN-1", "SN-2", "SN-3"])])
    );
    site.server.stop().await;
}

async fn last_row(database: &'static TestDatabase) {
    const DEVICES: usize = 20;
    let site = Site::start(database).await;
    let names: Vec<String> = (0..DEVICES).map(|number| format!("SN-{number}")).collect();
    let words: Vec<&str> = names.iter().map(String::as_str).collect();
    devices(database, "acme", &words).await;
    // Each device is sold five times. The calls of a list are sent side by side.
    let mut list = HEADER.to_owned();
    let mut expected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let customers = ["ann@example.com", "bob@example.com", "eve@example.com"];
    for sale in 0..5 {
        for (number, device) in words.iter().enumerate() {
            let customer = customers[(number * 7 + sale * number + sale) % 3];
            list.push_str(&format!("{customer},{device}\n"));
            if sale == 4 {
                expected.entry(customer).or_default().push(device);
            }
        }
    }
    site.write("sales.csv", list);
    let output = transfer(&site, &["--csv", "sales.csv", "--parallel", "8"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let expected: Vec<(&str, &[&str])> = expected
        .iter()
        .map(|(customer, of)| (*customer, of.as_slice()))
        .collect();
    assert_eq!(owned(database).await, owners(&expected));
    site.server.stop().await;
}
