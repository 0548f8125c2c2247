//! A database that is slow, locked, silent or lost at the worst moment: callers get typed errors in time, nothing is half
//! done, and the service recovers by itself.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use device_assignment::{
    server::ServerSettings,
    service::ServiceSettings,
    storage::{Database, DatabaseUrl, HealthSettings, WriterSettings},
};
use futures_util::future::join_all;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::{ConnectionTrait, DatabaseTransaction, TransactionTrait};

use crate::support::{
    Api, Kind, Load, Proxy, Suite, TestDatabase, TestServer, Wire,
    effects::{faults, forgotten, owned},
    load::{self, Call, Fate, clients, devices_of, eventually, tally},
    organization,
    proxy::{Cut, Statement},
};

pub fn register(suite: &mut Suite) {
    let mut postgres = |name: &str, test: Test| {
        suite.on(Kind::Postgres, &format!("outage::{name}"), test);
    };
    postgres("silence", |db| Box::pin(silence(db, Proxy::recover)));
    postgres("silence_after_which_old_connections_are_dead", |db| {
        Box::pin(silence(db, Proxy::recover_without_memory))
    });
    postgres("cut_before_commit", |db| Box::pin(cut_at_commit(db, Cut::Before)));
    postgres("cut_after_commit", |db| Box::pin(cut_at_commit(db, Cut::After)));
    postgres("cut_before_rollback", |db| Box::pin(cut_at_rollback(db, Cut::Before)));
    postgres("cut_after_rollback", |db| Box::pin(cut_at_rollback(db, Cut::After)));
    postgres("every_connection_cut", |db| Box::pin(every_connection_cut(db)));
    postgres("idle_connections_cut", |db| Box::pin(idle_connections_cut(db)));
    postgres("forgotten_connection", |db| Box::pin(forgotten_connection(db)));
    postgres("locked_table", |db| Box::pin(locked_table(db)));
    postgres("full_queue", |db| Box::pin(full_queue(db)));
    postgres("deadlines", |db| Box::pin(deadlines(db)));
    suite.on(Kind::Sqlite, "outage::writer_elsewhere", writer_elsewhere);
    suite.on_each("outage::impatient_callers", impatient_callers);
}

type Test = fn(&'static TestDatabase) -> std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// A server whose database is reached through `proxy`.
async fn start_behind(proxy: &Proxy, settings: ServerSettings) -> TestServer {
    let url = DatabaseUrl::parse(proxy.url()).expect("a URL");
    TestServer::start_over(Database::open(url).await.expect("a database"), settings).await
}

/// No check of the database falls into a test, except for the first.
const RARE_CHECKS: HealthSettings = HealthSettings {
    interval: Duration::from_secs(60),
    timeout: Duration::from_secs(120),
};

/// A server with a single worker for small calls.
fn one_worker() -> ServerSettings {
    ServerSettings {
        service: ServiceSettings {
            writer: WriterSettings {
                workers: 1,
                ..WriterSettings::default()
            },
            ..ServiceSettings::default()
        },
        ..ServerSettings::default()
    }
}

/// The fate of a call that the caller may send again soon.
fn unavailable() -> Fate {
    Fate::Answered {
        code: "UNAVAILABLE".into(),
        retry_after: Some(1),
    }
}

/// Locks a table that every call needs.
async fn lock(database: &TestDatabase) -> DatabaseTransaction {
    lock_in(database, "ACCESS EXCLUSIVE").await
}

/// Locks the table of customers.
async fn lock_in(database: &TestDatabase, mode: &str) -> DatabaseTransaction {
    let transaction = database.connect().await.begin().await.expect("a transaction");
    transaction
        .execute_unprepared(&format!("LOCK TABLE customer IN {mode} MODE"))
        .await
        .expect("a lock");
    transaction
}

/// Waits until a statement of the service waits for the lock.
async fn a_call_waits(database: &TestDatabase) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
               AND application_name = 'device-assignment' AND wait_event_type = 'Lock'";
    eventually("a call waits for the lock", Duration::from_secs(5), async || {
        database.number(sql).await > 0
    })
    .await;
}

/// The network is silent under load: no call takes longer than its deadline, and soon after the network is back all calls
/// succeed.
async fn silence(database: &TestDatabase, recover: fn(&Proxy)) {
    const CALLERS: usize = 32;
    const SILENCE: Duration = Duration::from_secs(7);
    const RECOVERY: Duration = Duration::from_secs(5);
    let timeout = Duration::from_millis(1_500);
    let settings = ServerSettings {
        service: ServiceSettings {
            // Every call reads its key: the silence affects reads and writes.
            key_cache_ttl: Duration::from_millis(1),
            writer: WriterSettings {
                batch_timeout: Duration::from_secs(1),
                ..WriterSettings::default()
            },
            ..ServiceSettings::default()
        },
        request_timeout: timeout,
        ..ServerSettings::default()
    };
    let keys = load::keys(database, 8).await;
    let mut keys = keys.iter().cycle();
    let proxy = Proxy::before(database).await;
    let server = start_behind(&proxy, settings).await;
    let load = Load::start(
        "load",
        clients(CALLERS, |api| server.client(api, keys.next().expect("a key"))),
    );
    load.succeeds(10 * CALLERS as u64).await;

    proxy.fall_silent();
    tokio::time::sleep(SILENCE).await;
    recover(&proxy);
    let back = Instant::now();
    load.succeeds(1).await;
    let first = back.elapsed();
    tokio::time::sleep_until((back + RECOVERY + Duration::from_millis(500)).into()).await;
    let calls = load.finish().await;
    let last_failure = calls.iter().filter(|call| !call.is_ok()).map(|call| call.ended).max();
    let last_failure = last_failure.expect("failures").saturating_duration_since(back);
    let slowest = calls.iter().map(Call::took).max().expect("calls");
    println!(
        "first success {first:?}, last failure {last_failure:?} after the return; slowest call {slowest:?}: {}",
        tally(&calls)
    );

    for call in &calls {
        assert!(call.is(&["OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"]), "{call:?}");
    }
    assert!(slowest < timeout + Duration::from_secs(1), "{slowest:?}");
    assert!(first.max(last_failure) < RECOVERY, "{first:?}, {last_failure:?}");
    server.stop().await;
    assert_eq!(faults(database, &calls).await, [""; 0]);
}

/// The connection breaks during a COMMIT: the caller cannot know what happened, and can repeat the call.
async fn cut_at_commit(database: &TestDatabase, cut: Cut) {
    let key = organization(database, "acme").await;
    let proxy = Proxy::before(database).await;
    let server = start_behind(&proxy, one_worker()).await;
    let mut calls = Vec::new();
    for api in [Api::Grpc, Api::Rest] {
        let client = server.client(api, &key);
        let email = format!("{}@example.com", api.name());
        proxy.cut_at_next(Statement::Commit, cut).await;
        let call = load::create(&client, email.clone()).await;
        assert!(proxy.has_cut().await, "the call reached its COMMIT");
        assert_eq!(call.fate, unavailable(), "{call:?}");
        let is_there = owned(database).await.contains_key(&email);
        assert_eq!(is_there, cut == Cut::After, "the cut came when it should");

        let devices = devices_of(&email);
        let devices: Vec<&str> = devices.iter().map(String::as_str).collect();
        let again = client.create(&email, &devices).await.ok();
        let list = match cut {
            Cut::Before => "assignedDevices",
            Cut::After => "alreadyAssigned",
        };
        assert_eq!(again.identifiers(list), devices);
        assert_eq!(again.body["customerWasCreated"], cut == Cut::Before);
        calls.push(load::create(&client, email).await);
    }
    assert!(calls.iter().all(Call::is_ok), "{calls:?}");
    server.stop().await;
    assert_eq!(faults(database, &calls).await, [""; 0]);
    assert_eq!(database.count("device_assignment").await, 6, "each exactly once");
}

/// The connection breaks while a transaction is rolled back: it is not used again, and nothing of the call is done.
async fn cut_at_rollback(database: &TestDatabase, cut: Cut) {
    let key = organization(database, "acme").await;
    let proxy = Proxy::before(database).await;
    let server = start_behind(&proxy, one_worker()).await;
    let mut calls = Vec::new();
    for api in [Api::Grpc, Api::Rest] {
        let client = server.client(api, &key);
        let email = format!("{}@example.com", api.name());
        proxy.cut_at_next(Statement::Rollback, cut).await;
        // It reads, and fails when it writes.
        let lock = lock_in(database, "SHARE").await;
        let call = load::create(&client, email.clone()).await;
        assert!(proxy.has_cut().await, "the call reached its ROLLBACK");
        assert_eq!(call.fate, unavailable(), "{call:?}");
        lock.rollback().await.expect("a rollback");
        assert!(!owned(database).await.contains_key(&email), "nothing was done");
        calls.push(load::create(&client, email).await);
    }
    assert!(
        calls.iter().all(Call::is_ok),
        "the only worker has another connection: {calls:?}"
    );
    assert_eq!(idle_in_transaction(database).await, 0);
    server.stop().await;
    assert_eq!(faults(database, &calls).await, [""; 0]);
}

/// Every connection is closed at once, several times under load.
async fn every_connection_cut(database: &TestDatabase) {
    let mut random = StdRng::seed_from_u64(crate::support::seed());
    let key = organization(database, "acme").await;
    let proxy = Proxy::before(database).await;
    let server = start_behind(&proxy, ServerSettings::default()).await;
    let load = Load::start("load", clients(16, |api| server.client(api, &key)));
    for _ in 0..10 {
        load.succeeds(16).await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..50))).await;
        proxy.cut();
    }
    load.succeeds(16).await;
    let calls = load.finish().await;
    println!("{}", tally(&calls));
    assert!(
        calls.iter().all(|call| call.is(&["OK", "UNAVAILABLE"])),
        "{}",
        tally(&calls)
    );
    assert!(calls.iter().any(|call| !call.is_ok()), "some calls met a cut");
    let askers = clients(8, |api| server.client(api, &key));
    assert_eq!(forgotten(&calls, &askers).await, [""; 0]);
    server.stop().await;
    assert_eq!(faults(database, &calls).await, [""; 0]);
}

/// Connections that were closed while idle, as by a restarted server or a proxy: no call fails.
async fn idle_connections_cut(database: &TestDatabase) {
    let settings = ServerSettings {
        service: ServiceSettings {
            // Every call reads its key.
            key_cache_ttl: Duration::from_millis(1),
            ..ServiceSettings::default()
        },
        // A check tries twice. One that meets two of the cuts finds, rightly, that the database is out of reach.
        health: RARE_CHECKS,
        ..ServerSettings::default()
    };
    let key = organization(database, "acme").await;
    let proxy = Proxy::before(database).await;
    let server = start_behind(&proxy, settings).await;
    // Enough calls at once to open every connection.
    let load = Load::start("load", clients(32, |api| server.client(api, &key)));
    load.succeeds(320).await;
    let mut calls = load.finish().await;
    for round in 0..3 {
        // A connection that was just used is not idle.
        tokio::time::sleep(Duration::from_millis(100)).await;
        proxy.cut();
        let clients = clients(8, |api| server.client(api, &key));
        let emails = (0..).map(|number| format!("round{round}-{number}@example.com"));
        calls.extend(
            join_all(
                clients
                    .iter()
                    .zip(emails)
                    .map(|(client, email)| load::create(client, email)),
            )
            .await,
        );
    }
    let failed: Vec<_> = calls.iter().filter(|call| !call.is_ok()).collect();
    assert!(failed.is_empty(), "{}: {failed:#?}", tally(&calls));
    server.stop().await;
    assert_eq!(faults(database, &calls).await, [""; 0]);
}

/// The network has silently dropped the idle connection of a worker: the next call takes a moment longer, and succeeds.
async fn forgotten_connection(database: &TestDatabase) {
    let settings = ServerSettings {
        service: ServiceSettings {
            key_cache_ttl: Duration::from_secs(60),
            writer: WriterSettings {
                workers: 1,
                ..WriterSettings::default()
            },
            ..ServiceSettings::default()
        },
        // Its connection is used all the time, so that it is not dropped.
        health: RARE_CHECKS,
        ..ServerSettings::default()
    };
    let key = organization(database, "acme").await;
    let proxy = Proxy::before(database).await;
    let server = start_behind(&proxy, settings).await;
    let client = server.client(Api::Grpc, &key);
    let mut calls = vec![load::create(&client, "before@example.com".into()).await];
    proxy.fall_silent();
    proxy.recover_without_memory();
    tokio::time::sleep(Duration::from_millis(100)).await;
    calls.push(load::create(&client, "after@example.com".into()).await);
    assert!(calls.iter().all(Call::is_ok), "{}", tally(&calls));
    assert!(calls[1].took() < Duration::from_secs(3), "{:?}", calls[1]);
    server.stop().await;
    assert_eq!(faults(database, &calls).await, [""; 0]);
}

/// Another session holds a lock: callers soon learn that they should try later.
async fn locked_table(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let lock = lock(database).await;
    let mut calls = Vec::new();
    for api in [Api::Grpc, Api::Rest] {
        let call = load::create(&server.client(api, &key), format!("{}@example.com", api.name())).await;
        println!("{} answered after {:?}", api.name(), call.took());
        assert_eq!(call.fate, unavailable(), "{call:?}");
        assert!(call.took() < Duration::from_secs(3), "{call:?}");
        calls.push(call);
    }
    lock.rollback().await.expect("a rollback");
    assert_eq!(database.count("customer").await, 0, "nothing of it was done");
    for call in &mut calls {
        *call = load::create(&server.client(call.api, &key), call.email.clone()).await;
    }
    assert!(calls.iter().all(Call::is_ok), "{calls:?}");
    server.stop().await;
    assert_eq!(faults(database, &calls).await, [""; 0]);
}

/// The queue is full: further calls are rejected at once, and the waiting ones are served in the end.
async fn full_queue(database: &'static TestDatabase) {
    let settings = ServerSettings {
        service: ServiceSettings {
            writer: WriterSettings {
                workers: 1,
                queue_calls: 1,
                ..WriterSettings::default()
            },
            ..ServiceSettings::default()
        },
        ..ServerSettings::default()
    };
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(database, settings).await;
    let lock = lock(database).await;
    let client = server.client(Api::Grpc, &key);
    let first = tokio::spawn(async move { load::create(&client, "first@example.com".into()).await });
    a_call_waits(database).await;

    // The worker is busy with the first one: one of these may wait.
    let mut others = tokio::task::JoinSet::new();
    for (number, client) in clients(8, |api| server.client(api, &key)).into_iter().enumerate() {
        others.spawn(async move { load::create(&client, format!("other{number}@example.com")).await });
    }
    let mut calls = Vec::new();
    while calls.len() < 7 {
        let call = others.join_next().await.expect("a call").expect("an answer");
        let expected = Fate::Answered {
            code: "RESOURCE_EXHAUSTED".into(),
            retry_after: Some(1),
        };
        assert_eq!(call.fate, expected, "{call:?}");
        assert!(call.took() < Duration::from_millis(1_000), "at once: {call:?}");
        calls.push(call);
    }
    assert!(!first.is_finished(), "the first one still waits for the lock");
    lock.rollback().await.expect("a rollback");
    for call in [
        first.await.expect("an answer"),
        others.join_next().await.expect("a call").expect("an answer"),
    ] {
        assert!(call.is_ok(), "{call:?}");
        calls.push(call);
    }
    server.stop().await;
    assert_eq!(faults(database, &calls).await, [""; 0]);
    assert_eq!(database.count("customer").await, 2, "a rejected call has no effect");
}

/// The service's own deadline and the caller's, as seen on the wire.
async fn deadlines(database: &TestDatabase) {
    let timeout = Duration::from_millis(300);
    let settings = ServerSettings {
        request_timeout: timeout,
        ..ServerSettings::default()
    };
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(database, settings).await;
    let lock = lock(database).await;
    let devices = devices_of("a@example.com");
    let devices: Vec<&str> = devices.iter().map(String::as_str).collect();
    for api in Api::ALL {
        let start = Instant::now();
        let answer = server.client(api, &key).create("a@example.com", &devices).await;
        let took = start.elapsed();
        assert_eq!(answer.code, "DEADLINE_EXCEEDED", "{answer:?}");
        assert_eq!(answer.error, "Deadline exceeded");
        assert!(!answer.request_id.is_empty());
        assert_eq!(answer.http.map(|(status, _)| status), (api != Api::Grpc).then_some(504));
        assert!(took > timeout && took < timeout + Duration::from_secs(1), "{took:?}");
    }
    server.stop().await;

    let server = TestServer::start(database).await;
    let wire = Wire::connect(server.grpc, &key).await;
    for (text, asked) in [("200m", 200), ("300000u", 300), ("50000000n", 50)] {
        let start = Instant::now();
        let code = wire
            .assign(&load::message("b@example.com"), text)
            .await
            .expect("an answer");
        let took = start.elapsed();
        assert_eq!(code, "DEADLINE_EXCEEDED", "{text}");
        let asked = Duration::from_millis(asked);
        assert!(
            took > asked / 2 && took < asked + Duration::from_secs(1),
            "{text}: {took:?}"
        );
    }
    lock.rollback().await.expect("a rollback");
    server.stop().await;
    // A call in progress at its caller's deadline may have been committed.
    for (email, devices) in owned(database).await {
        assert_eq!(devices.into_iter().collect::<Vec<_>>(), devices_of(&email), "whole");
    }
}

/// Another process writes for two seconds: callers wait, and get no error about a locked database.
async fn writer_elsewhere(database: &TestDatabase) {
    const HELD: Duration = Duration::from_secs(2);
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let connection = database.connect().await;
    let writer = connection
        .begin_with_options(sea_orm::TransactionOptions {
            sqlite_transaction_mode: Some(sea_orm::SqliteTransactionMode::Immediate),
            ..sea_orm::TransactionOptions::default()
        })
        .await
        .expect("the lock");
    let start = Instant::now();
    let clients = clients(64, |api| server.client(api, &key));
    let calls = clients.iter().enumerate();
    let calls = join_all(calls.map(|(number, client)| load::create(client, format!("c{number}@example.com"))));
    let release = async {
        tokio::time::sleep(HELD).await;
        writer.rollback().await.expect("a rollback");
    };
    let (calls, ()) = tokio::join!(calls, release);
    println!("all answered after {:?}: {}", start.elapsed(), tally(&calls));
    assert!(calls.iter().all(Call::is_ok), "{}", tally(&calls));
    assert!(calls.iter().all(|call| call.took() > HELD / 2), "all met the lock");
    connection.close().await.expect("closed");
    server.stop().await;
    assert_eq!(faults(database, &calls).await, [""; 0]);
}

/// Callers that reach their deadline during a call, or disconnect, leave nothing half done and harm no other call.
async fn impatient_callers(database: &'static TestDatabase) {
    const CALLS: usize = 1_000;
    const CALLERS: usize = 16;
    let seed = crate::support::seed();
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let watching = (database.kind == Kind::Postgres).then(|| tokio::spawn(longest_idle_transaction(database)));
    // One that waits.
    let patient = Load::start("patient", [server.client(Api::Grpc, &key)]);

    let callers = (0..CALLERS).map(async |caller| {
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(caller as u64));
        let wire = Wire::connect(server.grpc, &key).await;
        let mut codes = BTreeMap::<String, u32>::new();
        for number in (caller..CALLS).step_by(CALLERS) {
            // As many short deadlines as long ones.
            let timeout = (random.random_range(0.0..20_000_f64.ln())).exp();
            let message = load::message(&format!("call{number}@example.com"));
            let timeout = format!("{timeout:.0}u");
            let call = wire.assign(&message, &timeout);
            let code = if random.random_bool(0.5) {
                let drop_after = Duration::from_micros(random.random_range(0..20_000));
                match tokio::time::timeout(drop_after, call).await {
                    Ok(code) => code.expect("an answer"),
                    Err(_elapsed) => "dropped".into(),
                }
            } else {
                call.await.expect("an answer")
            };
            *codes.entry(code).or_default() += 1;
        }
        codes
    });
    let mut codes = BTreeMap::<String, u32>::new();
    for (code, count) in join_all(callers).await.into_iter().flatten() {
        *codes.entry(code).or_default() += count;
    }
    let patient = patient.finish().await;
    assert!(patient.iter().all(Call::is_ok), "{}", tally(&patient));
    if let Some(watching) = watching {
        // A transaction that was left open would show now.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        watching.abort();
        let idle = idle_in_transaction(database).await;
        println!("longest idle in transaction at the end: {idle} ms");
        assert!(idle < 1_000, "{idle} ms idle in transaction");
        let watched = watching.await;
        assert!(watched.is_err_and(|error| error.is_cancelled()), "none over a second");
    }
    let after = load::create(&server.client(Api::Rest, &key), "after@example.com".into()).await;
    assert!(after.is_ok(), "{after:?}");
    server.stop().await;

    let owned = owned(database).await;
    let done = owned.keys().filter(|email| email.starts_with("call")).count();
    println!("{codes:?}, {done} carried out, {} patient calls", patient.len());
    // For a deadline of a few milliseconds, the transport's own timer may be first: it answers CANCELLED.
    for code in codes.keys() {
        assert!(
            ["OK", "DEADLINE_EXCEEDED", "CANCELLED", "dropped"].contains(&code.as_str()),
            "{codes:?}"
        );
    }
    assert!(
        codes.contains_key("DEADLINE_EXCEEDED") && codes.contains_key("dropped"),
        "{codes:?}"
    );
    assert!(done > 0 && done < CALLS, "{done} of {CALLS}");
    for (email, devices) in owned {
        assert_eq!(devices.into_iter().collect::<Vec<_>>(), devices_of(&email), "whole");
    }
}

/// Checks again and again; panics if a session of the service is idle for a second in an open transaction.
async fn longest_idle_transaction(database: &TestDatabase) {
    loop {
        let idle = idle_in_transaction(database).await;
        assert!(idle < 1_000, "{idle} ms idle in transaction");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How many milliseconds a session of the service has been idle in a transaction.
async fn idle_in_transaction(database: &TestDatabase) -> i64 {
    let sql = "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - state_change) * 1000), 0)::bigint \
               FROM pg_stat_activity WHERE datname = current_database() \
               AND application_name = 'device-assignment' AND state LIKE 'idle in transaction%'";
    database.number(sql).await
}
