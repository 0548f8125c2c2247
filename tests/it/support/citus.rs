//! A cluster of Citus that the tests run on, if `TEST_CITUS_URL` names its coordinator: `postgres://USER@HOST:PORT/DATABASE`, where
//! that database has the extension and knows the workers. Each test has a database of its own on every server.

use std::env;

use device_assignment::storage::{Database, DatabaseUrl, migrate_and_distribute};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use tokio::sync::OnceCell;

use super::database::connect;

/// Tests that do not run on Citus, by the beginning of their names, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "citus::a_database_without_the_extension",
        "every database of the tests has the extension",
    ),
    (
        "race::the_deadlock_counter_counts",
        "the coordinator does not count the deadlocks of its workers",
    ),
    (
        "race::a_row_that_somebody_else_commits_meanwhile",
        "the coordinator does not show that a worker waits for a lock",
    ),
    (
        "race::an_answer_that_some_order_of_the_calls_would_give",
        "the other writer of the test uses a statement that reaches over organizations",
    ),
    (
        "storage::settings_of_every_connection",
        "on Citus, statements are planned for each call",
    ),
    (
        "storage::a_batch_takes_as_many_statements",
        "on Citus, a batch takes other statements",
    ),
    (
        "storage::a_call_that_changes_nothing_writes_nothing",
        "the coordinator does not count the rows that its workers write",
    ),
    (
        "storage::a_device_of_many_owners",
        "the coordinator does not count the rows that its workers read",
    ),
    (
        "idempotency::few_expired_answers_are_deleted",
        "the coordinator does not count the rows that its workers read",
    ),
    ("metrics::values_are_right", "on Citus, a batch takes other statements"),
    (
        "traces::",
        "the tests name the statements of a batch, which are others on Citus",
    ),
    (
        "change_log::rows_of_no_organization_are_found",
        "foreign keys cannot be switched off on the workers, so there is no such row to find",
    ),
    (
        "change_log::connections_that_do_not_write_it_are_refused",
        "triggers do this, which Citus does not support",
    ),
    (
        "change_log::owners_and_owned_devices_are_not_deleted",
        "triggers do this, which Citus does not support",
    ),
    (
        "change_log::the_documented_way_back_works",
        "it restores foreign keys and removes triggers that Citus does not have",
    ),
];

/// The URLs of all servers, the coordinator first.
static SERVERS: OnceCell<Vec<String>> = OnceCell::const_new();

/// Whether the tests run on Citus.
pub fn is_used() -> bool {
    env::var("TEST_CITUS_URL").is_ok()
}

/// The test that needs Citus.
const NEEDS_CITUS: &str = "citus::tables_are_distributed_once";

/// Why this test does not run on Citus, or needs it, if so.
pub fn left_out(name: &str) -> Option<&'static str> {
    if !is_used() {
        return name
            .starts_with(NEEDS_CITUS)
            .then_some("TEST_CITUS_URL names no coordinator of Citus");
    }
    let is_named = |(beginning, _): &&(&str, &str)| name.starts_with(beginning);
    let (_, reason) = LEFT_OUT.iter().find(is_named)?;
    Some(reason)
}

/// Makes a migrated and distributed database on every server, which those of the tests are copied from.
pub async fn prepare_template(name: &str) {
    let servers = servers().await;
    for server in servers {
        run(server, &format!("CREATE DATABASE {name}")).await;
        run(&with_database(server, name), "CREATE EXTENSION citus").await;
    }
    let coordinator = with_database(&servers[0], name);
    // Few, so that a database is small.
    run(
        &coordinator,
        &format!("ALTER DATABASE {name} SET citus.shard_count = 4"),
    )
    .await;
    for (number, server) in servers.iter().enumerate() {
        let (host, port) = address(server);
        let add = if number == 0 {
            "citus_set_coordinator_host"
        } else {
            "citus_add_node"
        };
        run(&coordinator, &format!("SELECT {add}('{host}', {port})")).await;
    }
    let url = DatabaseUrl::parse(&coordinator).expect("a URL");
    let database = Database::open(url).await.expect("a database");
    migrate_and_distribute(&database).await.expect("a distributed template");
    database.close().await;
    // A database is copied only while nobody is connected to it. Citus itself connects to it again and again.
    for server in servers {
        run(server, &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
        let others = format!("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'");
        run(server, &others).await;
    }
}

/// Creates a database on every server.
pub async fn create(name: &str, options: &str) {
    for server in servers().await {
        run(server, &format!("CREATE DATABASE {name} {options}")).await;
    }
}

/// Drops a database on every server. It stays on a worker where a transaction is still prepared: no harm to other tests.
pub async fn remove(name: &str) {
    for server in servers().await {
        let connection = connect(server).await;
        let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        if let Err(error) = connection.execute_unprepared(&sql).await {
            println!("{name} stays on {server}: {error}");
        }
        close(connection).await;
    }
}

async fn servers() -> &'static [String] {
    let servers = SERVERS.get_or_init(|| async {
        let coordinator = env::var("TEST_CITUS_URL").expect("a URL");
        let connection = connect(&coordinator).await;
        let find = "SELECT nodename || ':' || nodeport FROM pg_dist_node WHERE groupid > 0 ORDER BY nodeid";
        let find = Statement::from_string(DbBackend::Postgres, find);
        let workers = connection.query_all_raw(find).await.expect("the workers");
        close(connection).await;
        let (host, port) = address(&coordinator);
        let worker = |row: sea_orm::QueryResult| {
            let worker: String = row.try_get_by_index(0).expect("a worker");
            coordinator.replacen(&format!("{host}:{port}"), &worker, 1)
        };
        let workers: Vec<_> = workers.into_iter().map(worker).collect();
        [vec![coordinator.clone()], workers].concat()
    });
    servers.await
}

/// The host and the port of a URL.
fn address(url: &str) -> (&str, &str) {
    let (_, rest) = url.split_once('@').expect("a URL with a user");
    let (address, _) = rest.split_once('/').expect("a URL with a database");
    address.rsplit_once(':').expect("a URL with a port")
}

fn with_database(url: &str, name: &str) -> String {
    let (base, options) = url.split_once('?').unwrap_or((url, ""));
    let (server, _) = base.rsplit_once('/').expect("a URL with a database");
    format!("{server}/{name}?{options}")
}

async fn run(url: &str, sql: &str) {
    let connection = connect(url).await;
    connection.execute_unprepared(sql).await.expect(sql);
    close(connection).await;
}

async fn close(connection: DatabaseConnection) {
    connection.close().await.expect("closed");
}
