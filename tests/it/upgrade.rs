//! A database of the version before the change log, as `tests/released/database` has it, and its upgrade to this version.

use sea_orm::ConnectionTrait;

use crate::{
    storage::schema,
    support::{
        Api, Kind, Program, Suite, TestDatabase,
        program::{run, stderr, stdout, talk},
    },
};

pub fn register(suite: &mut Suite) {
    suite.test("upgrade::everything_is_there_afterwards::sqlite", || {
        upgrade(Kind::Sqlite)
    });
    suite.with_postgres("upgrade::everything_is_there_afterwards::postgres", || {
        upgrade(Kind::Postgres)
    });
    suite.test("upgrade::needs_an_sqlite_file_alone", alone);
}

/// More than one entry of the log holds.
const MANY: i64 = 10_001;

/// The dump, of which the comment at the top has the keys.
fn dump(kind: Kind) -> &'static str {
    match kind {
        Kind::Sqlite => include_str!("../released/database/sqlite.sql"),
        Kind::Postgres => include_str!("../released/database/postgres.sql"),
    }
}

fn key(kind: Kind, whose: &str) -> &'static str {
    let line = dump(kind).lines().find_map(|line| line.strip_prefix(whose));
    line.unwrap_or_else(|| panic!("{whose}")).trim()
}

async fn execute(database: &TestDatabase, sql: &str) {
    let connection = database.connect().await;
    connection.execute_unprepared(sql).await.expect(sql);
    connection.close().await.expect("closed");
}

/// A database with the released schema and data.
async fn released(kind: Kind) -> TestDatabase {
    let database = TestDatabase::empty(kind).await;
    execute(&database, dump(kind)).await;
    database
}

/// Gives ann of acme so many more devices.
fn many(kind: Kind) -> String {
    let (numbers, id) = match kind {
        Kind::Sqlite => (
            format!("WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})"),
            "unhex(printf('%032x', i))",
        ),
        Kind::Postgres => (
            format!("WITH n AS (SELECT generate_series(1, {MANY}) AS i)"),
            "lpad(to_hex(i), 32, '0')::uuid",
        ),
    };
    format!(
        "{numbers} INSERT INTO device (organization_id, id, identifier, device_type, created_at) \
         SELECT o.id, {id}, 'many-' || i, 'sensor', o.created_at FROM n, organization AS o WHERE o.name = 'acme'; \
         INSERT INTO device_assignment (organization_id, customer_id, device_id, created_at) \
         SELECT c.organization_id, c.id, d.id, c.created_at FROM device AS d \
         JOIN customer AS c ON c.organization_id = d.organization_id AND c.email = 'ann@example.com' \
         WHERE d.identifier LIKE 'many-%'"
    )
}

/// What the released schema stores.
const TABLES: [(&str, &str, &str); 5] = [
    ("organization", "id, name", "id"),
    ("api_key", "organization_id, id, label", "id"),
    ("customer", "organization_id, id, email, name", "id"),
    ("device", "organization_id, id, identifier, device_type", "id"),
    (
        "device_assignment",
        "organization_id, customer_id, device_id",
        "1, 2, 3",
    ),
];

async fn verified(database: &TestDatabase) {
    let output = run(&["verify", "--database-url", database.url()]).await;
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let said = stderr(&output);
    for name in ["acme", "globex", "initech"] {
        assert!(
            said.contains(&format!("{name}: the change log and the tables agree\n")),
            "{said}"
        );
    }
}

async fn upgrade(kind: Kind) {
    let database = released(kind).await;
    execute(&database, &many(kind)).await;
    let before = database.dump_of(&TABLES).await;
    assert!(before.lines().count() > 20_000, "{}", before.lines().count());
    let output = run(&["migrate", "--database-url", database.url()]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).ends_with("step(s) applied\n"), "{}", stderr(&output));

    assert!(
        database.dump_of(&TABLES).await == before,
        "every row is there, and no other"
    );
    let fresh = TestDatabase::create(kind).await;
    assert_eq!(schema(&database).await, schema(&fresh).await);
    fresh.remove().await;
    verified(&database).await;
    let changes = "SELECT count(*) FROM change_log WHERE kind = 'baseline'";
    // For acme two entries of devices and two of assignments, and one each of all else.
    assert_eq!(database.number(changes).await, 8);
    let largest = match kind {
        Kind::Sqlite => "SELECT max(length(devices_created)) / 16 FROM change_log",
        Kind::Postgres => "SELECT max(cardinality(devices_created))::bigint FROM change_log",
    };
    assert_eq!(database.number(largest).await, 10_000);

    let program = Program::serve(database.url()).await;
    for api in [Api::Grpc, Api::Rest] {
        let client = program.client(api, key(kind, "-- Key of acme: "));
        let answer = client
            .assign("ann@example.com", &["SN-1", "ü 設 🛰", "many-10001"])
            .await
            .ok();
        assert_eq!(
            answer.body["alreadyAssigned"].as_array().map(Vec::len),
            Some(3),
            "{answer:?}"
        );
        client.assign("bob@example.com", &["SN-unowned"]).await.ok();
        client.unassign("bob@example.com", &["SN-unowned", "SN-4"]).await.ok();
        client.assign("bob@example.com", &["SN-4"]).await.ok();
        let created = format!("{api:?}");
        client.create("eve@example.com", &[&created]).await.ok();
        let other = program.client(api, key(kind, "-- Key of globex: "));
        let answer = other.assign("ann@example.com", &["SN-1", "SN-3"]).await.ok();
        assert_eq!(answer.body["skipped"], serde_json::json!(["SN-3"]), "{answer:?}");
        let revoked = program.client(api, key(kind, "-- Revoked key of acme: "));
        assert_eq!(
            revoked.assign("ann@example.com", &["SN-1"]).await.code,
            "UNAUTHENTICATED"
        );
    }
    let (code, log) = program.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    verified(&database).await;
    database.remove().await;
}

/// Another process writes past the log if it has the file open while the log begins.
async fn alone() {
    let database = TestDatabase::create(Kind::Sqlite).await;
    let program = Program::serve(database.url()).await;
    // The other process keeps the file open while the released schema takes the place of its own.
    let tables = database
        .rows("SELECT 'DROP TABLE \"' || name || '\";' FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
        .await;
    let drop: String = tables
        .iter()
        .map(|row| row.try_get_by_index::<String>(0).expect("text"))
        .collect();
    execute(
        &database,
        &format!("PRAGMA foreign_keys = OFF; {drop} {}", dump(Kind::Sqlite)),
    )
    .await;
    let before = database.dump_of(&TABLES).await;

    for command in [["migrate"].as_slice(), &["organization", "create", "umbrella"]] {
        let output = run(&[command, &["--database-url", database.url()]].concat()).await;
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let path = database
            .url()
            .trim_start_matches("sqlite://")
            .trim_end_matches("?mode=rwc");
        let expected = format!(
            "device-assignment: another process has the database file {path} open, and this upgrade needs it alone; stop the \
             service and everything else that uses the file (`fuser -v {path}` lists it), then run this again\n"
        );
        assert_eq!(talk(&output), expected);
    }
    assert_eq!(database.dump_of(&TABLES).await, before);
    assert_eq!(database.count("seaql_migrations").await, 3, "nothing was done");

    let log = program.kill().await;
    assert!(!log.contains("panicked"), "{log}");
    let output = run(&["migrate", "--database-url", database.url()]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(database.dump_of(&TABLES).await, before);
    verified(&database).await;
    database.remove().await;
}
