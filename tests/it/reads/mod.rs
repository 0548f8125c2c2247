//! Every rule of the calls that read, through gRPC, REST and a remote gateway, on both databases.

mod batch_get;
mod call;
mod entities;
mod lists;
mod rejections;
mod replica;
mod turns;

use std::pin::Pin;

pub use call::{Read, read};
use rejections::are_rejected;

use crate::support::{Api, Client, Suite, TestDatabase, TestServer, devices, organization};

pub const JOHN: &str = "john.doe@example.com";
pub const JANE: &str = "jane.doe@example.com";

/// An organization in which John has SN-001 and SN-002, Jane has SN-002, and SN-003 is nobody's; and another one in which John has
/// SN-001 and OTHER-1.
pub struct World {
    pub key: String,
    pub other: String,
}

impl World {
    pub async fn new(database: &TestDatabase) -> Self {
        let world = Self {
            key: organization(database, "acme").await,
            other: organization(database, "other").await,
        };
        devices(database, "acme", &["SN-001", "SN-002", "SN-003"]).await;
        devices(database, "other", &["SN-001", "OTHER-1"]).await;
        let server = TestServer::start(database).await;
        let client = server.client(Api::Grpc, &world.key);
        client.assign(JOHN, &["SN-002", "SN-001"]).await.ok();
        client.assign(JANE, &["SN-002"]).await.ok();
        let other = server.client(Api::Grpc, &world.other);
        other.assign(JOHN, &["SN-001", "OTHER-1"]).await.ok();
        server.stop().await;
        world
    }
}

/// A rule: the clients of both organizations, and the database.
type Rule = fn(Client, Client, &'static TestDatabase) -> Pin<Box<dyn Future<Output = ()>>>;

/// Registers rules, each on every API and database.
struct Rules<'a> {
    suite: &'a mut Suite,
    api: Api,
}

impl Rules<'_> {
    fn rule(&mut self, name: &str, test: Rule) {
        let api = self.api;
        let name = format!("reads::{name}::{}", api.name());
        self.suite.on_each(&name, move |database| async move {
            let World { key, other } = World::new(database).await;
            let server = TestServer::start(database).await;
            test(server.client(api, &key), server.client(api, &other), database).await;
            server.stop().await;
        });
    }
}

pub fn register(suite: &mut Suite) {
    for api in Api::ALL {
        let name = format!("reads::rejected::{}", api.name());
        suite.on_each(&name, move |db| are_rejected(db, api));
        batch_get::register(&mut Rules { suite, api });
        lists::register(&mut Rules { suite, api });
        entities::register(&mut Rules { suite, api });
    }
    batch_get::register_once(suite);
    turns::register(suite);
    lists::register_once(suite);
    suite.with_postgres("reads::a_replica_that_is_behind_is_passed_over", replica::passed_over);
    entities::register_once(suite);
}
