//! Organizations do not hold up each other's calls, and work that nobody waits for is not done.

use std::{
    future::poll_fn,
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use device_assignment::{
    domain::{
        Error,
        assign_devices::{AssignDevices, Outcome},
        change::{Actor, ChangeOrigin},
        id::OrganizationId,
    },
    storage::{Completed, Database, PendingOutcome, Writer, WriterSettings},
    supervision::Supervisor,
};
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, DatabaseTransaction, TransactionTrait};
use tokio::time::timeout;

use crate::support::{Kind, Suite, TestDatabase, load::eventually, organization};

/// Until when calls may take that must succeed: longer than any of them waits for a lock.
const LONG: Duration = Duration::from_secs(60);

pub fn register(suite: &mut Suite) {
    for (size, devices) in [("small", 2), ("large", 1_000)] {
        suite.on(
            Kind::Postgres,
            &format!("workers::an_organization_that_is_locked_holds_up_no_other::{size}"),
            move |database| locked(database, devices),
        );
    }
    suite.on(
        Kind::Postgres,
        "workers::large_calls_of_different_organizations_run_in_parallel",
        parallel,
    );
    suite.on(
        Kind::Postgres,
        "workers::large_calls_that_nobody_waits_for_are_not_executed",
        abandoned,
    );
}

/// A writer over a database, and organizations to write for.
struct Writing {
    database: Database,
    writer: Writer,
    organizations: Vec<OrganizationId>,
}

impl Writing {
    async fn start(database: &TestDatabase, names: &[&str], settings: WriterSettings) -> Self {
        let service = database.open().await;
        let mut organizations = Vec::new();
        for name in names {
            organization(database, name).await;
            let found = service.organization(name).await.expect("readable");
            organizations.push(found.expect("an organization").id);
        }
        Self {
            writer: Writer::start(&service, settings, &Supervisor::default()),
            database: service,
            organizations,
        }
    }

    /// Submits a call of an organization that creates so many devices.
    fn create(&self, organization: usize, devices: usize, time: Duration) -> PendingOutcome<Outcome> {
        let identifiers: Vec<_> = (0..devices).map(|number| format!("SN-{number}")).collect();
        let command = AssignDevices::parse("john@example.com", &identifiers, true, Some("sensor"), devices);
        let origin = ChangeOrigin {
            actor: Actor::Service,
            request_id: None,
        };
        let organization = self.organizations[organization];
        let command = command.expect("a command");
        let pending = self.writer.submit(organization, command, origin, Instant::now() + time);
        pending.expect("queued")
    }

    async fn stop(self) {
        self.writer.close().await;
        self.database.close().await;
    }
}

/// Locks the organization with this name, as another instance does that changes it, until the transaction ends.
async fn lock(transaction: &DatabaseTransaction, name: &str) {
    let sql =
        format!("SELECT pg_advisory_xact_lock(hashtextextended(id::text, 0)) FROM organization WHERE name = '{name}'");
    transaction.execute_unprepared(&sql).await.expect("locked");
}

/// Whether the outcome is there.
async fn is_done(pending: &mut PendingOutcome<Outcome>) -> Option<Result<Completed<Outcome>, Error>> {
    poll_fn(|context| {
        Poll::Ready(match Pin::new(&mut *pending).poll(context) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        })
    })
    .await
}

/// One worker for all calls: while another instance holds one organization, the calls of others run, and its own call waits.
async fn locked(database: &'static TestDatabase, devices: usize) {
    let settings = WriterSettings {
        workers: 1,
        bulk_workers: 1,
        ..WriterSettings::default()
    };
    let writing = Writing::start(database, &["acme", "globex"], settings).await;
    let outside = database.connect().await;
    let held = outside.begin().await.expect("begun");
    lock(&held, "acme").await;

    let mut waits = writing.create(0, devices, LONG);
    for _ in 0..3 {
        writing.create(1, devices, LONG).await.expect("an outcome");
    }
    let outcome = is_done(&mut waits).await;
    assert!(outcome.is_none(), "it waits for the lock: {outcome:?}");
    held.rollback().await.expect("a rollback");
    let outcome = waits.await.expect("an outcome").outcome;
    assert_eq!(outcome.devices.len(), devices);
    outside.close().await.expect("closed");
    writing.stop().await;
}

/// Two workers have calls in progress at the same time: both wait for a lock.
async fn parallel(database: &'static TestDatabase) {
    const NAMES: [&str; 4] = ["acme", "globex", "initech", "umbrella"];
    let writing = Writing::start(database, &NAMES, WriterSettings::default()).await;
    let outside = database.connect().await;
    let held = outside.begin().await.expect("begun");
    for name in NAMES {
        lock(&held, name).await;
    }

    let calls: Vec<_> = (0..NAMES.len())
        .map(|number| writing.create(number, 1_000, LONG))
        .collect();
    let waiting = "SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    eventually("two workers", LONG, async || database.number(waiting).await >= 2).await;
    held.rollback().await.expect("a rollback");
    for outcome in join_all(calls).await {
        assert_eq!(outcome.expect("an outcome").outcome.devices.len(), 1_000);
    }
    outside.close().await.expect("closed");
    writing.stop().await;
}

/// Many large calls whose deadline passes while another instance holds their organization, and calls whose callers leave.
/// Meanwhile the calls of a small organization succeed.
async fn abandoned(database: &'static TestDatabase) {
    const CALLS: usize = 64;
    const DEVICES: usize = 10_000;
    let writing = Writing::start(database, &["acme", "globex"], WriterSettings::default()).await;
    let outside = database.connect().await;
    let held = outside.begin().await.expect("begun");
    lock(&held, "acme").await;

    let late: Vec<_> = (0..CALLS)
        .map(|_| writing.create(0, DEVICES, Duration::from_secs(2)))
        .collect();
    let mut late = join_all(late);
    let mut succeeded = 0;
    let outcomes = loop {
        tokio::select! {
            biased;
            outcomes = &mut late => break outcomes,
            outcome = writing.create(1, 1, LONG) => {
                outcome.expect("an outcome");
                succeeded += 1;
            }
        }
    };
    println!("{succeeded} calls of the small organization succeeded");
    assert!(succeeded > 0);
    for outcome in outcomes {
        assert!(matches!(outcome, Err(Error::DeadlineExceeded)), "{outcome:?}");
    }
    for number in 0..CALLS {
        // Its deadline does not end it.
        let left = writing.create(0, DEVICES, 10 * LONG);
        if number % 2 == 0 {
            left.abandon();
        }
        drop(left);
    }
    // The calls of an organization take turns: when it is the turn of this one, all others have been dealt with.
    let late = writing.create(0, DEVICES, Duration::from_secs(2));
    let outcome = timeout(LONG, late).await.expect("its turn");
    assert!(matches!(outcome, Err(Error::DeadlineExceeded)), "{outcome:?}");
    held.rollback().await.expect("a rollback");
    let last = writing.create(0, 1_000, LONG).await.expect("an outcome");
    assert_eq!(last.revision.number(), 1, "nothing else was executed");
    let organization = "(SELECT id FROM organization WHERE name = 'acme')";
    for (table, rows) in [("change_log", 1), ("customer", 1), ("device", 1_000)] {
        let sql = format!("SELECT count(*) FROM {table} WHERE organization_id = {organization}");
        assert_eq!(database.number(&sql).await, rows, "{table}");
    }
    outside.close().await.expect("closed");
    writing.stop().await;
}
