//! CORS: calls of the REST API from web pages of other origins.

use device_assignment::server::ServerSettings;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::json;

use crate::support::{Api, Browser, Client, Kind, PATH, Suite, TestDatabase, TestServer, organization};

const ORIGIN: &str = "https://app.example.com";

pub fn register(suite: &mut Suite) {
    for api in [Api::Rest, Api::RemoteRest] {
        let name = |test: &str| format!("cors::{test}::{}", api.name());
        suite.on(Kind::Sqlite, &name("is_off_by_default"), move |db| off(db, api));
        suite.on(Kind::Sqlite, &name("is_on_for_the_named_origins_only"), move |db| {
            on(db, api)
        });
    }
    suite.with_browser("cors::a_page_of_another_origin_calls", in_browser);
}

fn with_origins(origins: &[&str]) -> ServerSettings {
    let origins = origins.iter().map(|origin| origin.parse().expect("a value"));
    ServerSettings {
        cors_origins: origins.collect(),
        ..ServerSettings::default()
    }
}

/// What a browser asks before it makes a call.
fn preflight(client: &Client, origin: &str) -> RequestBuilder {
    client
        .with_key(None)
        .request(Method::OPTIONS, PATH)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,x-api-key")
}

fn call(client: &Client, origin: &str) -> RequestBuilder {
    let body = json!({
        "customerEmail": "john@example.com",
        "deviceIdentifiers": ["SN-1"],
        "autoCreateDevices": true,
        "deviceType": "sensor",
    });
    let request = client.request(Method::POST, PATH).header("origin", origin);
    request.body(body.to_string())
}

async fn sent(request: RequestBuilder) -> Response {
    request.send().await.expect("an answer")
}

/// The values of a header that holds a list, in lower case.
fn list(response: &Response, name: &str) -> Vec<String> {
    let values = response.headers().get_all(name).into_iter();
    let values = values.flat_map(|value| value.to_str().expect("text").split(','));
    values.map(|value| value.trim().to_ascii_lowercase()).collect()
}

async fn off(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let client = server.client(api, &key);
    let refused = sent(preflight(&client, ORIGIN)).await;
    assert_eq!(refused.status(), 405);
    let answered = sent(call(&client, ORIGIN)).await;
    assert_eq!(answered.status(), 200);
    for response in [refused, answered] {
        let names = response.headers().keys();
        let cors: Vec<_> = names
            .filter(|name| name.as_str().starts_with("access-control"))
            .collect();
        assert!(cors.is_empty(), "{cors:?}");
    }
    server.stop().await;
}

async fn on(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start_with(database, with_origins(&["http://localhost:3000", ORIGIN])).await;
    let client = server.client(api, &key);
    let asked = sent(preflight(&client, ORIGIN)).await;
    assert_eq!(asked.status(), 200);
    assert_eq!(list(&asked, "access-control-allow-origin"), [ORIGIN]);
    assert_eq!(list(&asked, "access-control-allow-methods"), ["get", "post"]);
    let allowed = list(&asked, "access-control-allow-headers");
    for header in ["x-api-key", "authorization", "content-type", "x-request-id"] {
        assert!(allowed.contains(&header.to_owned()), "{allowed:?}");
    }
    assert!(asked.headers().contains_key("access-control-max-age"));
    assert!(asked.headers().contains_key("x-request-id"));

    // An error can be read by the page like any answer.
    let answered = sent(call(&client, ORIGIN)).await;
    let failed = sent(call(&client.with_key(None), ORIGIN)).await;
    assert_eq!([answered.status(), failed.status()], [200, 401]);
    for response in [answered, failed] {
        assert_eq!(list(&response, "access-control-allow-origin"), [ORIGIN]);
        assert!(!response.headers().contains_key("access-control-allow-credentials"));
        let exposed = list(&response, "access-control-expose-headers");
        let expected = [
            "x-request-id",
            "retry-after",
            "www-authenticate",
            "ratelimit-policy",
            "ratelimit",
            "x-revision",
            "idempotency-replayed",
        ];
        assert_eq!(exposed, expected);
        assert!(list(&response, "vary").contains(&"origin".to_owned()));
    }

    for origin in ["https://evil.example", "https://app.example.com.evil.example", "null"] {
        for request in [preflight(&client, origin), call(&client, origin)] {
            let response = sent(request).await;
            assert_eq!(list(&response, "access-control-allow-origin"), [""; 0], "{origin}");
        }
    }
    // A cache must keep answers apart by both.
    let page = client.request(Method::GET, "/openapi.json").header("origin", ORIGIN);
    let vary = list(&sent(page).await, "vary");
    for header in ["origin", "accept-encoding"] {
        assert!(vary.contains(&header.to_owned()), "{vary:?}");
    }
    server.stop().await;
}

/// A page on the port of the admin listener, which is another origin than that of the REST API.
async fn in_browser(database: &TestDatabase) {
    let key = organization(database, "acme").await;
    let browser = Browser::start().await;
    for is_on in [false, true] {
        // The page's own port is known only once its server runs.
        let page = TestServer::start(database).await;
        let origin = format!("http://{}", page.admin);
        let origins = [origin.as_str()];
        let settings = with_origins(if is_on { &origins } else { &[] });
        let server = TestServer::start_with(database, settings).await;
        browser.open(&format!("{origin}/livez")).await;
        let url = format!("http://{}/api/ext-v1/credentials", server.rest);
        let script = format!(
            "return fetch('{url}', {{ headers: {{ 'x-api-key': '{key}' }} }})
                .then(async response => [(await response.json()).organizationName, response.headers.has('x-request-id')])
                .catch(error => [error.name, false])"
        );
        let (answer, has_id): (String, bool) = browser.script(&script).await;
        let expected = if is_on { ("acme", true) } else { ("TypeError", false) };
        assert_eq!((answer.as_str(), has_id), expected);
        server.stop().await;
        page.stop().await;
    }
    browser.stop().await;
}
