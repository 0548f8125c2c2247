//! `kill -9` of the service and of the database under a mix of assignments and removals: the tests of `crash`, more often.

use crate::{
    Size,
    crash::{Crashes, a_lost_row_is_noticed, of_the_database, of_the_service},
    support::{Kind, TestDatabase},
};

pub fn service(size: Size) -> String {
    block_on(async {
        planted().await;
        let mut counts = Vec::new();
        for kind in [Kind::Sqlite, Kind::Postgres] {
            let database = TestDatabase::create(kind).await;
            let crashes = of_the_service(&database, size.rounds, size.seed).await;
            database.remove().await;
            counts.push(format!("{kind:?}: {}", describe(&crashes)));
        }
        counts.join("; ")
    })
}

pub fn database(size: Size) -> String {
    block_on(async {
        planted().await;
        let crashes = of_the_database(size.rounds, size.seed).await;
        let slowest = crashes.recovery.as_millis();
        format!("{}, all calls succeeded again within {slowest} ms", describe(&crashes))
    })
}

/// Checks that lost rows and removals that are undone are found.
pub async fn planted() {
    let database = TestDatabase::create(Kind::Postgres).await;
    a_lost_row_is_noticed(&database).await;
    database.remove().await;
    println!("found the planted faults: lost rows, and a removal that was undone");
}

fn describe(crashes: &Crashes) -> String {
    let Crashes {
        kills,
        acknowledged,
        removals,
        cut,
        ..
    } = crashes;
    format!(
        "{kills} kills, {acknowledged} acknowledged calls ({removals} removals): all are there; {cut} calls were cut: each is \
         whole or absent; revisions without a gap, log and tables equal after each kill"
    )
}

/// Runs a campaign on two threads.
pub fn block_on(campaign: impl Future<Output = String>) -> String {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(campaign)
}
