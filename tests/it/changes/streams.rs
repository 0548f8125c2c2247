//! Streams of changes: what they tell, and how they end.

use std::time::Duration;

use device_assignment::{
    server::ServerSettings,
    service::{ServiceSettings, StreamSettings, begin_history, revoke_api_key},
};
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    ANN, BOB, Rule,
    follower::{Event, Follower, From, list, revision},
    world,
};

use crate::support::{Api, Client, Kind, Suite, TestDatabase, TestServer, new_key, organization};

pub fn rules(rule: &mut impl FnMut(&str, Rule)) {
    rule("a_stream_tells_every_change_in_order", |client, _| {
        Box::pin(tells(client))
    });
    rule("a_stream_tells_what_a_list_tells", |client, _| Box::pin(same(client)));
    rule("an_idle_stream_has_heartbeats", |client, _| {
        Box::pin(heartbeats(client))
    });
    rule("a_stream_ends_with_its_history", |client, database| {
        Box::pin(new_history(client, database))
    });
}

pub fn register(suite: &mut Suite, api: Api) {
    let name = |test: &str| format!("changes::{test}::{}", api.name());
    suite.on_each(&name("a_stream_tells_what_other_instances_change"), move |db| {
        other_instance(db, api)
    });
    suite.on_each(
        &name("a_stream_ends_with_the_instance_and_goes_on_elsewhere"),
        move |db| stopped(db, api),
    );
    suite.on_each(&name("a_stream_ends_with_its_key"), move |db| key_ends(db, api));
    suite.on_each(&name("streams_are_limited"), move |db| limited(db, api));
    suite.on(
        Kind::Postgres,
        &name("streams_that_wait_to_begin_are_no_calls_in_flight"),
        move |db| begin_together(db, api),
    );
    suite.on_each(&name("a_follower_that_does_not_read_loses_nothing"), move |db| {
        slow(db, api)
    });
}

async fn tells(client: Client) {
    let mut follower = Follower::start(&client, &From::after(1)).await.expect("a stream");
    assert_eq!(
        follower.until(4).await.iter().map(revision).collect::<Vec<_>>(),
        [2, 3, 4]
    );
    for number in 5..25 {
        if number % 2 == 1 {
            client.assign(BOB, &["SN-3"]).await.ok();
        } else {
            client.unassign(BOB, &["SN-3"]).await.ok();
        }
        // A call that changes nothing is no change.
        client.assign(ANN, &["SN-1"]).await.ok();
        let change = follower.change().await;
        assert_eq!(revision(&change), number);
        assert_eq!(change["kind"], if number % 2 == 1 { "assign" } else { "unassign" });
    }
}

async fn same(client: Client) {
    let mut last = 4;
    for include_names in [false, true] {
        let from = From {
            include_names,
            ..From::default()
        };
        let page = list(&client, &from, 0, 0).await.ok();
        let mut follower = Follower::start(&client, &from).await.expect("a stream");
        assert_eq!(Value::from(follower.until(last).await), page.body["changes"]);
        assert_eq!(follower.history, page.body["history"]);
        let from = From {
            history: follower.history.clone(),
            after: last,
            ..from
        };
        client.assign(BOB, &["SN-3"]).await.ok();
        let told = follower.change().await;
        let page = list(&client, &from, 1, 0).await.ok();
        assert_eq!(page.body["changes"], json!([told]));
        // A second one begins where the first one was.
        let mut second = Follower::start(&client, &from).await.expect("a stream");
        assert_eq!(second.change().await, told);
        client.unassign(BOB, &["SN-3"]).await.ok();
        assert_eq!(second.change().await, follower.change().await);
        last += 2;
    }
    // Streams with and without names share what is read.
    let from = From::after(last - 2);
    let with_names = From {
        include_names: true,
        ..from.clone()
    };
    let mut with_names = Follower::start(&client, &with_names).await.expect("a stream");
    assert_ne!(with_names.change().await["customers"], json!([]));
    let mut without = Follower::start(&client, &from).await.expect("a stream");
    assert_eq!(without.change().await["customers"], json!([]));
}

async fn heartbeats(client: Client) {
    let mut follower = Follower::start(&client, &From::after(4)).await.expect("a stream");
    // The first one comes at once, the others when nothing else has come.
    for _ in 0..3 {
        assert_eq!(follower.next().await, Some(Event::Heartbeat(4)));
    }
    assert!(follower.history.starts_with("hist_"));
}

async fn new_history(client: Client, database: &TestDatabase) {
    let mut follower = Follower::start(&client, &From::after(4)).await.expect("a stream");
    assert_eq!(follower.next().await, Some(Event::Heartbeat(4)));
    let old = follower.history.clone();
    let opened = database.open().await;
    let new = begin_history(&opened).await.expect("a history");
    opened.close().await;
    let (code, reason, revision) = follower.end().await;
    assert_eq!(
        (code.as_str(), reason.as_str(), revision),
        ("OUT_OF_RANGE", "CHANGES_EXPIRED", 4)
    );
    let from = From {
        history: old,
        ..From::after(4)
    };
    assert_eq!(list(&client, &from, 0, 0).await.code, "OUT_OF_RANGE");
    let page = list(&client, &From::after(4), 0, 0).await.ok();
    assert_eq!(page.body["history"], new.to_string());
}

async fn other_instance(database: &TestDatabase, api: Api) {
    let key = world(database).await;
    let (here, there) = (TestServer::start(database).await, TestServer::start(database).await);
    let mut follower = Follower::start(&here.client(api, &key), &From::after(4))
        .await
        .expect("a stream");
    let writer = there.client(Api::Grpc, &key);
    for number in [5, 7] {
        writer.assign(BOB, &["SN-3"]).await.ok();
        writer.unassign(BOB, &["SN-3"]).await.ok();
        let changes = follower.until(number + 1).await;
        assert_eq!(changes.iter().map(revision).collect::<Vec<_>>(), [number, number + 1]);
    }
    drop(follower);
    here.stop().await;
    there.stop().await;
}

async fn stopped(database: &TestDatabase, api: Api) {
    let key = world(database).await;
    let (first, second) = (TestServer::start(database).await, TestServer::start(database).await);
    let client = first.client(api, &key);
    let mut follower = Follower::start(&client, &From::after(2)).await.expect("a stream");
    follower.until(4).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { list(&client, &From::after(4), 0, 50).await }
    });
    client.assign(BOB, &["SN-3"]).await.ok();
    waiting.await.expect("no panic").ok();
    assert_eq!(revision(&follower.change().await), 5);
    let history = follower.history.clone();
    let (end, ()) = tokio::join!(
        async {
            if api == Api::RemoteRest {
                // Its gateway stops first, and cannot tell.
                while !matches!(follower.next().await, None | Some(Event::End(..))) {}
                return 5;
            }
            let (code, reason, revision) = follower.end().await;
            assert_eq!((code.as_str(), reason.as_str()), ("UNAVAILABLE", "SHUTTING_DOWN"));
            revision
        },
        first.stop()
    );
    assert_eq!(end, 5);
    let client = second.client(api, &key);
    client.unassign(BOB, &["SN-3"]).await.ok();
    let from = From {
        history: history.clone(),
        ..From::after(end)
    };
    let mut follower = Follower::start(&client, &from).await.expect("a stream");
    assert_eq!(revision(&follower.change().await), 6);
    if api != Api::Grpc {
        let mut follower = Follower::after_event(&client, &format!("{history}:{end}"))
            .await
            .expect("a stream");
        assert_eq!(revision(&follower.change().await), 6);
    }
    drop(follower);
    second.stop().await;
}

async fn key_ends(database: &TestDatabase, api: Api) {
    world(database).await;
    let server = TestServer::start(database).await;
    let revoked = new_key(database, "acme", None).await;
    let expires = new_key(database, "acme", Some(Duration::from_secs(3))).await;
    let stays = new_key(database, "acme", None).await;
    let mut followers = Vec::new();
    for key in [&revoked, &expires, &stays] {
        let client = server.client(api, key.secret.reveal());
        followers.push(Follower::start(&client, &From::after(4)).await.expect("a stream"));
    }
    let client = server.client(api, revoked.secret.reveal());
    let waiting = tokio::spawn(async move { list(&client, &From::after(4), 0, 50).await });
    let opened = database.open().await;
    revoke_api_key(&opened, revoked.record.id).await.expect("revoked");
    opened.close().await;
    for follower in followers.iter_mut().take(2) {
        let (code, reason, revision) = follower.end().await;
        assert_eq!(
            (code.as_str(), reason.as_str(), revision),
            ("UNAUTHENTICATED", "INVALID_API_KEY", 4)
        );
    }
    assert_eq!(waiting.await.expect("no panic").code, "UNAUTHENTICATED");
    let client = server.client(Api::Grpc, stays.secret.reveal());
    client.assign(BOB, &["SN-3"]).await.ok();
    assert_eq!(revision(&followers[2].change().await), 5);
    drop(followers);
    server.stop().await;
}

async fn limited(database: &TestDatabase, api: Api) {
    let first = world(database).await;
    let second = new_key(database, "acme", None).await;
    let settings = ServerSettings {
        service: ServiceSettings {
            streams: StreamSettings { max_of_key: 2, max: 6 },
            ..ServiceSettings::default()
        },
        ..ServerSettings::default()
    };
    let server = TestServer::start_with(database, settings).await;
    let client = server.client(api, &first);
    let mut followers = Vec::new();
    let from = From::after(4);
    for _ in 0..2 {
        followers.push(Follower::start(&client, &from).await.expect("a stream"));
    }
    let too_many = |answer: crate::support::Answer, limit: &str, scope: &str| {
        assert_eq!(answer.code, "RESOURCE_EXHAUSTED", "{answer:?}");
        assert_eq!(answer.reason.as_deref(), Some("TOO_MANY_STREAMS"));
        assert_eq!(
            answer.error,
            format!("Too many streams of changes are open: at most {limit} {scope}")
        );
        assert_eq!(answer.metadata["limit"], limit);
        assert!(answer.retry_after.is_some());
    };
    let rejected = Follower::start(&client, &from).await.err().expect("a rejection");
    too_many(rejected, "2", "with one API key");
    too_many(list(&client, &from, 0, 50).await, "2", "with one API key");
    // What does not wait is not limited.
    list(&client, &from, 0, 0).await.ok();
    list(&client, &From::after(3), 0, 50).await.ok();
    let other = server.client(api, second.secret.reveal());
    followers.push(Follower::start(&other, &from).await.expect("a stream"));
    let rejected = Follower::start(&other, &from).await.err().expect("a rejection");
    too_many(rejected, "6", "on one instance, shared among its organizations");
    // There is room for another organization.
    let others = server.client(api, &organization(database, "umbrella").await);
    followers.push(Follower::start(&others, &From::after(0)).await.expect("a stream"));
    followers.clear();
    // The service notices that they have left.
    let mut again = Follower::start(&other, &from).await;
    while again.is_err() {
        tokio::task::yield_now().await;
        again = Follower::start(&other, &from).await;
    }
    drop(again);
    server.stop().await;
}

/// More streams than calls may be in flight begin while the log cannot be read.
async fn begin_together(database: &'static TestDatabase, api: Api) {
    const STREAMS: usize = 12;
    let key = world(database).await;
    let mut settings = ServerSettings::default();
    // One organization alone may have half.
    settings.service.limits.max_in_flight = Some(8);
    settings.service.streams.max_of_key = STREAMS;
    let server = TestServer::start_with(database, settings).await;
    let client = server.client(api, &key);
    let outside = database.connect().await;
    let blocker = outside.begin().await.expect("begun");
    let lock = "LOCK TABLE change_log IN ACCESS EXCLUSIVE MODE";
    blocker.execute_unprepared(lock).await.expect("locked");

    // Again, if there was no room because the requests of others were just arriving, or the lock took too long.
    let open = async |client: Client| loop {
        match Follower::start(&client, &From::after(4)).await {
            Ok(follower) => return Some(follower),
            Err(answer) if answer.reason.as_deref() == Some("TOO_MANY_STREAMS") => return None,
            Err(answer) => assert!(
                ["RESOURCE_EXHAUSTED", "UNAVAILABLE"].contains(&answer.code.as_str()),
                "{answer:?}"
            ),
        }
    };
    // One more than there is room for: it is rejected as soon as all others wait.
    let mut streams: JoinSet<_> = (0..=STREAMS).map(|_| open(client.clone())).collect();
    let rejected = streams.join_next().await.expect("a stream").expect("no panic");
    assert!(rejected.is_none(), "the log is locked");
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND application_name = 'device-assignment' AND wait_event_type = 'Lock' AND query LIKE '%customers_created%'";
    assert!(
        database.number(waiting).await <= 1,
        "streams of one organization share what they read"
    );

    blocker.commit().await.expect("committed");
    for mut follower in streams.join_all().await.into_iter().flatten() {
        assert_eq!(follower.next().await, Some(Event::Heartbeat(4)));
    }
    outside.close().await.expect("closed");
    server.stop().await;
}

/// The stream has more to tell than it may send before the follower reads.
async fn slow(database: &TestDatabase, api: Api) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let mut follower = Follower::start(&client, &From::after(4)).await.expect("a stream");
    let writer = server.client(Api::Grpc, &key);
    let identifiers: Vec<String> = (0..500).map(|device| format!("slow-{device}")).collect();
    let identifiers: Vec<&str> = identifiers.iter().map(String::as_str).collect();
    for _ in 0..20 {
        writer.create(ANN, &identifiers).await.ok();
        writer.unassign(ANN, &identifiers).await.ok();
    }
    let changes = follower.until(44).await;
    assert_eq!(
        changes.iter().map(revision).collect::<Vec<_>>(),
        (5..=44).collect::<Vec<_>>()
    );
    drop(follower);
    server.stop().await;
}
