//! Keys that may only read: their writes are rejected, before the body is read, and count.

use std::time::Duration;

use device_assignment::service::Limit;
use serde_json::json;

use crate::{
    contract::world,
    limits::{assert_too_many, settings},
    support::{Answer, Api, Suite, TestDatabase, TestServer, read_key},
};

pub fn register(suite: &mut Suite) {
    for api in Api::ALL {
        let name = |test: &str| format!("scopes::{test}::{}", api.name());
        suite.on_each(&name("a_key_that_may_only_read_changes_nothing"), move |db| {
            rejected(db, api)
        });
        suite.on_each(&name("rejected_writes_count_as_calls"), move |db| counted(db, api));
    }
}

#[track_caller]
pub fn assert_scope_missing(answer: &Answer) {
    assert_eq!(answer.code, "PERMISSION_DENIED", "{answer:?}");
    assert_eq!(
        answer.error,
        "This API key may only read; use a key with the scope write"
    );
    assert_eq!(answer.reason.as_deref(), Some("SCOPE_MISSING"));
    assert!(answer.http.as_ref().is_none_or(|(status, _)| *status == 403));
}

async fn rejected(database: &TestDatabase, api: Api) {
    let writer = world(database).await;
    let reader = read_key(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &reader);
    let before = database.dump().await;
    // Twice, since the gateway remembers keys.
    for _ in 0..2 {
        assert_scope_missing(&client.create("john@example.com", &["SN-9"]).await);
        assert_scope_missing(&client.unassign("john.doe@example.com", &["SN-002"]).await);
        assert_scope_missing(&client.unassign_one("john.doe@example.com", "SN-002").await);
        // Without valid fields, too.
        assert_scope_missing(&client.call(&json!({})).await);
        if api != Api::Grpc {
            for (body, content_type) in [("{", "application/json"), ("{}", "text/plain")] {
                assert_scope_missing(&client.post(body, Some(content_type)).await);
            }
            assert_scope_missing(&client.post(vec![b' '; 9 * 1024 * 1024], None).await);
        }
    }
    assert_eq!(database.dump().await, before, "a call that fails changes nothing");
    let client = client.with_key(Some(&writer));
    client.create("john@example.com", &["SN-9"]).await.ok();
    server.stop().await;
}

async fn counted(database: &TestDatabase, api: Api) {
    world(database).await;
    let reader = read_key(database, "acme").await;
    let hour = Duration::from_secs(3_600);
    let server = TestServer::start_with(database, settings(|limits| limits.calls = Limit::new(hour, 2))).await;
    let client = server.client(api, &reader);
    for _ in 0..2 {
        let answer = client.create("john@example.com", &["SN-9"]).await;
        assert_scope_missing(&answer);
        assert!(answer.limits.iter().all(Option::is_some), "{answer:?}");
    }
    assert_too_many(&client.create("john@example.com", &["SN-9"]).await, "RATE_LIMITED");
    server.stop().await;
}
