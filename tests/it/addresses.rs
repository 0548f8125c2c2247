//! Invalid keys from one address are limited; after that only existing keys are looked up. Clients cannot forge their address.

use std::{net::IpAddr, time::Duration};

use device_assignment::{
    domain::api_key::ApiKeySecret,
    server::ServerSettings,
    service::{Limit, revoke_api_key},
    storage::{Database, DatabaseUrl},
};
use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, TransactionTrait};

use crate::{
    limits::{assert_too_many, settings},
    support::{
        Answer, Api, Client, INVALID_KEY, Kind, MISSING_KEY, Proxy, Suite, TestDatabase, TestServer, Wire,
        load::{self, eventually},
        new_key, organization,
    },
};

const BURST: usize = 5;

pub fn register(suite: &mut Suite) {
    for api in Api::ALL {
        let name = |test: &str| format!("addresses::{test}::{}", api.name());
        suite.on_each(&name("wrong_keys_are_counted_exactly"), move |db| counted(db, api));
        suite.on_each(&name("a_new_key_is_accepted"), move |db| created_since(db, api));
        suite.on_each(&name("an_address_cannot_be_forged"), move |db| forged(db, api));
        suite.on_each(&name("a_trusted_proxy_names_the_address"), move |db| trusted(db, api));
    }
    suite.on_each("addresses::a_remote_gateway_passes_the_address_on", passed_on);
    suite.on_each("addresses::without_a_limit_wrong_keys_are_only_rejected", unlimited);
    suite.on(
        Kind::Postgres,
        "addresses::a_silent_database_does_not_make_a_key_invalid",
        silent,
    );
    suite.on(Kind::Postgres, "addresses::abandoned_calls_are_counted", impatient);
}

/// Calls that are abandoned during the lookup count, too; otherwise their number would have no limit.
async fn impatient(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(database, few_failed_keys()).await;
    let connection = database.connect().await;
    let lock = connection.begin().await.expect("a transaction");
    lock.execute_unprepared("LOCK TABLE api_key IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("a lock");
    for _ in 0..BURST {
        let secret = ApiKeySecret::from_random(rand::random());
        let wire = Wire::connect(server.grpc, secret.reveal()).await;
        let code = wire.assign(&load::message("john@example.com"), "50m").await;
        assert_eq!(code.expect("an answer"), "DEADLINE_EXCEEDED");
    }
    lock.rollback().await.expect("a rollback");
    let client = server.client(Api::Grpc, &key);
    assert_shut(&wrong(&client).await);
    connection.close().await.expect("closed");
    server.stop().await;
}

fn few_failed_keys() -> ServerSettings {
    settings(|limits| {
        limits.failed_keys = Limit::new(Duration::from_secs(3_600), u32::try_from(BURST).expect("a few"));
    })
}

fn behind_proxies_at(networks: &[&str]) -> ServerSettings {
    let trusted: Vec<_> = networks.iter().map(|net| net.parse().expect("a network")).collect();
    ServerSettings {
        trusted_proxies: trusted.into(),
        ..few_failed_keys()
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Makes calls, each with another invalid key.
async fn wrong(client: &Client) -> Answer {
    let key = ApiKeySecret::from_random(rand::random());
    client
        .with_key(Some(key.reveal()))
        .create("john@example.com", &["SN-1"])
        .await
}

#[track_caller]
fn assert_refused(answer: &Answer) {
    assert_eq!(
        (answer.code.as_str(), answer.error.as_str()),
        ("UNAUTHENTICATED", INVALID_KEY),
        "{answer:?}"
    );
}

#[track_caller]
fn assert_shut(answer: &Answer) {
    assert_too_many(answer, "TOO_MANY_FAILED_KEYS");
    let wait = answer.retry_after.expect("a time to wait");
    assert!((3_000..=3_600).contains(&wait), "{answer:?}");
    let sentence = format!("Too many invalid API keys from this address; try again in {wait} s");
    assert_eq!(answer.error, sentence);
}

/// Uses up the limit of an address.
async fn use_up(client: &Client) {
    for _ in 0..BURST {
        assert_refused(&wrong(client).await);
    }
    assert_shut(&wrong(client).await);
}

async fn counted(database: &TestDatabase, api: Api) {
    let keys = [
        organization(database, "acme").await,
        organization(database, "globex").await,
    ];
    // A remote gateway must be trusted. Otherwise its own address counts.
    let server = TestServer::start_with(database, few_failed_keys()).await;
    let [used, unused] = keys.each_ref().map(|key| server.client(api, key));
    used.create("john@example.com", &["SN-1"]).await.ok();

    // All at once: some are on their way when others use up the rest.
    let malformed = used.with_key(Some("your_api_key_here"));
    let answers = join_all((0..BURST).map(|_| async {
        let malformed = malformed.create("john@example.com", &["SN-1"]).await;
        [malformed, wrong(&used).await]
    }))
    .await;
    let (refused, shut): (Vec<_>, Vec<_>) = answers
        .iter()
        .flatten()
        .partition(|call| call.code == "UNAUTHENTICATED");
    assert_eq!((refused.len(), shut.len()), (BURST, BURST));
    refused.into_iter().for_each(assert_refused);
    shut.into_iter().for_each(assert_shut);

    assert_shut(&malformed.create("john@example.com", &["SN-1"]).await);
    let missing = used.with_key(None).create("john@example.com", &["SN-1"]).await;
    assert_eq!(missing.error, MISSING_KEY);
    // A key that was used before still works.
    for _ in 0..3 {
        used.create("john@example.com", &["SN-1"]).await.ok();
    }
    if api != Api::RemoteRest {
        let elsewhere = unused.at(ip("127.0.0.2"));
        assert_refused(&wrong(&elsewhere).await);
    }
    // So does one that was never used.
    unused.create("john@example.com", &["SN-1"]).await.ok();
    server.stop().await;
}

/// The list of existing keys is slightly old. A new key is accepted soon.
async fn created_since(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(database, few_failed_keys()).await;
    let client = server.client(api, &key);
    use_up(&client).await;
    let [new, revoked] = [
        new_key(database, "acme", None).await,
        new_key(database, "acme", None).await,
    ];
    let admin = database.open().await;
    revoke_api_key(&admin, revoked.record.id).await.expect("revoked");
    admin.close().await;
    let [new, revoked] = [&new, &revoked].map(|key| client.with_key(Some(key.secret.reveal())));
    eventually("the new key is let in", Duration::from_secs(10), async || {
        let answer = new.create("john@example.com", &["SN-1"]).await;
        if answer.code != "OK" {
            assert_shut(&answer);
        }
        answer.code == "OK"
    })
    .await;
    assert_shut(&revoked.create("john@example.com", &["SN-1"]).await);
    assert_shut(&wrong(&client).await);
    server.stop().await;
}

async fn forged(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    // The remote gateway is trusted, its clients are not.
    let server = TestServer::start_with(database, behind_proxies_at(&["127.0.0.1/32"])).await;
    let client = server.client(api, &key).at(ip("127.0.0.7"));
    for number in 0..BURST {
        let claim = format!("203.0.113.{number}");
        let liar = client
            .with_header("x-forwarded-for", &claim)
            .with_header("x-peer-address", &claim)
            .with_header("x-peer-address", "")
            .with_header("forwarded", &format!("for={claim}"))
            .with_header("x-real-ip", &claim);
        assert_refused(&wrong(&liar).await);
    }
    for name in ["x-forwarded-for", "x-peer-address", "x-real-ip"] {
        assert_shut(&wrong(&client.with_header(name, "203.0.113.99")).await);
    }
    assert_shut(&wrong(&client).await);
    // The forged addresses have their full limit.
    assert_refused(&wrong(&client.at(ip("127.0.0.8"))).await);
    server.stop().await;
}

async fn trusted(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(database, behind_proxies_at(&["127.0.0.0/8", "10.0.0.0/8"])).await;
    let proxy = server.client(api, &key);
    let behind = |forwarded_for: &str| proxy.with_header("x-forwarded-for", forwarded_for);
    use_up(&behind("198.51.100.1, 203.0.113.7, 10.1.2.3")).await;
    // Addresses before the last one come from the client.
    for same in ["203.0.113.7", "192.0.2.9, 203.0.113.7", "203.0.113.7:4711"] {
        assert_shut(&wrong(&behind(same)).await);
    }
    for other in ["198.51.100.1", "203.0.113.8", "203.0.113.7, 203.0.113.9"] {
        assert_refused(&wrong(&behind(other)).await);
    }
    use_up(&behind("2001:db8:1:2::1")).await;
    assert_shut(&wrong(&behind("2001:db8:1:2:ffff::1")).await);
    assert_refused(&wrong(&behind("2001:db8:1:3::1")).await);
    // The address of the proxy.
    assert_refused(&wrong(&proxy).await);
    server.stop().await;
}

async fn passed_on(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(database, behind_proxies_at(&["127.0.0.1/32"])).await;
    let [one, other] = ["127.0.0.2", "127.0.0.3"].map(|from| server.client(Api::RemoteRest, &key).at(ip(from)));
    use_up(&one).await;
    assert_refused(&wrong(&other).await);
    // One address, through either API.
    for api in [Api::Grpc, Api::Rest] {
        assert_shut(&wrong(&server.client(api, &key).at(ip("127.0.0.2"))).await);
    }
    server.stop().await;

    // A service that does not trust the gateway takes it for the client.
    let server = TestServer::start_with(database, few_failed_keys()).await;
    let [one, other] = ["127.0.0.2", "127.0.0.3"].map(|from| server.client(Api::RemoteRest, &key).at(ip(from)));
    use_up(&one).await;
    assert_shut(&wrong(&other).await);
    server.stop().await;
}

async fn unlimited(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(database, settings(|_| {})).await;
    for api in Api::ALL {
        let client = server.client(api, &key);
        let answers = join_all((0..50).map(|_| wrong(&client))).await;
        answers.iter().for_each(assert_refused);
    }
    server.stop().await;
}

/// Callers cannot find out which keys exist: a key that may be valid is never called invalid.
async fn silent(database: &'static TestDatabase) {
    let key = organization(database, "acme").await;
    let proxy = Proxy::before(database).await;
    let url = DatabaseUrl::parse(proxy.url()).expect("a URL");
    let service = Database::open(url).await.expect("a database");
    let server = TestServer::start_over(service, few_failed_keys()).await;
    let client = server.client(Api::Grpc, &key);
    for _ in 0..BURST {
        assert_refused(&wrong(&client).await);
    }
    proxy.fall_silent();
    for _ in 0..10 {
        let answer = wrong(&client).await;
        assert_eq!(answer.code, "UNAVAILABLE", "{answer:?}");
    }
    let answer = client.create("john@example.com", &["SN-1"]).await;
    assert_eq!(answer.code, "UNAVAILABLE", "{answer:?}");
    // From another address, such a key is looked up.
    let answer = wrong(&client.at(ip("127.0.0.2"))).await;
    assert_eq!(answer.code, "UNAVAILABLE", "{answer:?}");
    proxy.recover_without_memory();
    server.stop().await;
}
