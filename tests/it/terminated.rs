//! A backend of PostgreSQL that is terminated under load: only the calls that it was carrying out are refused.

use std::time::Duration;

use device_assignment::storage::WriterSettings;

use crate::support::{
    Kind, Load, Suite, TestDatabase, TestServer,
    effects::faults,
    load::{self, clients, eventually, tally},
};

pub fn register(suite: &mut Suite) {
    suite.on(
        Kind::Postgres,
        "terminated::one_writer_connection_costs_one_batch",
        one_writer_connection,
    );
}

/// Terminates a connection that is carrying out a batch.
///
/// Connections that write are known by their last statement: neither a look-up of a key nor a question after the schema.
const TERMINATE: &str = "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity \
                         WHERE datname = current_database() AND application_name = 'device-assignment' \
                         AND state <> 'idle' AND query <> '' AND query NOT LIKE '%api_key%' \
                         AND query NOT LIKE '%seaql_migrations%' LIMIT 1) AS writer";

async fn one_writer_connection(database: &TestDatabase) {
    const CALLERS: usize = 512;
    const ROUNDS: usize = 5;
    let keys = load::keys(database, 4).await;
    let mut keys = keys.iter().cycle();
    let server = TestServer::start(database).await;
    let clients: Vec<_> = clients(CALLERS, |api| server.client(api, keys.next().expect("a key")));
    let load = Load::start("load", clients);
    for _ in 0..ROUNDS {
        load.succeeds(CALLERS as u64).await;
        eventually("a writer is terminated", Duration::from_secs(10), async || {
            database.number(TERMINATE).await == 1
        })
        .await;
    }
    load.succeeds(CALLERS as u64).await;
    let calls = load.finish().await;
    println!("{}", tally(&calls));
    assert!(
        calls.iter().all(|call| call.is(&["OK", "UNAVAILABLE"])),
        "{}",
        tally(&calls)
    );
    let refused = calls.iter().filter(|call| !call.is_ok()).count();
    let most = ROUNDS * WriterSettings::default().batch_calls;
    assert!(refused <= most, "{refused} calls refused, more than {ROUNDS} batches");
    server.stop().await;
    assert_eq!(faults(database, &calls).await, [""; 0]);
}
