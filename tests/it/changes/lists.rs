//! Pages of changes.

use serde_json::{Value, json};

use super::{
    ANN, BOB, Rule,
    follower::{From, list, revision},
};
use crate::support::Client;

pub fn rules(rule: &mut impl FnMut(&str, Rule)) {
    rule("a_change_member_for_member", |client, _| Box::pin(members(client)));
    rule("pages_follow_each_other", |client, _| Box::pin(pages(client)));
    rule("names_are_current", |client, database| {
        Box::pin(async move {
            let all = list(&client, &names(0), 0, 0).await.ok();
            let first = &all.body["changes"][0];
            assert_eq!(identifiers(first), ["SN-1", "SN-2", "SN-3"]);
            let second = &all.body["changes"][1];
            assert_eq!(second["customers"][0]["email"], ANN);
            assert_eq!(
                second["customers"][0]["customerId"],
                second["assigned"][0]["customerId"]
            );
            let third = &all.body["changes"][2];
            assert_eq!(third["customers"][0]["email"], BOB);
            // What no longer exists has no name.
            let connection = database.connect().await;
            for sql in [
                "DELETE FROM device_assignment",
                "DELETE FROM device WHERE identifier = 'SN-2'",
                "DELETE FROM customer WHERE email = 'ann@example.com'",
            ] {
                sea_orm::ConnectionTrait::execute_unprepared(&connection, sql)
                    .await
                    .expect(sql);
            }
            connection.close().await.expect("closed");
            let all = list(&client, &names(0), 0, 0).await.ok();
            assert_eq!(identifiers(&all.body["changes"][0]), ["SN-1", "SN-3"]);
            assert_eq!(all.body["changes"][1]["customers"], json!([]));
            assert_eq!(identifiers(&all.body["changes"][1]), ["SN-1"]);
        })
    });
    rule("a_page_is_bounded_in_bytes", |client, _| Box::pin(bounded(client)));
    rule("a_call_waits_for_the_first_change", |client, _| Box::pin(waits(client)));
}

fn names(after: u64) -> From {
    From {
        include_names: true,
        ..From::after(after)
    }
}

fn identifiers(change: &Value) -> Vec<&str> {
    let devices = change["devices"].as_array().expect("a list");
    let mut identifiers: Vec<_> = devices
        .iter()
        .map(|device| device["identifier"].as_str().expect("text"))
        .collect();
    identifiers.sort_unstable();
    identifiers
}

async fn members(client: Client) {
    let answer = list(&client, &From::after(0), 0, 0).await.ok();
    assert_eq!(answer.revision, Some(4));
    let body = &answer.body;
    let history = body["history"].as_str().expect("text");
    assert!(history.starts_with("hist_") && history.len() == 31, "{history}");
    assert_eq!(body["revision"], "4");
    let changes = body["changes"].as_array().expect("changes");
    for change in changes {
        assert_eq!(change["history"], history);
        let at = change["at"].as_str().expect("text");
        assert!(at.ends_with('Z') && at.len() >= 20, "{at}");
    }
    let [import, ann, bob, removal] = &changes[..] else {
        panic!("four changes: {changes:?}");
    };
    let key = &bob["actor"]["apiKeyId"];
    assert!(key.as_str().is_some_and(|key| key.starts_with("key_")), "{key}");
    let (customer, created) = (&bob["customersCreated"][0], &bob["devicesCreated"][0]);
    let second = &import["devicesCreated"][1];
    let expected = json!({
        "revision": "3",
        "history": history,
        "at": bob["at"],
        "kind": "assign",
        "actor": { "apiKeyId": key, "operator": null },
        "requestId": "request-1",
        "assigned": [{ "customerId": customer, "deviceIds": [second, created] }],
        "unassigned": [],
        "customersCreated": [customer],
        "customersUpdated": [],
        "customersDeleted": [],
        "devicesCreated": [created],
        "devicesUpdated": [],
        "devicesDeleted": [],
        "customers": [],
        "devices": [],
    });
    assert_eq!(*bob, expected);
    let members = |value: &Value| {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(members(bob), members(&expected), "in the documented order");
    let owner = &ann["customersCreated"][0];
    assert_eq!(removal["kind"], "unassign");
    assert_eq!(
        removal["unassigned"],
        json!([{ "customerId": owner, "deviceIds": [second] }])
    );
    assert_eq!(removal["assigned"], json!([]));
    assert_eq!(import["kind"], "import");
    assert_eq!(import["actor"]["apiKeyId"], Value::Null);
    assert_eq!(import["requestId"], "");
    assert_eq!(import["devicesCreated"].as_array().map(Vec::len), Some(3));
}

async fn pages(client: Client) {
    let mut after = 0;
    let mut history = String::new();
    for expected in [vec![1, 2, 3], vec![4], vec![]] {
        let from = From {
            history: history.clone(),
            ..From::after(after)
        };
        let page = list(&client, &from, 3, 0).await.ok();
        let revisions: Vec<u64> = page.body["changes"]
            .as_array()
            .expect("changes")
            .iter()
            .map(revision)
            .collect();
        assert_eq!(revisions, expected);
        assert_eq!(page.body["revision"], "4");
        page.body["history"].as_str().expect("text").clone_into(&mut history);
        after = revisions.last().copied().unwrap_or(after);
    }
    // More than the most count as the most.
    let page = list(&client, &From::after(2), 5_000, 0).await.ok();
    assert_eq!(page.body["changes"].as_array().map(Vec::len), Some(2));
}

/// 12 changes of 2,000 created devices each take more than 2 MiB.
async fn bounded(client: Client) {
    for number in 0..12 {
        let identifiers: Vec<String> = (0..2_000).map(|device| format!("{number}-{device}")).collect();
        let identifiers: Vec<&str> = identifiers.iter().map(String::as_str).collect();
        client.create(ANN, &identifiers).await.ok();
    }
    let (mut after, mut pages) = (4, 0);
    while after < 16 {
        let page = list(&client, &names(after), 1_000, 0).await.ok();
        let changes = page.body["changes"].as_array().expect("changes");
        assert!(!changes.is_empty());
        for change in changes {
            after += 1;
            assert_eq!(revision(change), after);
            assert_eq!(identifiers(change).len(), 2_000);
        }
        let bytes = page.body.to_string().len();
        assert!(
            bytes < 3 * 1024 * 1024 / 2,
            "JSON of at most 1 MiB as a message: {bytes}"
        );
        pages += 1;
    }
    assert!(pages > 2, "{pages}");
}

async fn waits(client: Client) {
    let from = From::after(4);
    let waiting = tokio::spawn({
        let (client, from) = (client.clone(), from.clone());
        async move { list(&client, &from, 0, 50).await }
    });
    // Without a wait, a call returns at once, even while another one waits.
    let page = list(&client, &from, 0, 0).await.ok();
    assert_eq!(page.body["changes"], json!([]));
    client.assign(BOB, &["SN-3"]).await.ok();
    let page = waiting.await.expect("no panic").ok();
    assert_eq!(page.body["changes"].as_array().map(Vec::len), Some(1));
    assert_eq!(page.body["revision"], "5");
    // A wait ends without a change, too.
    let page = list(&client, &From::after(5), 0, 1).await.ok();
    assert_eq!(page.body["changes"], json!([]));
    assert_eq!(page.body["revision"], "5");
}
