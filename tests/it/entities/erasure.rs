//! After a customer was deleted, nothing is left of its data.

use std::{fs, path::PathBuf, time::Duration};

use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::json;

use super::call::{Call, save_customer};
use crate::support::{
    ASSIGN_ONE_PATH, Api, Kind, Program, TRANSFER_PATH, TestDatabase, load::eventually, organization, postgres,
    program::command,
};

/// In every value of the customers.
const CANARY: &str = "canary-7f3a9c";
/// In an earlier email address of the customers.
const EARLIER: &str = "earlier-7f3a9c";

pub async fn erased(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let program = Program::spawn(command(&["serve", "--database-url", database.url()])).await;
    let client = program.client(Api::Rest, &key);
    // Enough rows that pages are split and emptied.
    for number in 0..300 {
        let email = format!("customer-{number:03}@example.com");
        client.create(&email, &[&format!("SN-{number:03}")]).await.ok();
        if number % 30 == 1 {
            let customer = json!({
                "email": format!("{number:03}-{EARLIER}@example.com"),
                "name": format!("{CANARY} name {number}"),
                "phone": format!("{CANARY} {number}"),
                "address": format!("{CANARY} street"),
                "metadata": { (CANARY): "x".repeat(9_000) },
            });
            let id = save_customer(&client, customer).await;
            let email = format!("{CANARY}-{number:03}@example.com");
            save_customer(&client, json!({ "telemetronCustomerId": id, "email": email })).await;
            let device = format!("SN-{number:03}");
            client.assign(&email, &["SN-000", &device]).await.ok();
            // Stored answers with the address, and with the id as that of an earlier owner.
            let keyed = |key: &str| client.with_header("idempotency-key", &format!("{key}-{number}"));
            let assign = json!({ "deviceIdentifier": "SN-000", "customerEmails": [email] });
            keyed("assign").call_at(ASSIGN_ONE_PATH, &assign).await.ok();
            let buyer = "customer-000@example.com";
            let transfer = json!({ "customerEmail": buyer, "deviceIdentifiers": [device], "expectedOwner": email });
            let transferred = keyed("transfer").call_at(TRANSFER_PATH, &transfer).await.ok();
            assert!(transferred.body.to_string().contains(&id), "{transferred:?}");
        }
    }
    assert!(is_somewhere(database, CANARY).await, "the search finds what is there");
    assert_eq!(database.count("idempotency_key").await, 20);
    // The write-ahead log of SQLite has it until the next deletion.
    if database.kind == Kind::Postgres {
        assert!(!is_somewhere(database, EARLIER).await, "an address that was changed");
    }
    for number in (1..300).step_by(30) {
        let customer = json!({ "email": format!("{CANARY}-{number:03}@example.com") });
        let answer = Call::DeleteCustomer.make(&client, &customer).await.ok();
        assert_eq!(answer.body["unassignedCount"], 1);
    }
    assert_eq!(
        database
            .number("SELECT count(*) FROM idempotency_key WHERE length(answer) > 0")
            .await,
        0,
        "answers that name a deleted customer"
    );
    for canary in [CANARY, EARLIER] {
        assert!(
            !is_somewhere(database, canary).await,
            "{canary}, while the service runs"
        );
    }
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    for canary in [CANARY, EARLIER] {
        assert!(!log.contains(canary), "{log}");
        assert!(
            !is_somewhere(database, canary).await,
            "{canary}, after the service has stopped"
        );
    }
}

/// A reader keeps the write-ahead log from being emptied after a deletion, the service is killed before it can be emptied, and a property
/// is replaced. Nobody writes afterwards.
pub async fn erased_later(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let delete = async |program: &Program, name: &str| {
        let client = program.client(Api::Rest, &key);
        let email = format!("{name}@example.com");
        client.create(&email, &["SN-1"]).await.ok();
        Call::DeleteCustomer
            .make(&client, &json!({ "email": email }))
            .await
            .ok();
    };
    let gone = async |canary: &str| {
        eventually(canary, Duration::from_secs(30), async || {
            !is_somewhere(database, canary).await
        })
        .await;
    };
    let program = Program::serve(database.url()).await;
    let client = program.client(Api::Rest, &key);
    client.create("bob@example.com", &["SN-2"]).await.ok();

    let reader = database.connect().await;
    let read = reader.begin().await.expect("begun");
    read.execute_unprepared("SELECT * FROM customer").await.expect("read");
    delete(&program, CANARY).await;
    assert!(is_somewhere(database, CANARY).await, "the search finds what is there");
    read.rollback().await.expect("ended");
    gone(CANARY).await;

    for properties in [json!({ "owner": CANARY }), json!({})] {
        let device = json!({ "identifier": "SN-2", "properties": properties });
        Call::SaveDevice.make(&client, &device).await.ok();
    }
    gone(CANARY).await;

    let read = reader.begin().await.expect("begun");
    read.execute_unprepared("SELECT * FROM customer").await.expect("read");
    delete(&program, EARLIER).await;
    program.kill().await;
    assert!(is_somewhere(database, EARLIER).await, "the search finds what is there");
    read.rollback().await.expect("ended");
    let program = Program::serve(database.url()).await;
    gone(EARLIER).await;
    program.terminate().await;
    reader.close().await.expect("closed");
}

/// Whether the canary is in the files of SQLite, or in a dump of PostgreSQL, where bytes are hexadecimal digits.
async fn is_somewhere(database: &TestDatabase, canary: &str) -> bool {
    if database.kind == Kind::Postgres {
        let dump = postgres::dump(database.url());
        let digits: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
        return dump.contains(canary) || dump.contains(&digits);
    }
    let path = database.url().trim_start_matches("sqlite://");
    let path = path.split('?').next().unwrap_or(path);
    ["", "-wal", "-shm", "-journal"].iter().any(|suffix| {
        let file = fs::read(PathBuf::from(format!("{path}{suffix}"))).unwrap_or_default();
        file.windows(canary.len()).any(|window| window == canary.as_bytes())
    })
}
