//! PostgreSQL with the extension Citus, which keeps each organization on one of several servers. The tests of the suite run on it with
//! `TEST_CITUS_URL`; these hold the service to its rules where there is none.

use std::collections::BTreeSet;

use device_assignment::domain::api_key::Scope;
use sea_orm::ConnectionTrait;
use serde_json::Value;

use crate::{
    contract::world,
    matrix::{
        john,
        methods::{JOHN, rows},
    },
    support::{
        Api, Kind, Program, Suite, TestDatabase, citus,
        program::{command, run, sentence, stderr, stdout},
    },
};

/// The tables that are distributed by organization.
const DISTRIBUTED: [&str; 5] = [
    "customer",
    "device",
    "device_assignment",
    "change_log",
    "idempotency_key",
];

/// What Citus cannot do with these tables, or does on another server.
const IMPOSSIBLE: [(&str, &str); 5] = [
    ("ctid", "rows cannot be found by their place"),
    ("for update", "rows of several servers cannot be locked"),
    ("for share", "rows of several servers cannot be locked"),
    ("recursive", "a recursion does not reach over servers"),
    ("pg_walfile_name", "a server tells only its own timeline"),
];

/// Statements that are not part of a call, by a piece of each: they concern all organizations.
const UPKEEP: [&str; 2] = [
    "log.revision = organization.origins_erased_through + 1",
    "idempotency_key as old",
];

pub fn register(suite: &mut Suite) {
    suite.on(Kind::Postgres, "citus::every_statement_goes_to_one_server", statements);
    suite.on_each("citus::a_database_without_the_extension_stays_as_it_is", not_there);
    suite.with_postgres("citus::tables_are_distributed_once", distributed);
}

async fn not_there(database: &'static TestDatabase) {
    let output = run(&["migrate", "--distribute", "--database-url", database.url()]).await;
    let said = sentence(&output, 1);
    match database.kind {
        Kind::Sqlite => assert!(said.contains("SQLite is one file"), "{said}"),
        // With the tests on Citus, it is there.
        Kind::Postgres if citus::is_used() => unreachable!("left out"),
        Kind::Postgres => assert!(said.contains("CREATE EXTENSION citus"), "{said}"),
    }
    let output = run(&["migrate", "--status", "--database-url", database.url()]).await;
    assert!(!stdout(&output).contains("table\t"), "{}", stdout(&output));
}

/// On Citus: rows are distributed and nothing of them stays behind; a second time changes nothing.
async fn distributed() {
    let database = TestDatabase::create(Kind::Postgres).await;
    let key = world(&database).await;
    let before = database.dump().await;
    let output = run(&["migrate", "--distribute", "--database-url", database.url()]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(database.dump().await, before);
    let output = run(&["migrate", "--status", "--database-url", database.url()]).await;
    let tables: Vec<_> = stdout(&output)
        .lines()
        .filter_map(|line| line.strip_prefix("table\t").map(str::to_owned))
        .collect();
    assert_eq!(
        tables,
        [
            "organization\teverywhere",
            "api_key\teverywhere",
            "history\teverywhere",
            "customer\tby organization_id",
            "device\tby organization_id",
            "device_assignment\tby organization_id",
            "change_log\tby organization_id",
            "idempotency_key\tby organization_id",
        ]
    );
    let program = Program::serve(database.url()).await;
    program.client(Api::Rest, &key).assign(JOHN, &["SN-001"]).await.ok();
    program.terminate().await;
    database.remove().await;
}

/// Makes every call, with the statements for Citus on a server without it, and checks each statement: it names one organization for
/// each of its tables, and needs nothing that Citus lacks.
async fn statements(database: &'static TestDatabase) {
    let key = world(database).await;
    let named = john(database, "acme").await;
    if !citus::is_used() {
        // The service only looks for the name.
        let connection = database.connect().await;
        connection
            .execute_unprepared(
                "SET allow_system_table_mods = on; \
                 INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion) \
                 VALUES (4000000000, 'citus', 10, 'public'::regnamespace, false, '')",
            )
            .await
            .expect("an extension");
        connection.close().await.expect("closed");
    }
    let mut serve = command(&["serve", "--database-url", database.url()]);
    serve.env("RUST_LOG", "info,sqlx::query=debug");
    let program = Program::spawn(serve).await;
    let client = program.client(Api::Rest, &key);
    for (number, row) in rows().iter().enumerate() {
        client.create(JOHN, &["SN-001", "SN-002"]).await.ok();
        let plain = row.call(&client, &named).await;
        let keyed = client.with_header("idempotency-key", &format!("key-{number}"));
        let answers = match row.scope {
            Scope::Write => vec![plain, row.call(&keyed, &named).await, row.call(&keyed, &named).await],
            Scope::Read => vec![plain],
        };
        for answer in answers {
            assert_ne!(answer.code, "INTERNAL", "{}: {answer:?}", row.rpc);
        }
    }
    let (_, log) = program.terminate().await;
    let found = run(&["verify", "--database-url", database.url()]).await;
    assert!(found.status.success(), "{}", stderr(&found));
    let log: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let queries = log.iter().filter(|line| line["target"] == "sqlx::query");
    let texts: BTreeSet<String> = queries
        .map(|line| match line["db.statement"].as_str() {
            Some("") | None => line["summary"].as_str().unwrap_or_default().to_owned(),
            Some(text) => text.to_owned(),
        })
        .collect();
    let checked: Vec<_> = texts.iter().filter(|text| !tables(&words(text)).is_empty()).collect();
    assert!(checked.len() >= 30, "{checked:#?}");
    let faults: Vec<_> = checked.iter().filter_map(|text| Some((fault(text)?, text))).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    for name in ["update device", "update customer", "delete from device_assignment"] {
        assert!(
            checked.iter().any(|text| words(text).join(" ").contains(name)),
            "{name}"
        );
    }
}

/// The words of a statement, without comments and quotes.
fn words(sql: &str) -> Vec<String> {
    let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
    let text = lines.collect::<Vec<_>>().join(" ").to_lowercase();
    let text = text.replace('"', "").replace(['(', ')', ',', ';'], " ");
    text.split_whitespace().map(str::to_owned).collect()
}

/// The distributed tables that a statement names, as often as it does.
fn tables(words: &[String]) -> Vec<&str> {
    let names = words.windows(2).filter_map(|pair| {
        let [before, table] = pair else { return None };
        let is_named = ["from", "join", "into", "update", "using"].contains(&before.as_str());
        let table = DISTRIBUTED.into_iter().find(|name| table == name)?;
        is_named.then_some(table)
    });
    names.collect()
}

/// Why Citus would not run a statement on one server.
fn fault(sql: &str) -> Option<String> {
    let words = words(sql);
    let text = words.join(" ");
    if UPKEEP.iter().any(|piece| text.contains(piece)) {
        return None;
    }
    if let Some((_, why)) = IMPOSSIBLE.iter().find(|(construct, _)| text.contains(construct)) {
        return Some((*why).to_owned());
    }
    if text.starts_with("update") && sql.contains(")[") {
        return Some("a column cannot be set to an element of an array".to_owned());
    }
    if text.starts_with("insert") && text.contains("on conflict") {
        return Some("an INSERT that replaces rows loses the types of its parameters".to_owned());
    }
    if text.contains("insert into change_log") && !text.starts_with("insert") {
        return Some("parts that read and parts that write do not see one snapshot".to_owned());
    }
    let filters = words.windows(3).filter(|three| match three {
        // A row that is written belongs to the organization in the first column.
        [select, parameter, _] if select == "select" => parameter.starts_with("$1"),
        [column, is, parameter] => column.ends_with("organization_id") && is == "=" && parameter.starts_with('$'),
        _ => false,
    });
    let (named, filtered) = (tables(&words).len(), filters.count());
    (filtered < named).then(|| format!("{named} tables, and {filtered} of them for one organization"))
}
