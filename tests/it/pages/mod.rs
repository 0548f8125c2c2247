//! The pages of the REST API: over HTTP, and in a real browser.

mod layout;

use insta::{allow_duplicates, assert_snapshot};
use reqwest::{Method, redirect::Policy};
use serde_json::{Value, json};

use crate::{
    openapi::without_ids,
    support::{Api, Browser, INVALID_KEY, Kind, MISSING_KEY, Suite, TestDatabase, TestServer, organization},
};

const OPERATION: &str = "#operations-Devices-assignDevicesToOwner";

pub fn register(suite: &mut Suite) {
    for api in [Api::Rest, Api::RemoteRest] {
        let name = |test: &str| format!("pages::{test}::{}", api.name());
        suite.on(Kind::Sqlite, &name("are_there_without_a_key"), move |db| {
            over_http(db, api)
        });
        suite.on(Kind::Sqlite, &name("unknown_paths"), move |db| unknown_paths(db, api));
        suite.with_browser(&name("the_first_example_succeeds_on_a_new_database"), move |db| {
            in_browser(db, api)
        });
    }
    layout::register(suite);
}

async fn over_http(database: &TestDatabase, api: Api) {
    let server = TestServer::start(database).await;
    let http = reqwest::Client::builder().no_proxy().redirect(Policy::none());
    let http = http.build().expect("a client");
    let mut answers = String::new();
    for (method, path) in [
        (Method::GET, "/"),
        (Method::HEAD, "/"),
        (Method::POST, "/"),
        (Method::GET, "/style.css"),
        (Method::GET, "/page.js"),
        (Method::GET, "/openapi.json"),
        (Method::DELETE, "/openapi.json"),
        (Method::GET, "/docs"),
        (Method::GET, "/docs/"),
        (Method::OPTIONS, "/docs/"),
        (Method::GET, "/docs/swagger-ui-bundle.js"),
        (Method::GET, "/docs/swagger-ui.css"),
        (Method::GET, "/docs/nothing.js"),
        (Method::POST, "/docs/nothing.js"),
        (Method::GET, "/docs/../Cargo.toml"),
        (Method::GET, "/docs/%2e%2e%2fCargo.toml"),
        (Method::GET, "/docs/swagger-ui/nothing"),
        (Method::GET, "/console"),
        (Method::GET, "/console/"),
        (Method::POST, "/console/"),
        (Method::GET, "/console/console.css"),
        (Method::GET, "/console/main.js"),
        (Method::GET, "/console/nothing.js"),
        (Method::GET, "/guides/api"),
        (Method::POST, "/guides/errors"),
        (Method::GET, "/guides/nothing"),
        (Method::GET, "/guides"),
    ] {
        let url = format!("http://{}{path}", server.client(api, "").address());
        let response = http.request(method.clone(), url).send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        let header = |name: &str| headers.get(name).map(|value| value.to_str().expect("text"));
        assert!(header("x-request-id").is_some(), "{method} {path}");
        let body = response.bytes().await.expect("a body");
        if status.is_success() {
            assert_eq!(body.is_empty(), method == Method::HEAD, "{method} {path}");
            // Swagger UI's own files are as they are.
            let is_ours = !path.starts_with("/docs/swagger");
            assert!(!is_ours || body.is_empty() || body.ends_with(b"\n"), "{method} {path}");
            let text = String::from_utf8_lossy(&body);
            assert!(
                !["{navigation}", "{console}", "{root}"]
                    .iter()
                    .any(|of| text.contains(of)),
                "{path}"
            );
            let policy = header("content-security-policy").expect("a policy");
            assert!(
                policy.starts_with("default-src 'none'; script-src 'self'; "),
                "{policy}"
            );
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(header("x-content-type-options"), Some("nosniff"));
        } else if !status.is_redirection() {
            let envelope: Value = serde_json::from_slice(&body).expect("an envelope");
            assert!(envelope["error"].is_string(), "{envelope}");
        }
        let named = ["content-type", "content-encoding", "location", "allow"];
        let told: Vec<&str> = named.into_iter().filter_map(header).collect();
        answers.push_str(&format!("{method} {path}: {} {}\n", status.as_u16(), told.join(" | ")));
    }
    allow_duplicates! { assert_snapshot!(answers, @"
    GET /: 200 text/html; charset=utf-8
    HEAD /: 200 text/html; charset=utf-8
    POST /: 405 application/json | GET, HEAD
    GET /style.css: 200 text/css; charset=utf-8
    GET /page.js: 200 text/javascript; charset=utf-8
    GET /openapi.json: 200 application/json
    DELETE /openapi.json: 405 application/json | GET, HEAD
    GET /docs: 308 docs/
    GET /docs/: 200 text/html; charset=utf-8
    OPTIONS /docs/: 405 application/json | GET, HEAD
    GET /docs/swagger-ui-bundle.js: 200 text/javascript | gzip
    GET /docs/swagger-ui.css: 200 text/css | gzip
    GET /docs/nothing.js: 404 application/json
    POST /docs/nothing.js: 405 application/json | GET, HEAD
    GET /docs/../Cargo.toml: 404 application/json
    GET /docs/%2e%2e%2fCargo.toml: 404 application/json
    GET /docs/swagger-ui/nothing: 404 application/json
    GET /console: 308 console/
    GET /console/: 200 text/html; charset=utf-8
    POST /console/: 405 application/json | GET, HEAD
    GET /console/console.css: 200 text/css; charset=utf-8
    GET /console/main.js: 200 text/javascript; charset=utf-8
    GET /console/nothing.js: 404 application/json
    GET /guides/api: 200 text/html; charset=utf-8
    POST /guides/errors: 405 application/json | GET, HEAD
    GET /guides/nothing: 404 application/json
    GET /guides: 404 application/json
    ") };
    server.stop().await;
}

/// A browser gets a page, a program JSON.
async fn unknown_paths(database: &TestDatabase, api: Api) {
    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let server = TestServer::start(database).await;
    let client = server.client(api, "").with_key(None);
    for (path, accept, is_page) in [
        ("/nothing", Some(BROWSER), true),
        ("/guides/nothing", Some(BROWSER), true),
        ("/docs/nothing.js", Some(BROWSER), true),
        ("/nothing", None, false),
        ("/nothing", Some("*/*"), false),
        ("/nothing", Some("application/json"), false),
        // Some HTTP libraries accept HTML by default.
        ("/api/ext-v1/nothing", Some(BROWSER), false),
    ] {
        let mut request = client.request(Method::GET, path);
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 404, "{path} {accept:?}");
        let headers = response.headers();
        let content_type = headers["content-type"].to_str().expect("text").to_owned();
        assert_eq!(
            headers.contains_key("content-security-policy"),
            is_page || path.starts_with("/docs/")
        );
        let body = response.text().await.expect("text");
        assert!(body.ends_with('\n'));
        if is_page {
            assert_eq!(content_type, "text/html; charset=utf-8", "{path}");
            let root = format!("./{}", "../".repeat(path.matches('/').count() - 1));
            assert!(body.contains(&format!("href=\"{root}style.css\"")), "{body}");
            assert!(!body.contains("{navigation}") && !body.contains("{root}"), "{body}");
        } else {
            assert_eq!(content_type, "application/json", "{path} {accept:?}");
            assert_eq!(serde_json::from_str::<Value>(&body).expect("JSON")["code"], "NOT_FOUND");
        }
    }
    server.stop().await;
}

async fn in_browser(database: &TestDatabase, api: Api) {
    let key = organization(database, "acme").await;
    let server = TestServer::start(database).await;
    let origin = format!("http://{}", server.client(api, &key).address());
    let browser = Browser::start().await;

    // From the start page to the page to try calls. Nothing comes from another server.
    browser.open(&origin).await;
    browser.picture("landing").await;
    browser.click(".cards a[href='docs/']").await;
    browser.element(OPERATION).await;
    assert_eq!(browser.page.current_url().await.expect("a URL").path(), "/docs/");
    browser.picture("docs").await;

    authorize(&browser, &key).await;
    let (status, answer) = execute(&browser).await;
    assert_eq!(status, "200", "{answer}");
    let created = |identifier: &str| json!({ "identifier": identifier, "wasCreated": true });
    let devices = ["SN-001", "SN-002", "SN-003"].map(created);
    let expected = json!({
        "success": true,
        "message": "Successfully assigned 3 device(s) to customer",
        "customerWasCreated": true,
        "assignedDevices": devices,
        "alreadyAssigned": [],
        "skipped": [],
    });
    assert_eq!(without_ids(answer), expected);
    let shown = browser.element(".live-responses-table").await;
    shown.scroll_into_view().await.expect("seen");
    browser.picture("called").await;
    let requests = browser.requests().await;
    let pages = [
        "/",
        "/docs/",
        "/openapi.json",
        "/page.js",
        "/docs/swagger-ui-bundle.js",
        crate::support::PATH,
    ];
    for page in pages {
        assert!(requests.contains(&format!("{origin}{page}")), "{page}: {requests:?}");
    }
    for request in &requests {
        // A new window shows a page of the browser's own first.
        let is_inside = request.starts_with("data:") || request.starts_with("chrome:");
        let is_here = is_inside || request.starts_with(&format!("{origin}/"));
        assert!(is_here, "{request}");
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());

    // A page that is opened again has forgotten the key.
    browser.open(&format!("{origin}/docs/")).await;
    let (status, answer) = execute(&browser).await;
    assert_eq!((status.as_str(), &answer["error"]), ("401", &json!(MISSING_KEY)));
    authorize(&browser, "tlm_wrong").await;
    let (status, answer) = execute(&browser).await;
    assert_eq!((status.as_str(), &answer["error"]), ("401", &json!(INVALID_KEY)));

    browser.stop().await;
    server.stop().await;
}

/// Gives the page a key, as a person does.
async fn authorize(browser: &Browser, key: &str) {
    browser.click(".auth-wrapper .authorize").await;
    let field = browser.element(".modal-ux .auth-container input").await;
    field.send_keys(key).await.expect("typed");
    browser.click(".modal-ux .authorize").await;
    browser.click(".modal-ux .btn-done").await;
}

/// Sends the example that the page offers, and returns the status and the JSON that it shows.
async fn execute(browser: &Browser) -> (String, Value) {
    let is_open = browser
        .page
        .find_all(thirtyfour::By::Css(".execute"))
        .await
        .expect("a list");
    if is_open.is_empty() {
        browser.click(&format!("{OPERATION} .opblock-summary-control")).await;
    } else {
        browser.click(&format!("{OPERATION} .btn-clear")).await;
    }
    browser.click(".execute").await;
    let shown = ".live-responses-table tbody";
    let status = browser.text(&format!("{shown} .response-col_status")).await;
    let body = browser.text(&format!("{shown} .highlight-code")).await;
    // Above it is a button to download it.
    let body = body.trim_start_matches("Download");
    (
        status,
        serde_json::from_str(body).unwrap_or_else(|_| panic!("not JSON: {body}")),
    )
}
