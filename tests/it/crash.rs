//! After `kill -9` of the service or the database: acknowledged calls are stored, and every other call is stored whole or not
//! at all.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::ConnectionTrait;

use crate::support::{
    Api, Kind, Load, PostgresServer, Program, Suite, TestDatabase,
    effects::{faults, forgotten},
    load::{self, Call, Change, Fate, clients, devices_of, make, tally},
    organization, program, seed,
};

const CALLERS: usize = 32;

pub fn register(suite: &mut Suite) {
    suite.on_each("crash::of_the_service", async |database| {
        let Crashes { cut, .. } = of_the_service(database, 5, seed()).await;
        assert!(cut > 0, "some calls were under way when the service was killed");
    });
    suite.on_each("crash::a_lost_row_is_noticed", a_lost_row_is_noticed);
    suite.with_postgres("crash::of_the_database", async || {
        of_the_database(2, seed()).await;
    });
}

/// What was killed, and the calls meanwhile.
#[derive(Debug, Default)]
pub struct Crashes {
    pub kills: u32,
    pub acknowledged: usize,
    /// Acknowledged removals.
    pub removals: usize,
    /// Calls that were under way when the service was killed, or failed because the database was.
    pub cut: usize,
    /// The longest time until calls succeeded again.
    pub recovery: Duration,
}

impl Crashes {
    fn add(&mut self, calls: &[Call], cut: usize) {
        let acknowledged = calls.iter().filter(|call| call.is_ok());
        self.kills += 1;
        self.acknowledged += acknowledged.clone().count();
        self.removals += acknowledged
            .filter(|call| matches!(call.change, Change::Unassign(_)))
            .count();
        self.cut += cut;
    }
}

/// Kills the service `rounds` times under a mix of assignments and removals.
pub async fn of_the_service(database: &TestDatabase, rounds: u32, seed: u64) -> Crashes {
    let mut random = StdRng::seed_from_u64(seed);
    let key = organization(database, "acme").await;
    let mut program = Program::serve(database.url()).await;
    let mut calls = Vec::new();
    let mut crashes = Crashes::default();
    for round in 0..rounds {
        let load = Load::mixed(
            &format!("round{round}"),
            clients(CALLERS, |api| program.client(api, &key)),
        );
        until_crash(&load, &mut random).await;
        program.kill().await;
        let made = load.finish().await;
        println!("{}", tally(&made));
        assert!(
            made.iter().all(|call| call.is_ok() || call.is_lost()),
            "calls fail only because of the crash: {}",
            tally(&made)
        );
        // Without those that could not connect.
        let was_cut =
            |call: &&Call| matches!(&call.fate, Fate::Lost { code, .. } if code == "CUT" || code == "UNKNOWN");
        crashes.add(&made, made.iter().filter(was_cut).count());

        program = Program::serve(database.url()).await;
        let askers = clients(8, |api| program.client(api, &key));
        assert_eq!(forgotten(&made, &askers).await, [""; 0], "in round {round}");
        calls.extend(made);
        assert_eq!(faults(database, &calls).await, [""; 0], "after round {round}");
        verify(database).await;
    }
    program.kill().await;
    crashes
}

/// Kills the database `rounds` times under a mix of assignments and removals while the service keeps running; the service
/// recovers by itself.
pub async fn of_the_database(rounds: u32, seed: u64) -> Crashes {
    const OUTAGE: Duration = Duration::from_secs(3);
    const RECOVERY: Duration = Duration::from_secs(5);
    let mut random = StdRng::seed_from_u64(seed);
    // Blocks this thread on purpose: the server ends with the thread that starts it, and this thread runs the whole test.
    let server = PostgresServer::start_durable(&[]).expect("a server");
    let database = TestDatabase::on(&server).await;
    let key = organization(&database, "acme").await;
    let program = Program::serve(database.url()).await;
    let mut calls = Vec::new();
    let mut crashes = Crashes::default();
    for round in 0..rounds {
        let load = Load::mixed(
            &format!("round{round}"),
            clients(CALLERS, |api| program.client(api, &key)),
        );
        until_crash(&load, &mut random).await;
        server.kill();
        let killed = Instant::now();
        tokio::time::sleep(OUTAGE).await;
        server.restart();
        let back = Instant::now();
        load.succeeds(CALLERS as u64 * 10).await;
        // A late failure shows until then.
        tokio::time::sleep_until((back + RECOVERY + Duration::from_millis(500)).into()).await;
        let made = load.finish().await;
        println!("{}", tally(&made));

        for call in &made {
            assert!(!call.is_lost(), "the service runs all the time: {call:?}");
            match &call.fate {
                Fate::Answered { code, .. } if code == "OK" => {}
                Fate::Answered { code, retry_after } => {
                    assert_eq!((code.as_str(), *retry_after), ("UNAVAILABLE", Some(1)), "{call:?}");
                }
                Fate::Lost { .. } => unreachable!("asserted above"),
            }
            assert!(call.took() < Duration::from_secs(10), "beyond its deadline: {call:?}");
        }
        for api in [Api::Grpc, Api::Rest] {
            let failed = made.iter().any(|call| call.api == api && call.is(&["UNAVAILABLE"]));
            assert!(failed, "calls by {} met the outage", api.name());
        }
        let recovery = recovery(&made, back);
        println!("down for {:?}, back {recovery:?} after the return", back - killed);
        assert!(recovery < RECOVERY, "{recovery:?}");
        crashes.add(&made, made.iter().filter(|call| !call.is_ok()).count());
        crashes.recovery = crashes.recovery.max(recovery);

        let askers = clients(8, |api| program.client(api, &key));
        assert_eq!(forgotten(&made, &askers).await, [""; 0], "in round {round}");
        calls.extend(made);
        assert_eq!(faults(&database, &calls).await, [""; 0], "after round {round}");
        verify(&database).await;
    }
    program.kill().await;
    server.stop();
    crashes
}

/// Chooses the moment of a crash: among the first calls, or when each caller has made several.
async fn until_crash(load: &Load, random: &mut StdRng) {
    load.succeeds(random.random_range(1..CALLERS as u64 * 8)).await;
    tokio::time::sleep(Duration::from_millis(random.random_range(0..20))).await;
}

/// The change log has no gap, and replayed it gives the tables.
pub async fn verify(database: &TestDatabase) {
    let output = program::run(&["verify", "--database-url", database.url()]).await;
    assert!(
        output.status.success(),
        "{}{}",
        program::stdout(&output),
        program::stderr(&output)
    );
}

/// How long after `back` the first calls of both APIs succeeded, and the last one failed.
pub fn recovery(calls: &[Call], back: Instant) -> Duration {
    let after = calls.iter().filter(|call| call.ended > back);
    let (succeeded, failed): (Vec<&Call>, Vec<&Call>) = after.partition(|call| call.is_ok());
    let first_success = |api| {
        let first = succeeded.iter().filter(|call| call.api == api).map(|call| call.ended);
        first.min().expect("a success")
    };
    let last_failure = failed.iter().map(|call| call.ended).max();
    let recovered = first_success(Api::Grpc).max(first_success(Api::Rest));
    last_failure.unwrap_or(back).max(recovered) - back
}

/// The check of the tests above finds planted faults.
pub async fn a_lost_row_is_noticed(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let program = Program::serve(database.url()).await;
    let client = program.client(Api::Grpc, &key);
    let three = "three@example.com".to_owned();
    let removal = Change::Unassign(devices_of(&three)[1..].to_vec());
    let calls = [
        load::create(&client, "one@example.com".into()).await,
        load::create(&client, "two@example.com".into()).await,
        load::create(&client, three.clone()).await,
        make(&client, three, removal).await,
    ];
    let client = [client];
    assert!(calls.iter().all(Call::is_ok), "{calls:?}");
    assert_eq!(faults(database, &calls).await, [""; 0]);
    assert_eq!(forgotten(&calls, &client).await, [""; 0]);

    let one = "(SELECT id FROM device WHERE identifier = 'one@example.com/1')";
    let two = "(SELECT id FROM customer WHERE email = 'two@example.com')";
    let connection = database.connect().await;
    let mut changed = 0;
    for sql in [
        format!("DELETE FROM device_assignment WHERE device_id = {one}"),
        format!("DELETE FROM device_assignment WHERE customer_id = {two}"),
        "DELETE FROM customer WHERE email = 'two@example.com'".into(),
        "INSERT INTO device_assignment SELECT organization_id, c.id, d.id, c.created_at \
         FROM customer c JOIN device d USING (organization_id) \
         WHERE c.email = 'three@example.com' AND d.identifier = 'three@example.com/1'"
            .into(),
    ] {
        changed += connection.execute_unprepared(&sql).await.expect(&sql).rows_affected();
    }
    connection.close().await.expect("closed");
    assert_eq!(changed, 6);

    let found = faults(database, &calls).await;
    let [part, not_removed, absent, orphans] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert!(part.starts_with("one@example.com is there in part"), "{part}");
    assert!(
        not_removed.starts_with("three@example.com is there in part"),
        "{not_removed}"
    );
    assert_eq!(absent, "two@example.com was acknowledged and is not there");
    assert_eq!(orphans, "4 devices without an owner");
    assert_eq!(forgotten(&calls, &client).await.len(), 3, "the service reports it, too");
    if database.kind == Kind::Sqlite {
        // SQLite's own check is read, too.
        let connection = database.connect().await;
        connection
            .execute_unprepared("PRAGMA foreign_keys = off; DELETE FROM organization")
            .await
            .expect("a deletion");
        connection.close().await.expect("closed");
        let found = faults(database, &[]).await;
        assert!(
            found.iter().any(|fault| fault.ends_with("rows break a foreign key")),
            "{found:?}"
        );
    }
    program.kill().await;
}
