//! The id of a request: the caller's where it is harmless, else a new one, on every answer.

use reqwest::Method;
use serde_json::json;

use crate::{
    contract::world,
    support::{Api, Client, PATH, Suite, TestDatabase, TestServer},
};

pub fn register(suite: &mut Suite) {
    for api in Api::ALL {
        let name = format!("request_ids::{}", api.name());
        suite.on_each(&name, move |db| request_ids(db, api));
    }
}

async fn request_ids(database: &TestDatabase, api: Api) {
    let key = world(database).await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let body = json!({ "customerEmail": "john.doe@example.com", "deviceIdentifiers": ["SN-001"] });
    let call = async |client: &Client, id: &str| match api {
        Api::Grpc => {
            let message = serde_json::from_value(body.clone()).expect("a message");
            client.call_grpc(message, Some(id)).await
        }
        _ => {
            client
                .send(
                    client
                        .request(Method::POST, PATH)
                        .json(&body)
                        .header("x-request-id", id),
                )
                .await
        }
    };
    let longest = "x".repeat(64);
    for kept in ["a", "A-z_0.9", longest.as_str()] {
        assert_eq!(call(&client, kept).await.ok().request_id, kept);
        // A refusal has the id too.
        assert_eq!(call(&client.with_key(None), kept).await.request_id, kept);
    }
    for replaced in ["", "with space", "slash/", "quote\"", &"x".repeat(65)] {
        let id = call(&client, replaced).await.ok().request_id;
        assert_ne!(id, replaced);
        assert_eq!(id.len(), 36, "a new id: {id}");
    }
    if api != Api::Grpc {
        let lost = client.request(Method::GET, "/nothing").header("x-request-id", "lost");
        assert_eq!(client.send(lost).await.request_id, "lost");
    }
    server.stop().await;
}
