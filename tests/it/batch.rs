//! Calls that share a transaction do not affect each other.

use std::{
    collections::HashMap,
    pin::pin,
    time::{Duration, Instant},
};

use device_assignment::{
    domain::{
        Error,
        assign_devices::{AssignDevices, Outcome},
        change::{Actor, ChangeOrigin},
    },
    storage::{Writer, WriterSettings},
    supervision::Supervisor,
};
use futures_util::{FutureExt, future::join_all};
use sea_orm::{ConnectionTrait, TransactionTrait};

use crate::support::{Api, Kind, Suite, TestDatabase, TestServer, organization};

pub fn register(suite: &mut Suite) {
    suite.on_each("batch::a_poisonous_call_fails_alone", poison);
    for api in Api::ALL {
        let name = format!("batch::a_fault_tells_nothing_of_its_cause::{}", api.name());
        suite.on_each(&name, move |db| fault(db, api));
    }
    suite.on(
        Kind::Postgres,
        "batch::calls_that_wait_share_a_transaction",
        shared_transaction,
    );
    suite.on_each(
        "batch::an_organization_does_not_suffer_for_a_poisonous_one",
        poisonous_neighbour,
    );
    suite.on(
        Kind::Postgres,
        "batch::a_standby_answers_calls_that_change_nothing",
        standby,
    );
    suite.on(
        Kind::Postgres,
        "batch::an_organization_does_not_suffer_for_a_locked_one",
        locked_neighbour,
    );
}

/// A standby answers calls that change nothing, whatever they share a transaction with.
async fn standby(database: &'static TestDatabase) {
    let names = ["acme", "globex", "initech"];
    run_together(database, names.map(|name| command(name, "SN-1")).into()).await;
    let before = database.dump().await;
    let outside = database.connect().await;
    let sql = format!(
        "ALTER DATABASE {} SET default_transaction_read_only = on",
        database.name()
    );
    outside.execute_unprepared(&sql).await.expect(&sql);
    outside.close().await.expect("closed");

    let commands = vec![
        command("acme", "SN-1"),
        command("acme", "SN-2"),
        command("acme", "SN-1"),
        command("globex", "SN-2"),
        command("initech", "SN-1"),
    ];
    let outcomes = run_together(database, commands).await;
    let are_ok: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(are_ok, [true, false, true, false, true], "{outcomes:?}");
    for position in [1, 3] {
        assert!(matches!(outcomes[position], Err(Error::Unavailable(_))), "{outcomes:?}");
    }
    assert_eq!(database.dump().await, before);
}

/// Makes the database reject one device that the service accepts.
async fn refuse_poison(database: &TestDatabase) {
    let connection = database.connect().await;
    let sql = match database.kind {
        Kind::Postgres => "ALTER TABLE device ADD CONSTRAINT no_poison CHECK (identifier <> 'POISON')",
        Kind::Sqlite => {
            "CREATE TRIGGER no_poison BEFORE INSERT ON device WHEN new.identifier = 'POISON' \
             BEGIN SELECT raise(ABORT, 'no_poison'); END"
        }
    };
    connection.execute_unprepared(sql).await.expect(sql);
    connection.close().await.expect("closed");
}

/// Keeps the workers waiting, so that calls gather in the queue.
fn block(kind: Kind) -> &'static str {
    match kind {
        // Also in a database whose transactions only read.
        Kind::Postgres => "SET TRANSACTION READ WRITE; LOCK TABLE customer IN ACCESS EXCLUSIVE MODE",
        Kind::Sqlite => "UPDATE organization SET name = name",
    }
}

/// A command for the organization with this name.
type For = (&'static str, AssignDevices);

/// Lets a writer run `commands`, all of which wait while another session holds a lock.
async fn run_together(database: &TestDatabase, commands: Vec<For>) -> Vec<Result<Outcome, Error>> {
    run_within(database, commands, Duration::from_secs(60)).await
}

/// As [`run_together`], with a deadline after so much time.
async fn run_within(database: &TestDatabase, commands: Vec<For>, time: Duration) -> Vec<Result<Outcome, Error>> {
    let service = database.open().await;
    let mut ids = HashMap::new();
    for (name, _) in &commands {
        if service.organization(name).await.expect("readable").is_none() {
            organization(database, name).await;
        }
        let organization = service.organization(name).await.expect("readable");
        ids.insert(*name, organization.expect("an organization").id);
    }
    // One worker: all waiting calls are in one transaction.
    let settings = WriterSettings {
        workers: 1,
        ..WriterSettings::default()
    };
    let writer = Writer::start(&service, settings, &Supervisor::default());
    let outside = database.connect().await;
    let blocker = outside.begin().await.expect("begun");
    blocker.execute_unprepared(block(database.kind)).await.expect("blocked");

    let deadline = Instant::now() + time;
    let origin = ChangeOrigin {
        actor: Actor::Service,
        request_id: None,
    };
    let calls: Vec<_> = commands
        .into_iter()
        .map(|(name, command)| writer.submit(ids[name], command, origin.clone(), deadline))
        .collect();
    let calls = calls.into_iter().map(|call| call.expect("queued"));
    let mut calls = pin!(join_all(calls));
    assert!(calls.as_mut().now_or_never().is_none(), "the calls wait");
    blocker.commit().await.expect("committed");
    let outcomes = calls.await;

    outside.close().await.expect("closed");
    writer.close().await;
    let outcomes = outcomes.into_iter();
    outcomes
        .map(|completed| completed.map(|completed| completed.outcome))
        .collect()
}

fn command(organization: &'static str, identifier: &str) -> For {
    let identifiers = ["SN-COMMON".to_owned(), identifier.to_owned()];
    let command = AssignDevices::parse("john@example.com", &identifiers, true, Some("sensor"), 10);
    (organization, command.expect("a command"))
}

async fn poison(database: &'static TestDatabase) {
    refuse_poison(database).await;
    let identifiers = (0..20).map(|number| {
        if number == 7 {
            "POISON".into()
        } else {
            format!("SN-{number}")
        }
    });
    let commands = identifiers.map(|identifier| command("acme", &identifier)).collect();
    let outcomes = run_together(database, commands).await;
    for (number, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Err(Error::Internal(_)) => assert_eq!(number, 7),
            outcome => assert!(outcome.is_ok() && number != 7, "call {number}: {outcome:?}"),
        }
    }
    assert_eq!(database.count("device").await, 20);
    assert_eq!(database.count("device_assignment").await, 20);
}

/// Twenty calls take at most two transactions: the first may have begun before the others came.
async fn shared_transaction(database: &'static TestDatabase) {
    let commands = (0..20).map(|number| command("acme", &format!("SN-{number}"))).collect();
    for outcome in run_together(database, commands).await {
        outcome.expect("an outcome");
    }
    // Rows of one transaction have one xmin.
    let transactions = database.number("SELECT count(DISTINCT xmin::text) FROM device").await;
    assert!(
        (1..=2).contains(&transactions),
        "20 calls took {transactions} transactions"
    );
}

/// In a transaction of several organizations, a call that always fails is the only one that fails.
async fn poisonous_neighbour(database: &'static TestDatabase) {
    refuse_poison(database).await;
    let commands = vec![
        command("acme", "SN-1"),
        command("globex", "SN-1"),
        command("globex", "POISON"),
        command("globex", "SN-2"),
        command("initech", "SN-1"),
    ];
    let outcomes = run_together(database, commands).await;
    let are_ok: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(are_ok, [true, true, false, true, true], "{outcomes:?}");
    assert!(matches!(outcomes[2], Err(Error::Internal(_))), "{outcomes:?}");
    assert_eq!(database.count("customer").await, 3);
    assert_eq!(database.count("device_assignment").await, 2 + 3 + 2);
}

/// Another session holds a lock on the rows of one organization: only its call fails.
async fn locked_neighbour(database: &'static TestDatabase) {
    let names = ["acme", "globex", "initech"];
    run_together(database, names.map(|name| command(name, "SN-1")).into()).await;
    let outside = database.connect().await;
    let lock = outside.begin().await.expect("begun");
    // As another instance does that changes the organization.
    let sql = "SELECT pg_advisory_xact_lock(hashtextextended(id::text, 0)) FROM organization WHERE name = 'globex'";
    lock.execute_unprepared(sql).await.expect("locked");

    // Another owner for the same devices, in a batch with two others.
    let other = |name| {
        let command = AssignDevices::parse("jane@example.com", &["SN-1".to_owned()], false, None, 10);
        (name, command.expect("a command"))
    };
    let outcomes = run_within(database, names.map(other).into(), Duration::from_secs(5)).await;
    assert!(matches!(outcomes[1], Err(Error::DeadlineExceeded)), "{outcomes:?}");
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
    lock.rollback().await.expect("a rollback");
    outside.close().await.expect("closed");
    assert_eq!(
        database.count("customer").await,
        3 + 2,
        "nothing of the locked organization"
    );
}

/// The database's error text is only for the log.
async fn fault(database: &'static TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    refuse_poison(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let before = database.dump().await;
    let answer = client.create("john@example.com", &["SN-1", "POISON"]).await;
    assert_eq!(
        (answer.code.as_str(), answer.error.as_str()),
        ("INTERNAL", "Internal error")
    );
    assert_eq!(answer.violations, []);
    assert!(!answer.request_id.is_empty());
    assert_eq!(answer.reason.as_deref(), Some("INTERNAL"));
    assert!(answer.http.is_none_or(|(status, _)| status == 500));
    assert_eq!(database.dump().await, before);
    client.create("john@example.com", &["SN-1"]).await.ok();
    server.stop().await;
}
