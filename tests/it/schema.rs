//! Migrations as operators run them, and what the program does with a schema that does not fit.

use migrations::{Migrator, MigratorTrait};
use serde_json::{Value, json};

use crate::support::{
    Program, Suite, TestDatabase,
    database::Kind,
    program::{command, run, sentence, stderr, stdout},
};

pub fn register(suite: &mut Suite) {
    suite.with_postgres("schema::serve_refuses_an_empty_postgres_unless_told", behind);
    suite.on_each("schema::a_newer_schema_is_left_alone", ahead);
    suite.test("schema::migrate_says_what_it_does::sqlite", || status(Kind::Sqlite));
    suite.with_postgres("schema::migrate_says_what_it_does::postgres", || status(Kind::Postgres));
    suite.test("schema::eight_migrate_at_once::sqlite", || at_once(Kind::Sqlite));
    suite.with_postgres("schema::eight_migrate_at_once::postgres", || at_once(Kind::Postgres));
}

/// The number of steps of this program.
fn steps() -> i64 {
    i64::try_from(Migrator::migrations().len()).expect("a few")
}

async fn behind() {
    let database = TestDatabase::empty(Kind::Postgres).await;
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    for arguments in [
        [
            "serve",
            "--grpc-addr=127.0.0.1:0",
            "--rest-addr=127.0.0.1:0",
            "--admin-addr=off",
        ]
        .as_slice(),
        &["organization", "list"],
        &["api-key", "create", "--organization=acme"],
    ] {
        let output = run(&[arguments, &["--database-url", database.url()]].concat()).await;
        let said = sentence(&output, 1);
        assert!(said.contains("`device-assignment migrate`"), "{said}");
        assert_eq!(database.number(tables).await, 0, "{arguments:?}");
    }

    let migrating = command(&["serve", "--migrate", "--database-url", database.url()]);
    let (code, log) = Program::spawn(migrating).await.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(database.count("seaql_migrations").await, steps());
    let (code, log) = Program::serve(database.url()).await.terminate().await;
    assert_eq!(code, Some(0), "{log}");
    database.remove().await;
}

async fn ahead(database: &'static TestDatabase) {
    let connection = database.connect().await;
    let step = "m29991231_000001_from_tomorrow";
    let insert = format!("INSERT INTO seaql_migrations (version, applied_at) VALUES ('{step}', 0)");
    sea_orm::ConnectionTrait::execute_unprepared(&connection, &insert)
        .await
        .expect("a row");
    connection.close().await.expect("closed");
    let serve = [
        "serve",
        "--grpc-addr=127.0.0.1:0",
        "--rest-addr=127.0.0.1:0",
        "--admin-addr=off",
    ];
    for arguments in [
        serve.as_slice(),
        &[serve.as_slice(), &["--migrate"]].concat(),
        &["migrate"],
        &["organization", "create", "acme"],
    ] {
        let said = sentence(
            &run(&[arguments, &["--database-url", database.url()]].concat()).await,
            1,
        );
        assert!(said.contains("ahead of this program"), "{said}");
        assert!(said.contains(step), "{said}");
    }
    assert_eq!(database.count("organization").await, 0);

    let output = run(&["migrate", "--status", "--database-url", database.url()]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let printed = stdout(&output);
    assert!(printed.contains(&format!("unknown\t{step}\n")), "{printed}");
}

async fn status(kind: Kind) {
    let database = TestDatabase::empty(kind).await;
    if kind == Kind::Sqlite {
        // Created by another command: this one never does so only to look.
        let path = database.url().trim_start_matches("sqlite://");
        std::fs::File::create_new(path.trim_end_matches("?mode=rwc")).expect("a file");
    }
    let migrate = async |options: &[&str]| {
        let output = run(&[&["migrate", "--database-url", database.url()], options].concat()).await;
        assert!(output.status.success(), "{}", stderr(&output));
        (stdout(&output), stderr(&output))
    };
    let parsed = |printed: &str| serde_json::from_str::<Value>(printed).expect("JSON");

    let before = parsed(&migrate(&["--status", "--json"]).await.0);
    let steps = before["pending"].clone();
    let names: Vec<&str> = steps
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(names.contains(&"m20261123_000001_create_tables"), "{before}");
    assert_eq!(before, json!({ "applied": [], "pending": steps, "unknown": [] }));
    let rows = |state: &str| {
        names
            .iter()
            .map(|name| format!("{state}\t{name}\n"))
            .collect::<String>()
    };
    assert_eq!(migrate(&["--status"]).await, (rows("pending"), String::new()));

    // Messages go to stderr.
    let applied = format!("{} step(s) applied\n", names.len());
    let (printed, said) = migrate(&[]).await;
    assert_eq!(printed, "");
    assert!(said.ends_with(&applied), "{said}");
    assert_eq!(migrate(&["--status"]).await, (rows("applied"), String::new()));
    let after = json!({ "applied": steps, "pending": [], "unknown": [] });
    let (printed, said) = migrate(&["--json"]).await;
    assert_eq!((parsed(&printed), said.as_str()), (after, "0 step(s) applied\n"));
    database.remove().await;
}

async fn at_once(kind: Kind) {
    let database = TestDatabase::empty(kind).await;
    let arguments = ["migrate", "--database-url", database.url()];
    let runs: Vec<_> = (0..8).map(|_| tokio::spawn(command(&arguments).output())).collect();
    for run in runs {
        let output = run.await.expect("no panic").expect("the program runs");
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    assert_eq!(database.count("seaql_migrations").await, steps());
    assert_eq!(database.count("device_assignment").await, 0);
    database.remove().await;
}
