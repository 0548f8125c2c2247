//! Idempotency keys: a call with a key is carried out once, whatever happens in between. The campaign `idempotency` kills instances
//! meanwhile.

use std::time::Duration;

use device_assignment::pb::{DeleteCustomerRequest, customer_service_client::CustomerServiceClient};
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::support::{
    Answer, Api, Client, Kind, Suite, TRANSFER_PATH, TestDatabase, TestServer, client::answer_of, organization,
};

const JOHN: &str = "john.doe@example.com";
const KEY: &str = "idempotency-key";

pub fn register(suite: &mut Suite) {
    for api in Api::ALL {
        let name = |test: &str| format!("idempotency::{test}::{}", api.name());
        suite.on_each(&name("a_repeated_call_does_not_undo_what_came_after"), move |db| {
            not_again(db, api)
        });
        suite.on_each(&name("an_answer_of_a_call_that_changed_nothing_is_kept"), move |db| {
            nothing_changed(db, api)
        });
        suite.on_each(&name("a_rejection_is_not_kept"), move |db| rejected(db, api));
        suite.on_each(&name("each_organization_has_its_own_keys"), move |db| own(db, api));
        suite.on_each(&name("a_key_expires"), move |db| expired(db, api));
    }
    suite.on_each("idempotency::grpc_and_rest_share_answers", shared);
    suite.on_each("idempotency::the_largest_answer_is_kept", largest);
    suite.on_each("idempotency::expired_answers_are_deleted", deleted);
    suite.on(
        Kind::Postgres,
        "idempotency::few_expired_answers_are_deleted_without_reading_all",
        |database| async move { few_of_many(database).await },
    );
    suite.on_each(
        "idempotency::erasing_a_customer_erases_the_answers_that_name_it",
        erased,
    );
    suite.on_each(
        "idempotency::a_sale_is_not_repeated_after_its_seller_was_erased",
        erased_seller,
    );
    suite.on(
        Kind::Sqlite,
        "idempotency::a_deletion_at_two_instances_at_once",
        |database| async move { at_two_instances(database).await },
    );
}

/// Runs statements behind the back of the service.
async fn execute(database: &TestDatabase, sql: &str) -> u64 {
    let connection = database.connect().await;
    let result = connection.execute_unprepared(sql).await.expect(sql);
    connection.close().await.expect("closed");
    result.rows_affected()
}

/// Makes every stored answer expire.
async fn expire_all(database: &TestDatabase) -> u64 {
    execute(
        database,
        "UPDATE idempotency_key SET expires_at = '2020-01-01T00:00:00Z'",
    )
    .await
}

#[track_caller]
fn assert_repeated(answer: &Answer, first: &Answer) {
    assert!(answer.replayed && !first.replayed, "{answer:?}");
    assert_eq!((&answer.body, answer.revision), (&first.body, first.revision));
}

async fn not_again(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let keyed = client.with_header(KEY, "1");
    let first = keyed.create(JOHN, &["SN-1", "SN-2"]).await.ok();
    client.unassign(JOHN, &["SN-1"]).await.ok();
    let before = database.dump().await;
    assert_repeated(&keyed.create(JOHN, &["SN-1", "SN-2"]).await.ok(), &first);
    assert_eq!(database.dump().await, before);
    // Another request with the same key.
    let reused = keyed.create(JOHN, &["SN-2", "SN-1"]).await;
    assert_eq!(reused.reason.as_deref(), Some("IDEMPOTENCY_KEY_REUSED"), "{reused:?}");
    assert_eq!(reused.code, "FAILED_PRECONDITION");
    // Invalid fields are told first.
    let invalid = keyed.create("john", &["SN-2"]).await;
    assert_eq!(invalid.reason.as_deref(), Some("INVALID_REQUEST"), "{invalid:?}");
    assert_eq!(database.dump().await, before);
    let removed = client.with_header(KEY, "2");
    let first = removed.unassign_one(JOHN, "SN-2").await.ok();
    assert_repeated(&removed.unassign_one(JOHN, "SN-2").await.ok(), &first);
    assert_eq!(
        client.unassign_one(JOHN, "SN-2").await.reason.as_deref(),
        Some("NOT_ASSIGNED")
    );
    server.stop().await;
}

async fn nothing_changed(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    client.create(JOHN, &["SN-1"]).await.ok();
    let keyed = client.with_header(KEY, "1");
    let first = keyed.assign(JOHN, &["SN-1"]).await.ok();
    assert_eq!(first.identifiers("alreadyAssigned"), ["SN-1"]);
    assert_eq!(database.count("change_log").await, 1, "no revision for nothing");
    client.unassign(JOHN, &["SN-1"]).await.ok();
    // Without the stored answer, this would assign the device again.
    assert_repeated(&keyed.assign(JOHN, &["SN-1"]).await.ok(), &first);
    assert_eq!(database.count("device_assignment").await, 0);
    server.stop().await;
}

async fn rejected(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let keyed = client.with_header(KEY, "1");
    for _ in 0..2 {
        let answer = keyed.assign(JOHN, &["SN-1"]).await;
        assert_eq!(answer.reason.as_deref(), Some("NO_VALID_DEVICES"), "{answer:?}");
    }
    assert_eq!(database.count("idempotency_key").await, 0);
    client.create("jane@example.com", &["SN-1"]).await.ok();
    let answer = keyed.assign(JOHN, &["SN-1"]).await.ok();
    assert!(!answer.replayed);
    assert_eq!(answer.identifiers("assignedDevices"), ["SN-1"]);
    server.stop().await;
}

async fn own(database: &TestDatabase, api: Api) {
    let keys = [
        organization(database, "acme").await,
        organization(database, "globex").await,
    ];
    let server = TestServer::start(database).await;
    let [acme, globex] = keys.each_ref().map(|key| server.client(api, key).with_header(KEY, "1"));
    let first = acme.create(JOHN, &["SN-1"]).await.ok();
    let other = globex.create(JOHN, &["SN-1"]).await.ok();
    assert!(!other.replayed);
    assert_ne!(other.body["customerId"], first.body["customerId"]);
    assert_repeated(&acme.create(JOHN, &["SN-1"]).await.ok(), &first);
    assert_repeated(&globex.create(JOHN, &["SN-1"]).await.ok(), &other);
    server.stop().await;
}

async fn expired(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let keyed = client.with_header(KEY, "1");
    keyed.create(JOHN, &["SN-1"]).await.ok();
    assert_eq!(expire_all(database).await, 1);
    // Nobody remembers the first request: another one may use the key.
    let second = keyed.create(JOHN, &["SN-1", "SN-2"]).await.ok();
    assert!(!second.replayed);
    assert_eq!(second.identifiers("alreadyAssigned"), ["SN-1"]);
    assert_repeated(&keyed.create(JOHN, &["SN-1", "SN-2"]).await.ok(), &second);
    assert_eq!(database.count("idempotency_key").await, 1);
    server.stop().await;
}

async fn shared(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = |api| server.client(api, &key).with_header(KEY, "1");
    let first = client(Api::Grpc).create(JOHN, &["SN-1"]).await.ok();
    for api in Api::ALL {
        assert_repeated(&client(api).create(JOHN, &["SN-1"]).await.ok(), &first);
    }
    server.stop().await;
}

async fn largest(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let identifiers: Vec<String> = (0..10_000)
        .map(|number| format!("SN-{number:05}-{}", "x".repeat(200)))
        .collect();
    let identifiers: Vec<&str> = identifiers.iter().map(String::as_str).collect();
    let client = |api| server.client(api, &key).with_header(KEY, "1");
    let first = client(Api::Grpc).create(JOHN, &identifiers).await.ok();
    for api in Api::ALL {
        assert_repeated(&client(api).create(JOHN, &identifiers).await.ok(), &first);
    }
    server.stop().await;
}

async fn deleted(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, &key);
    for number in 0..5 {
        let keyed = client.with_header(KEY, &number.to_string());
        keyed.create(JOHN, &["SN-1"]).await.ok();
    }
    let service = database.open().await;
    assert_eq!(service.delete_expired_answers(100).await.expect("deleted"), 0);
    expire_all(database).await;
    client.with_header(KEY, "new").create(JOHN, &["SN-1"]).await.ok();
    assert_eq!(service.delete_expired_answers(3).await.expect("deleted"), 3);
    assert_eq!(service.delete_expired_answers(3).await.expect("deleted"), 2);
    assert_eq!(database.count("idempotency_key").await, 1);
    service.close().await;
    server.stop().await;

    // The service itself deletes them, the first time when it starts.
    expire_all(database).await;
    let server = TestServer::start(database).await;
    crate::support::load::eventually("deleted", Duration::from_secs(10), async || {
        database.count("idempotency_key").await == 0
    })
    .await;
    server.stop().await;
}

/// Otherwise the time grows with the table, and in the end the server cancels the statement each time.
async fn few_of_many(database: &TestDatabase) {
    const READ: &str =
        "SELECT coalesce(sum(idx_tup_read), 0)::bigint FROM pg_stat_user_indexes WHERE relname = 'idempotency_key'";
    organization(database, "acme").await;
    let fill = "INSERT INTO idempotency_key (organization_id, key, request, revision, answer, expires_at) \
                SELECT organization.id, sha256(n::text::bytea), sha256('request'), 1, 'answer', now() - interval '1 hour' \
                FROM organization, generate_series(1, 20000) AS n";
    assert_eq!(execute(database, fill).await, 20_000);
    execute(database, "ANALYZE idempotency_key").await;
    let before = database.number(READ).await;
    let service = database.open().await;
    assert_eq!(service.delete_expired_answers(100).await.expect("deleted"), 100);
    service.close().await;
    let read = async || database.number(READ).await - before;
    // The server counts what a connection has done when it ends.
    crate::support::load::eventually("counted", Duration::from_secs(10), async || read().await >= 100).await;
    assert!(read().await < 1_000, "{}", read().await);
}

async fn erased(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Rest, &key);
    client.with_header(KEY, "john").create(JOHN, &["SN-1"]).await.ok();
    let jane = client
        .with_header(KEY, "jane")
        .create("jane@example.com", &["SN-2"])
        .await
        .ok();
    let delete = async || {
        let request = client
            .with_header(KEY, "delete")
            .request(reqwest::Method::POST, "/api/ext-v1/customer/deleteCustomer")
            .body(format!("{{\"email\": \"{JOHN}\"}}"));
        client.send(request).await.ok()
    };
    let first = delete().await;
    assert_eq!(first.body["unassignedCount"], 1, "{first:?}");
    // That of the deletion itself has an id and a number, and is kept.
    let kept = "SELECT count(*) FROM idempotency_key WHERE length(answer) > 0";
    assert_eq!(database.number(kept).await, 2);
    assert_repeated(&delete().await, &first);
    let again = client
        .with_header(KEY, "jane")
        .create("jane@example.com", &["SN-2"])
        .await
        .ok();
    assert_repeated(&again, &jane);
    // The call that created him was carried out. It is not carried out again.
    let again = client.with_header(KEY, "john").create(JOHN, &["SN-1"]).await;
    assert_eq!(again.http.as_ref().map(|(status, _)| *status), Some(422), "{again:?}");
    assert_eq!(again.reason.as_deref(), Some("ANSWER_ERASED"), "{again:?}");
    let other = client.with_header(KEY, "john").create(JOHN, &["SN-2"]).await;
    assert_eq!(other.reason.as_deref(), Some("IDEMPOTENCY_KEY_REUSED"), "{other:?}");
    assert_eq!(database.count("customer").await, 1);
    // When it has expired, the key can be used again.
    expire_all(database).await;
    client.with_header(KEY, "john").create(JOHN, &["SN-1"]).await.ok();
    server.stop().await;
}

/// A device that was sold twice stays with its last owner when the first sale is repeated after its seller was erased.
async fn erased_seller(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Rest, &key);
    client.create(JOHN, &["SN-1"]).await.ok();
    let sale = |buyer: &str| json!({ "customerEmail": buyer, "deviceIdentifiers": ["SN-1"] });
    let keyed = client.with_header(KEY, "sale");
    let first = keyed.call_at(TRANSFER_PATH, &sale("jane@example.com")).await.ok();
    client.call_at(TRANSFER_PATH, &sale("jim@example.com")).await.ok();
    assert_repeated(&keyed.call_at(TRANSFER_PATH, &sale("jane@example.com")).await, &first);
    let john = json!({ "email": JOHN });
    client.call_at("/api/ext-v1/customer/deleteCustomer", &john).await.ok();
    let again = keyed.call_at(TRANSFER_PATH, &sale("jane@example.com")).await;
    assert_eq!(again.reason.as_deref(), Some("ANSWER_ERASED"), "{again:?}");
    let device = json!({ "deviceIdentifiers": ["SN-1"] });
    let look_up = "/api/ext-v1/deviceAssignment/batchGetDeviceOwners";
    let found = client.call_at(look_up, &device).await.ok();
    assert_eq!(
        found.body["devices"][0]["owners"][0]["email"], "jim@example.com",
        "{found:?}"
    );
    server.stop().await;
}

/// A deletion that two instances get at the same time: the second one finds the answer, or makes it. Without a snapshot of both, it
/// could find neither the answer nor, a moment later, the customer.
async fn at_two_instances(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let servers = [TestServer::start(database).await, TestServer::start(database).await];
    let clients = servers.each_ref().map(|server| server.client(Api::Grpc, &key));
    for round in 0..20 {
        let email = format!("{round}@example.com");
        clients[0].create(&email, &["SN-1"]).await.ok();
        let delete = async |client: &Client| {
            let request = DeleteCustomerRequest {
                email: email.clone(),
                ..Default::default()
            };
            let keyed = client.with_header(KEY, &email);
            let mut grpc = CustomerServiceClient::new(client.channel());
            answer_of(grpc.delete_customer(keyed.signed(request)).await).ok()
        };
        let [one, other] = clients.each_ref().map(delete);
        let (one, other) = tokio::join!(one, other);
        assert!(one.replayed != other.replayed, "{one:?} {other:?}");
        assert_eq!((one.body, one.revision), (other.body, other.revision));
    }
    for server in servers {
        server.stop().await;
    }
}
