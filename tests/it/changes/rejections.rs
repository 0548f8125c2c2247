//! Requests for changes that are rejected.

use reqwest::Method;

use super::{
    Rule,
    follower::{Follower, From, PATH, get, list},
    world,
};
use crate::support::{Answer, Api, Client, Suite, TestDatabase, TestServer};

pub fn rules(rule: &mut impl FnMut(&str, Rule)) {
    rule("a_revision_in_the_future_is_rejected", |client, _| {
        Box::pin(future(client))
    });
    rule("another_history_is_expired", |client, _| {
        Box::pin(another_history(client))
    });
    rule("a_missing_revision_is_an_error", |client, database| {
        Box::pin(hole(client, database))
    });
}

pub fn register(suite: &mut Suite) {
    for api in [Api::Rest, Api::RemoteRest] {
        let name = format!("changes::invalid_parameters_are_rejected::{}", api.name());
        suite.on_each(&name, move |database| parameters(database, api));
    }
}

async fn both(client: &Client, from: &From) -> [Answer; 2] {
    let page = list(client, from, 0, 0).await;
    let stream = Follower::start(client, from).await;
    [page, stream.err().expect("a rejection")]
}

async fn future(client: Client) {
    for after in [5, u64::MAX] {
        for answer in both(&client, &From::after(after)).await {
            assert_eq!(answer.code, "INVALID_ARGUMENT", "{answer:?}");
            assert_eq!(answer.reason.as_deref(), Some("REVISION_IN_FUTURE"));
            assert_eq!(answer.metadata["currentRevision"], "4");
            assert_eq!(
                answer.error,
                "The organization's current revision is 4; the request names a later one"
            );
            assert!(answer.http.is_none_or(|(status, _)| status == 400));
        }
    }
}

async fn another_history(client: Client) {
    for history in ["hist_00000000000000000000000000", "x"] {
        // Even if the revision does not exist either.
        for after in [0, 5] {
            let from = From {
                history: history.to_owned(),
                ..From::after(after)
            };
            for answer in both(&client, &from).await {
                assert_eq!(answer.code, "OUT_OF_RANGE", "{answer:?}");
                assert_eq!(answer.reason.as_deref(), Some("CHANGES_EXPIRED"));
                assert!(answer.http.is_none_or(|(status, _)| status == 410));
            }
        }
    }
}

/// A planted fault: a follower must not miss a change, so a change that is missing is an error.
async fn hole(client: Client, database: &TestDatabase) {
    let connection = database.connect().await;
    let sql = "DELETE FROM change_log WHERE revision = 2 AND organization_id = (SELECT id FROM organization WHERE name = 'acme')";
    sea_orm::ConnectionTrait::execute_unprepared(&connection, sql)
        .await
        .expect(sql);
    connection.close().await.expect("closed");
    for after in [0, 1] {
        for answer in both(&client, &From::after(after)).await {
            assert_eq!(
                (answer.code.as_str(), answer.error.as_str()),
                ("INTERNAL", "Internal error")
            );
        }
    }
    let page = list(&client, &From::after(2), 0, 0).await.ok();
    assert_eq!(page.body["changes"].as_array().map(Vec::len), Some(2));
}

async fn parameters(database: &TestDatabase, api: Api) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    for (query, field, error) in [
        (
            "after=-1",
            "after",
            "after must be a number of 0 to 18446744073709551615",
        ),
        (
            "after=x",
            "after",
            "after must be a number of 0 to 18446744073709551615",
        ),
        ("after=", "after", "after must be a number of 0 to 18446744073709551615"),
        (
            "after=1.5",
            "after",
            "after must be a number of 0 to 18446744073709551615",
        ),
        (
            "after=18446744073709551616",
            "after",
            "after must be a number of 0 to 18446744073709551615",
        ),
        ("after=1&after=1", "after", "after is repeated; send it once"),
        (
            "pageSize=-1",
            "pageSize",
            "pageSize must be a number of 0 to 18446744073709551615",
        ),
        (
            "waitSeconds=soon",
            "waitSeconds",
            "waitSeconds must be a number of 0 to 18446744073709551615",
        ),
        ("includeNames=1", "includeNames", "includeNames must be true or false"),
        ("history=%FF", "", "The query string must be UTF-8, percent-encoded"),
        (
            "afterRevision=1",
            "afterRevision",
            "afterRevision is not a parameter of this request; the parameters are after, history, pageSize, waitSeconds, includeNames",
        ),
    ] {
        let answer = get(&client, query).await;
        assert_eq!(answer.code, "INVALID_ARGUMENT", "{query}: {answer:?}");
        assert_eq!(answer.reason.as_deref(), Some("INVALID_REQUEST"), "{query}");
        assert_eq!(answer.error, error, "{query}");
        let fields: Vec<_> = answer.violations.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields.join(","), field, "{query}");
        assert_eq!(answer.http.map(|(status, _)| status), Some(400));
        // A rejected request counts like any other.
        assert!(answer.limits.iter().all(Option::is_some));
    }
    for id in ["4", "hist_1", ":4", "hist_1:-4", "hist_1:4:4"] {
        let answer = Follower::after_event(&client, id).await.err().expect("a rejection");
        assert_eq!(answer.code, "INVALID_ARGUMENT", "{id}: {answer:?}");
        // Also where the header has no meaning.
        let page = client.request(Method::GET, PATH).header("last-event-id", id);
        let answer = client.send(page).await;
        assert_eq!(answer.code, "INVALID_ARGUMENT", "{id}: {answer:?}");
    }
    let answer = get(&client.with_key(None), "after=x").await;
    assert_eq!(answer.code, "UNAUTHENTICATED", "the key is checked first");
    server.stop().await;
}
