//! What is secret, or a caller's: through good calls, refused ones, malformed ones, and a database that goes away, none of it
//! comes out of the program anywhere but in the answer to its caller.

use std::collections::BTreeSet;

use device_assignment::domain::api_key::ApiKeySecret;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    metrics::Metrics,
    support::{
        Answer, Api, Client, Collector, Kind, PATH, Program, Proxy, Suite, TestDatabase, organization, program::command,
    },
};

/// What is sent. Each is looked for in every way out.
const EMAIL: &str = "canary-mail";
const IDENTIFIER: &str = "CANARY-SN";
const KEY: &str = "canary-key";
const PASSWORD: &str = "canary-password";
const TYPE: &str = "canary-type";

pub fn register(suite: &mut Suite) {
    suite.on(Kind::Postgres, "secrets::stay_inside", stay_inside);
}

/// The program, its gateway, and what is known to nobody else.
struct World {
    programs: [Program; 2],
    collector: Collector,
    keys: [String; 2],
    answers: Vec<Answer>,
}

async fn stay_inside(database: &'static TestDatabase) {
    let proxy = Proxy::before(database).await;
    let mut world = World::start(database, proxy.url()).await;
    for client in world.clients() {
        world.good(&client).await;
        world.refused(&client).await;
        world.malformed(&client).await;
    }
    // The connections are cut first, and then there is no database at all.
    proxy.cut();
    for client in world.clients() {
        world.good(&client).await;
    }
    drop(proxy);
    // Each waits for the time that connecting may take.
    let clients = world.clients();
    let away = clients.iter().map(async |client| {
        let mut answers = vec![client.call(&create("away", &["1"])).await];
        answers.push(
            client
                .with_key(Some(&unknown_key()))
                .call(&create("away", &["1"]))
                .await,
        );
        answers
    });
    let away = join_all(away).await.into_iter().flatten();
    world.answers.extend(away);
    world.check().await;
}

impl World {
    async fn start(database: &TestDatabase, url: &str) -> Self {
        let keys = [
            organization(database, "acme").await,
            organization(database, "other").await,
        ];
        let collector = Collector::start().await;
        let url = with_password(url);
        let programs = [
            command(&["serve", "--max-devices-per-request=3", "--database-url", &url]),
            command(&["gateway"]),
        ]
        .map(|mut command| {
            command.args(["--log-format=json"]).env("RUST_LOG", "trace");
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint());
            command
        });
        let [serve, gateway] = programs;
        let service = Program::spawn(serve).await;
        let gateway = Program::gateway(gateway, service.grpc).await;
        Self {
            programs: [service, gateway],
            collector,
            keys,
            answers: Vec::new(),
        }
    }

    /// One for each way in.
    fn clients(&self) -> Vec<Client> {
        let [service, gateway] = &self.programs;
        vec![
            service.client(Api::Grpc, &self.keys[0]),
            service.client(Api::Rest, &self.keys[0]),
            gateway.client(Api::Rest, &self.keys[1]),
        ]
    }

    async fn call(&mut self, client: &Client, body: Value) {
        self.answers.push(client.call(&body).await);
    }

    async fn good(&mut self, client: &Client) {
        self.call(client, create(client.api.name(), &["1", "2"])).await;
        self.call(client, create(client.api.name(), &["2", "3"])).await;
        self.call(client, create("another", &["1"])).await;
    }

    async fn refused(&mut self, client: &Client) {
        let email = format!("{EMAIL}@example.com");
        let unknown = json!({ "customerEmail": email, "deviceIdentifiers": ["CANARY-SN-unknown"] });
        self.call(client, unknown.clone()).await;
        let invalid = json!({
            "customerEmail": "canary-mail at example.com",
            "deviceIdentifiers": ["CANARY-SN\u{7}"],
            "autoCreateDevices": true,
            "deviceType": "canary-type\u{7}",
        });
        self.call(client, invalid).await;
        let many = json!({ "customerEmail": email, "deviceIdentifiers": ["CANARY-SN-1", "CANARY-SN-2", "CANARY-SN-3", "CANARY-SN-4"] });
        self.call(client, many).await;
        for key in [None, Some(KEY), Some(&unknown_key())] {
            self.call(&client.with_key(key), unknown.clone()).await;
        }
        let bearer = client
            .with_key(None)
            .with_header("authorization", "Bearer tlm_canary-key");
        self.call(&bearer, unknown.clone()).await;
        let bearer = client
            .with_key(None)
            .with_header("authorization", &format!("Bearer {}", self.keys[0]));
        self.call(&bearer, unknown).await;
    }

    async fn malformed(&mut self, client: &Client) {
        if client.api == Api::Grpc {
            return;
        }
        for body in [
            "{\"customerEmail\": \"canary-mail",
            "[\"CANARY-SN\"]",
            "{\"CANARY-SN-unknown\": 1}",
            "{\"deviceIdentifiers\": \"CANARY-SN\"}",
        ] {
            self.answers.push(client.post(body, Some("application/json")).await);
        }
        let request = client.request(reqwest::Method::POST, PATH).body("canary-mail");
        let request = request
            .header("traceparent", "canary-mail")
            .header("content-type", "text/canary-mail");
        self.answers.push(client.send(request).await);
        let nowhere = client.request(reqwest::Method::GET, "/canary-mail/CANARY-SN?key=canary-key");
        self.answers.push(client.send(nowhere).await);
    }

    /// Looks for all of it in every way out.
    async fn check(self) {
        let mut out = Vec::new();
        for program in self.programs.into_iter().rev() {
            out.push(("metrics", Metrics::of(program.admin).await.text));
            let ended = program.end_by("-TERM").await;
            assert_eq!(ended.code, Some(0), "{}", ended.log);
            out.push(("standard output", ended.stdout));
            out.push(("the log", ended.log));
        }
        let spans = self.collector.spans();
        assert!(spans.len() > self.answers.len(), "{}", spans.len());
        out.extend(spans.iter().map(|span| ("a trace", format!("{span:?}"))));
        let codes: BTreeSet<_> = self.answers.iter().map(|answer| answer.code.as_str()).collect();
        let expected = [
            "FAILED_PRECONDITION",
            "INVALID_ARGUMENT",
            "NOT_FOUND",
            "OK",
            "UNAUTHENTICATED",
            "UNAVAILABLE",
        ];
        assert!(expected.iter().all(|code| codes.contains(code)), "{codes:?}");
        let keys: Vec<&str> = self.keys.iter().map(String::as_str).chain([KEY, PASSWORD]).collect();
        for secret in keys.iter().chain(&[EMAIL, IDENTIFIER, TYPE]) {
            for (place, text) in &out {
                let line = text.lines().find(|line| line.contains(secret));
                assert_eq!(line, None, "{secret} stands in {place}");
            }
        }
        // What is wrong with a caller's own words may be said to them in their words; but a key is never repeated.
        for answer in &self.answers {
            let said = format!("{answer:?}");
            assert!(!keys.iter().any(|key| said.contains(key)), "{said}");
        }
    }
}

fn create(customer: &str, devices: &[&str]) -> Value {
    let devices: Vec<_> = devices.iter().map(|device| format!("{IDENTIFIER}-{device}")).collect();
    json!({
        "customerEmail": format!("{EMAIL}-{customer}@example.com"),
        "deviceIdentifiers": devices,
        "autoCreateDevices": true,
        "deviceType": TYPE,
    })
}

/// A key of the right form, so that it is looked up.
fn unknown_key() -> String {
    ApiKeySecret::from_random([9; 32]).reveal().to_owned()
}

/// The URL with a password, which the test's own server does not ask for; another one may have a password already.
fn with_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (user, rest) = rest.split_once('@').expect("a user");
    if user.contains(':') {
        return url.to_owned();
    }
    format!("{scheme}://{user}:{PASSWORD}@{rest}")
}
