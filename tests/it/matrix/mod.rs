//! What every method has in common, over the table of methods: which keys may call it, and what another organization sees.

pub mod methods;

use std::{collections::BTreeSet, time::Duration};

use device_assignment::{
    domain::{
        api_key::{ApiKeySecret, Scope},
        id::{CustomerId, DeviceId},
    },
    pb::FILE_DESCRIPTOR_SET,
    service::revoke_api_key,
};
use prost::Message;
use prost_types::FileDescriptorSet;
use sea_orm::prelude::Uuid;

use self::methods::{Row, World, rows};
use crate::{
    contract::world,
    openapi::description,
    scopes::assert_scope_missing,
    support::{
        Answer, Api, INVALID_KEY, MISSING_KEY, Suite, TestDatabase, TestServer, new_key, organization, read_key,
    },
};

/// Registers the tests. Call it last: it looks at the names of the others.
pub fn register(suite: &mut Suite) {
    let names: BTreeSet<String> = suite.trials.iter().map(|trial| trial.name().to_owned()).collect();
    suite.test("matrix::every_method_has_a_row", every_method);
    suite.test("matrix::every_method_has_rules", move || every_method_has_rules(names));
    for api in Api::ALL {
        for row in rows() {
            let row: &'static Row = Box::leak(Box::new(row));
            let http = row.http.as_str().to_lowercase();
            let name = |test: &str| format!("matrix::{test}::{}_{http}::{}", row.rpc, api.name());
            suite.on_each(&name("keys"), move |database| keys(database, api, row));
            if row.scope == Scope::Write {
                suite.on_each(&name("repeated"), move |database| repeated(database, api, row));
            }
        }
    }
}

/// The RPCs of the service in its descriptors, without streams.
fn rpcs() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("descriptors");
    let files = set.file.iter().filter(|file| file.package().starts_with("telemetron"));
    let methods = files.flat_map(|file| &file.service).flat_map(|service| &service.method);
    methods.map(|method| method.name().to_owned()).collect()
}

async fn every_method() {
    let rows = rows();
    let named: BTreeSet<String> = rows.iter().map(|row| row.rpc.to_owned()).collect();
    assert_eq!(named, rpcs(), "each RPC has a row in tests/it/matrix/methods.rs");
    let routes: BTreeSet<_> = rows.iter().map(|row| (row.http.as_str(), row.path)).collect();
    // ListChanges and WatchChanges have one path.
    assert_eq!(routes.len(), rows.len() - 1, "each path has one row");
    let paths = description()["paths"].take();
    let described = paths.as_object().expect("paths").iter().flat_map(|(path, operations)| {
        let methods = operations.as_object().expect("operations").keys();
        methods.map(|method| (method.to_uppercase(), path.clone()))
    });
    let rows = rows.iter().map(|row| (row.http.to_string(), row.path.to_owned()));
    assert_eq!(
        rows.collect::<BTreeSet<_>>(),
        described.collect(),
        "each RPC has a path"
    );
}

/// A method whose rules nothing tests fails here: through both APIs, on both databases.
async fn every_method_has_rules(names: BTreeSet<String>) {
    for row in rows() {
        for api in [Api::Grpc, Api::Rest] {
            for database in ["sqlite", "postgres"] {
                let end = format!("::{}::{database}", api.name());
                let is_of = |name: &&String| name.starts_with(row.contract) && name.ends_with(&end);
                assert!(
                    names.iter().any(|name| is_of(&name)),
                    "no test begins with {} and ends with {end}",
                    row.contract
                );
            }
        }
    }
}

#[track_caller]
fn assert_unauthenticated(answer: &Answer, error: &str) {
    assert_eq!(
        (answer.code.as_str(), answer.error.as_str()),
        ("UNAUTHENTICATED", error)
    );
    assert!(answer.http.as_ref().is_none_or(|(status, _)| *status == 401));
}

/// The ids of everything that an organization has.
async fn ids(database: &TestDatabase, organization: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for table in ["customer", "device"] {
        let sql = format!(
            "SELECT named.id FROM {table} AS named JOIN organization AS o ON o.id = named.organization_id \
             WHERE o.name = '{organization}'"
        );
        for row in database.rows(&sql).await {
            let id: Uuid = row.try_get_by_index(0).expect("an id");
            ids.push(match table {
                "customer" => CustomerId::from_uuid(id).to_string(),
                _ => DeviceId::from_uuid(id).to_string(),
            });
        }
    }
    ids
}

/// One method with every kind of key.
async fn keys(database: &TestDatabase, api: Api, row: &Row) {
    let writer = world(database).await;
    let stranger = organization(database, "stranger").await;
    let reader = read_key(database, "acme").await;
    let revoked = new_key(database, "acme", None).await;
    let expired = new_key(database, "acme", Some(Duration::ZERO)).await;
    let admin = database.open().await;
    revoke_api_key(&admin, revoked.record.id).await.expect("revoked");
    admin.close().await;
    let known = ids(database, "acme").await;
    let world = john(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &writer);
    let call = async |key: Option<&str>| {
        let answer = row.call(&client.with_key(key), &world).await;
        // No cache may keep what is for one key.
        if let Some((_, headers)) = &answer.http {
            let privacy = ["cache-control", "x-content-type-options"].map(|name| headers.get(name).map(String::as_str));
            assert_eq!(privacy, [Some("no-store"), Some("nosniff")], "{headers:?}");
        }
        answer
    };
    let before = database.dump().await;

    assert_unauthenticated(&call(None).await, MISSING_KEY);
    let unknown = ApiKeySecret::from_random([7; 32]);
    for key in [
        "tlm_x",
        unknown.reveal(),
        revoked.secret.reveal(),
        expired.secret.reveal(),
    ] {
        assert_unauthenticated(&call(Some(key)).await, INVALID_KEY);
    }
    assert_eq!(database.dump().await, before, "a call that is rejected changes nothing");

    let answer = call(Some(&stranger)).await;
    assert_eq!(answer.reason.as_deref().unwrap_or("OK"), row.stranger, "{answer:?}");
    let text = format!("{answer:?}");
    for id in &known {
        assert!(!text.contains(id), "another organization saw {id}: {text}");
    }
    let after = database.dump().await;
    for line in before.lines() {
        assert!(after.contains(line), "another organization changed {line}");
    }

    if row.scope == Scope::Write {
        assert_scope_missing(&call(Some(&reader)).await);
        assert_eq!(database.dump().await, after, "a call that is rejected changes nothing");
    } else {
        call(Some(&reader)).await.ok();
    }
    call(Some(&writer)).await.ok();
    server.stop().await;
}

/// The ids of John in this organization.
pub async fn john(database: &TestDatabase, organization: &str) -> World {
    let known = ids(database, organization).await;
    let customer = known.iter().find(|id| id.starts_with("cust_")).expect("John").clone();
    World { customer }
}

/// One write with an idempotency key: the second call gets the answer of the first, and another request is rejected.
async fn repeated(database: &TestDatabase, api: Api, row: &Row) {
    let key = world(database).await;
    let named = john(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let keyed = client.with_header("idempotency-key", "a key, 1");
    let first = row.call(&keyed, &named).await.ok();
    assert!(!first.replayed && first.revision.is_some(), "{first:?}");
    let after = database.dump().await;
    for _ in 0..2 {
        let again = row.call(&keyed, &named).await.ok();
        assert!(again.replayed, "{again:?}");
        assert_eq!((&again.body, again.revision), (&first.body, first.revision));
    }
    assert_eq!(database.dump().await, after, "a repeated call changes nothing");
    // Another method, and the same fields where it has them.
    for other in rows()
        .iter()
        .filter(|other| other.scope == Scope::Write && other.rpc != row.rpc)
    {
        let answer = other.call(&keyed, &named).await;
        assert_eq!(
            answer.reason.as_deref(),
            Some("IDEMPOTENCY_KEY_REUSED"),
            "{}: {answer:?}",
            other.rpc
        );
        assert!(answer.http.as_ref().is_none_or(|(status, _)| *status == 422));
    }
    assert_eq!(database.dump().await, after, "a call that is rejected changes nothing");
    // An invalid key is rejected before anything else.
    for (invalid, error) in [
        ("", "idempotency-key must have 1 to 255 printable ASCII characters"),
        (
            &"x".repeat(256),
            "idempotency-key must have 1 to 255 printable ASCII characters",
        ),
        (
            &"x".repeat(2_000),
            "idempotency-key must have 1 to 255 printable ASCII characters",
        ),
    ] {
        let answer = row.call(&client.with_header("idempotency-key", invalid), &named).await;
        assert_eq!(
            (answer.code.as_str(), answer.error.as_str()),
            ("INVALID_ARGUMENT", error)
        );
        assert_eq!(answer.violations, [("idempotency-key".to_owned(), error.to_owned())]);
    }
    let twice = keyed.with_header("idempotency-key", "another");
    let answer = row.call(&twice, &named).await;
    assert_eq!(answer.error, "idempotency-key is repeated; send it once");
    server.stop().await;
}
