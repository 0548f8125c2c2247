//! `ListChanges` and `WatchChanges`: their rules, through gRPC, REST and a remote gateway, on both databases.

pub mod follower;
mod lists;
mod proxy;
mod rejections;
mod streams;
mod together;

use std::pin::Pin;

use crate::support::{Api, Client, Suite, TestDatabase, TestServer, devices, organization};

const ANN: &str = "ann@example.com";
const BOB: &str = "bob@example.com";

/// An organization with four changes: an import of three devices, an assignment that creates Ann, one that creates Bob and a
/// device, and a removal. And another one with one change.
pub async fn world(database: &TestDatabase) -> String {
    let key = organization(database, "acme").await;
    organization(database, "other").await;
    devices(database, "acme", &["SN-1", "SN-2", "SN-3"]).await;
    devices(database, "other", &["SN-1"]).await;
    let server = TestServer::start(database).await;
    let client = server.client(Api::Grpc, &key).with_header("x-request-id", "request-1");
    client.assign(ANN, &["SN-1", "SN-2"]).await.ok();
    client.create(BOB, &["SN-2", "SN-4"]).await.ok();
    client.unassign(ANN, &["SN-2"]).await.ok();
    server.stop().await;
    key
}

type Rule = fn(Client, &'static TestDatabase) -> Pin<Box<dyn Future<Output = ()>>>;

pub fn register(suite: &mut Suite) {
    for api in Api::ALL {
        let mut rule = |name: &str, test: Rule| {
            let name = format!("changes::{name}::{}", api.name());
            suite.on_each(&name, move |database| async move {
                let key = world(database).await;
                let server = TestServer::start(database).await;
                test(server.client(api, &key), database).await;
                server.stop().await;
            });
        };
        lists::rules(&mut rule);
        rejections::rules(&mut rule);
        streams::rules(&mut rule);
        streams::register(suite, api);
    }
    rejections::register(suite);
    together::register(suite);
    proxy::register(suite);
}
