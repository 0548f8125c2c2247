//! What a key may take in a while, and all of them at once: exact counts, and what callers are told.

use std::time::{Duration, Instant};

use device_assignment::{
    server::ServerSettings,
    service::{Limit, LimitSettings, ServiceSettings},
};
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::json;

use crate::support::{
    Answer, Api, Client, Kind, Suite, TestDatabase, TestServer, load::eventually, new_key, organization,
};

/// So long that nothing comes back during a test.
const HOUR: Duration = Duration::from_secs(3_600);

pub fn register(suite: &mut Suite) {
    for api in Api::ALL {
        let name = |test: &str| format!("limits::{test}::{}", api.name());
        suite.on_each(&name("a_burst_of_calls_is_counted_exactly"), move |db| calls(db, api));
        suite.on_each(&name("devices_are_counted_when_the_fields_are_right"), move |db| {
            devices(db, api)
        });
        suite.on_each(&name("what_was_taken_comes_back"), move |db| recovers(db, api));
        suite.on_each(&name("calls_under_way_are_bounded"), move |db| in_flight(db, api));
        suite.on_each(&name("without_limits_nothing_is_told"), move |db| unlimited(db, api));
    }
    suite.on_each("limits::all_apis_count_together", together);
    suite.on_each("limits::a_malformed_request_costs_a_call", malformed);
}

/// No limits but those that `set` sets.
pub fn settings(set: impl FnOnce(&mut LimitSettings)) -> ServerSettings {
    let mut limits = LimitSettings {
        calls: None,
        devices: None,
        failed_keys: None,
        max_in_flight: None,
    };
    set(&mut limits);
    ServerSettings {
        service: ServiceSettings {
            limits,
            ..ServiceSettings::default()
        },
        ..ServerSettings::default()
    }
}

#[track_caller]
pub fn assert_too_many(answer: &Answer, reason: &str) {
    assert_eq!(answer.code, "RESOURCE_EXHAUSTED", "{answer:?}");
    assert_eq!(answer.violations, []);
    assert_eq!(answer.reason.as_deref(), Some(reason));
    assert!(answer.http.as_ref().is_none_or(|(status, _)| *status == 429));
}

/// That the limit of a key is reached, which counts `what`.
#[track_caller]
fn assert_limited(answer: &Answer, what: &str) {
    assert_too_many(answer, "RATE_LIMITED");
    let wait = answer.retry_after.expect("a time to wait");
    let sentence = format!("Too many {what} with this API key; try again in {wait} s");
    assert_eq!(answer.error, sentence);
    assert_eq!(answer.metadata["retryAfterSeconds"], wait.to_string());
    assert!(answer.metadata.contains_key("limit"), "{answer:?}");
}

/// The number that an item of `RateLimit` gives for `name`.
#[track_caller]
fn told(answer: &Answer, name: &str, parameter: &str) -> Option<u64> {
    let items = answer.limits[1].as_ref()?.split(", ");
    let item = items.filter_map(|item| item.strip_prefix(&format!("\"{name}\"")));
    let parameters = item.flat_map(|item| item.split(';'));
    let mut values = parameters.filter_map(|given| given.strip_prefix(parameter)?.strip_prefix('='));
    values.next().map(|value| value.parse().expect("a number"))
}

async fn calls(database: &TestDatabase, api: Api) {
    const BURST: u32 = 20;
    let acme = organization(database, "acme").await;
    let others = [
        new_key(database, "acme", None).await.secret.reveal().to_owned(),
        organization(database, "globex").await,
    ];
    let server = TestServer::start_with(database, settings(|limits| limits.calls = Limit::new(HOUR, BURST))).await;
    let client = server.client(api, &acme);

    let calls = (0..2 * BURST).map(|_| client.create("john@example.com", &["SN-1"]));
    let (allowed, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(|call| call.code == "OK");
    assert_eq!((allowed.len(), refused.len()), (20, 20));
    let mut left: Vec<_> = allowed.iter().filter_map(|call| told(call, "calls", "r")).collect();
    left.sort_unstable();
    assert_eq!((left.len(), left.first()), (20, Some(&0)));
    // Of calls in the same instant, one may be told of one less than there is; none of more.
    for (rest, told) in (0..).zip(left) {
        assert!(told == rest || told + 1 == rest, "{told} where {rest} are left");
    }
    for call in &refused {
        assert_limited(call, "calls");
        // Rounded up, and at most what one takes to come back.
        assert!(
            (3_000..=3_600).contains(&call.retry_after.expect("a time to wait")),
            "{call:?}"
        );
        assert_eq!(told(call, "calls", "r"), Some(0));
    }
    for call in allowed.iter().chain(&refused) {
        assert_eq!(call.limits[0].as_deref(), Some("\"calls\";q=20;w=72000"));
        let (left, full_in) = (told(call, "calls", "r"), told(call, "calls", "t"));
        assert_eq!(full_in, left.map(|left| (20 - left) * 3_600));
    }

    // Another key, even of the same organization, has all of its own.
    for other in others {
        let answer = server
            .client(api, &other)
            .create("john@example.com", &["SN-1"])
            .await
            .ok();
        assert_eq!(told(&answer, "calls", "r"), Some(19));
    }
    assert_limited(&client.create("john@example.com", &["SN-1"]).await, "calls");
    server.stop().await;
}

async fn devices(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let mut settings = settings(|limits| {
        limits.calls = Limit::new(HOUR, 100);
        limits.devices = Limit::new(HOUR, 10);
    });
    settings.service.max_devices_per_request = 10;
    let server = TestServer::start_with(database, settings).await;
    let client = server.client(api, &key);
    let policy = "\"calls\";q=100;w=360000, \"devices\";q=10;qu=\"devices\";w=36000";

    let six = ["SN-1", "SN-2", "SN-3", "SN-4", "SN-5", "SN-5"];
    let answer = client.create("john@example.com", &six).await.ok();
    assert_eq!(answer.limits[0].as_deref(), Some(policy));
    assert_eq!(
        answer.limits[1].as_deref(),
        Some("\"calls\";r=99;t=3600, \"devices\";r=4;t=21600")
    );

    // Refused for its fields: it costs a call, and is told of nothing else.
    let answer = client.create("john at example.com", &["SN-1", "SN-2", "SN-3"]).await;
    assert_eq!(answer.code, "INVALID_ARGUMENT");
    assert_eq!(answer.limits[0].as_deref(), Some(policy));
    assert_eq!(answer.limits[1].as_deref(), Some("\"calls\";r=98;t=7200"));

    let before = database.dump().await;
    let answer = client
        .create("john@example.com", &["SN-6", "SN-7", "SN-8", "SN-9", "SN-10"])
        .await;
    assert_limited(&answer, "devices");
    assert_eq!(
        (told(&answer, "calls", "r"), told(&answer, "devices", "r")),
        (Some(97), Some(4))
    );
    assert_eq!(database.dump().await, before, "a refused call changes nothing");

    // What is left can be taken.
    let answer = client
        .create("john@example.com", &["SN-6", "SN-7", "SN-8", "SN-9"])
        .await
        .ok();
    assert_eq!(told(&answer, "devices", "r"), Some(0));
    assert_limited(&client.create("john@example.com", &["SN-1"]).await, "devices");
    server.stop().await;
}

async fn recovers(database: &TestDatabase, api: Api) {
    const RATE: u32 = 20;
    const BURST: u32 = 5;
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(
        database,
        settings(|limits| limits.calls = Limit::per_second(RATE, BURST)),
    )
    .await;
    let client = server.client(api, &key);
    let start = Instant::now();
    let (mut allowed, mut refused) = (0_u32, 0_u32);
    while start.elapsed() < Duration::from_secs(2) || refused == 0 {
        let answers = join_all((0..10).map(|_| client.assign("john@example.com", &["SN-1"]))).await;
        for answer in answers {
            if answer.code == "FAILED_PRECONDITION" {
                allowed += 1;
            } else {
                assert_limited(&answer, "calls");
                assert_eq!(answer.retry_after, Some(1), "a twentieth of a second, rounded up");
                refused += 1;
            }
        }
    }
    let at_most = f64::from(BURST) + start.elapsed().as_secs_f64() * f64::from(RATE) + 1.0;
    assert!(allowed >= BURST, "{allowed} allowed, {refused} refused");
    assert!(f64::from(allowed) <= at_most, "{allowed} allowed, {refused} refused");

    // As told.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let answer = client.assign("john@example.com", &["SN-1"]).await;
    assert_eq!(answer.code, "FAILED_PRECONDITION");
    server.stop().await;
}

/// What keeps every call from being carried out.
fn block(kind: Kind) -> &'static str {
    match kind {
        Kind::Postgres => "LOCK TABLE customer IN ACCESS EXCLUSIVE MODE",
        Kind::Sqlite => "UPDATE organization SET name = name",
    }
}

async fn in_flight(database: &'static TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    // Of which one organization alone may have half.
    let server = TestServer::start_with(database, settings(|limits| limits.max_in_flight = Some(4))).await;
    let client = server.client(api, &key);
    client.create("jane@example.com", &["SN-1"]).await.ok();

    let outside = database.connect().await;
    let blocker = outside.begin().await.expect("begun");
    blocker.execute_unprepared(block(database.kind)).await.expect("blocked");
    // Again, when there was no room because of the calls below, or the lock took too long.
    let under_way = |client: Client| {
        tokio::spawn(async move { while client.create("john@example.com", &["SN-2"]).await.code != "OK" {} })
    };
    let calls = [under_way(client.clone()), under_way(client.clone())];
    // A call with nothing in it is refused by its fields, as long as there is room for it.
    let nothing = json!({});
    eventually("all places are taken", Duration::from_secs(30), async || {
        let answer = client.call(&nothing).await;
        if answer.code == "INVALID_ARGUMENT" {
            return false;
        }
        assert_too_many(&answer, "OVERLOADED");
        assert_eq!(answer.error, "Too many calls are in flight; try again shortly");
        assert_eq!(answer.retry_after, Some(1));
        true
    })
    .await;

    blocker.commit().await.expect("committed");
    for call in calls {
        call.await.expect("no panic");
    }
    client.create("jane@example.com", &["SN-1"]).await.ok();
    outside.close().await.expect("closed");
    server.stop().await;
}

async fn unlimited(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(database, settings(|_| {})).await;
    let client = server.client(api, &key);
    let calls = (0..50).map(|_| client.create("john@example.com", &["SN-1"]));
    for answer in join_all(calls).await {
        assert_eq!(answer.ok().limits, [None, None]);
    }
    let answer = client
        .with_key(Some("tlm_x"))
        .create("john@example.com", &["SN-1"])
        .await;
    assert_eq!((answer.code.as_str(), answer.limits), ("UNAUTHENTICATED", [None, None]));
    server.stop().await;
}

async fn together(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(database, settings(|limits| limits.calls = Limit::new(HOUR, 6))).await;
    for left in (0..6).rev() {
        let api = Api::ALL[left % 3];
        let answer = server
            .client(api, &key)
            .create("john@example.com", &["SN-1"])
            .await
            .ok();
        assert_eq!(told(&answer, "calls", "r"), u64::try_from(left).ok());
    }
    for api in Api::ALL {
        assert_limited(
            &server.client(api, &key).create("john@example.com", &["SN-1"]).await,
            "calls",
        );
    }
    server.stop().await;
}

async fn malformed(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(database, settings(|limits| limits.calls = Limit::new(HOUR, 9))).await;
    let mut left = 9;
    for api in [Api::Rest, Api::RemoteRest] {
        let client = server.client(api, &key);
        for (body, content_type, status) in [
            ("{", "application/json", 400),
            ("{}", "application/json", 400),
            ("{}", "text/plain", 415),
        ] {
            let answer = client.post(body, Some(content_type)).await;
            assert_eq!(answer.http.as_ref().expect("REST").0, status);
            left -= 1;
            assert_eq!(told(&answer, "calls", "r"), Some(left), "{answer:?}");
        }
    }
    let client = server.client(Api::Grpc, &key);
    for _ in 0..3 {
        let answer = client.call(&json!({})).await;
        assert_eq!(answer.code, "INVALID_ARGUMENT");
        left -= 1;
        assert_eq!(told(&answer, "calls", "r"), Some(left));
    }
    for api in Api::ALL {
        assert_limited(&server.client(api, &key).call(&json!({})).await, "calls");
    }
    server.stop().await;
}
