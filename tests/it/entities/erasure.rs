//! After a customer was deleted, nothing is left of its data.

use std::{fs, path::PathBuf};

use serde_json::json;

use super::call::{Call, save_customer};
use crate::support::{Api, Kind, Program, TestDatabase, organization, program::command};

/// In every value of the customer.
const CANARY: &str = "canary-7f3a9c";

pub async fn erased(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let program = Program::spawn(command(&["serve", "--database-url", database.url()])).await;
    let client = program.client(Api::Rest, &key);
    // Enough rows that pages are split and emptied.
    for number in 0..300 {
        let email = format!("customer-{number:03}@example.com");
        client.create(&email, &[&format!("SN-{number:03}")]).await.ok();
        if number % 30 == 0 {
            let customer = json!({
                "email": format!("{number:03}-{CANARY}@example.com"),
                "name": format!("{CANARY} name {number}"),
                "phone": format!("{CANARY} {number}"),
                "address": format!("{CANARY} street"),
                "metadata": { (CANARY): "x".repeat(9_000) },
            });
            let id = save_customer(&client, customer).await;
            let changed = json!({ "telemetronCustomerId": id, "email": format!("{CANARY}-{number:03}@example.com") });
            save_customer(&client, changed).await;
            client
                .assign(&format!("{CANARY}-{number:03}@example.com"), &["SN-000"])
                .await
                .ok();
        }
    }
    assert!(is_somewhere(database).await, "the search finds what is there");
    for number in (0..300).step_by(30) {
        let customer = json!({ "email": format!("{CANARY}-{number:03}@example.com") });
        let answer = Call::DeleteCustomer.make(&client, &customer).await.ok();
        assert_eq!(answer.body["unassignedCount"], 1);
    }
    assert!(!is_somewhere(database).await, "while the service runs");
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains(CANARY), "{log}");
    assert!(!is_somewhere(database).await, "after the service has stopped");
}

/// Whether the canary is in the files of SQLite, or in a row of PostgreSQL.
async fn is_somewhere(database: &TestDatabase) -> bool {
    if database.kind == Kind::Sqlite {
        let path = database.url().trim_start_matches("sqlite://");
        let path = path.split('?').next().unwrap_or(path);
        return ["", "-wal", "-shm", "-journal"].iter().any(|suffix| {
            let file = fs::read(PathBuf::from(format!("{path}{suffix}"))).unwrap_or_default();
            file.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
        });
    }
    let tables = database
        .rows("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
        .await;
    for table in tables {
        let table: String = table.try_get_by_index(0).expect("a name");
        let sql = format!("SELECT count(*) FROM {table} AS t WHERE t::text LIKE '%{CANARY}%'");
        if database.number(&sql).await > 0 {
            return true;
        }
    }
    false
}
