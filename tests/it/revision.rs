//! The revision that every answer to a write carries.

use crate::support::{Answer, Api, Client, Suite, TestDatabase, TestServer, organization};

const JOHN: &str = "john.doe@example.com";

pub fn register(suite: &mut Suite) {
    for api in Api::ALL {
        let name = format!("revision::answers_carry_it::{}", api.name());
        suite.on_each(&name, move |db| answers_carry_it(db, api));
    }
}

async fn answers_carry_it(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let other = organization(database, "other").await;
    let server = TestServer::start(database).await;
    let client: Client = server.client(api, &key);
    let revision = |answer: Answer| answer.ok().revision;
    assert_eq!(revision(client.create(JOHN, &["SN-1", "SN-2"]).await), Some(1));
    assert_eq!(
        revision(client.create(JOHN, &["SN-1"]).await),
        Some(1),
        "nothing changed"
    );
    assert_eq!(revision(client.create(JOHN, &["SN-3"]).await), Some(2));
    assert_eq!(revision(client.unassign(JOHN, &["SN-1"]).await), Some(3));
    assert_eq!(
        revision(client.unassign(JOHN, &["SN-1"]).await),
        Some(3),
        "nothing changed"
    );
    assert_eq!(revision(client.unassign_one(JOHN, "SN-2").await), Some(4));
    assert_eq!(revision(client.assign(JOHN, &["SN-1"]).await), Some(5));
    let failed = client.unassign_one(JOHN, "SN-9").await;
    assert_eq!((failed.code.as_str(), failed.revision), ("FAILED_PRECONDITION", None));
    let other = server.client(api, &other).create(JOHN, &["SN-1"]).await;
    assert_eq!(revision(other), Some(1), "each organization has its own");
    server.stop().await;
}
