//! The console, used in a real browser.

mod everybody;
mod trouble;

use device_assignment::server::ServerSettings;
use reqwest::Method;

use crate::support::{Api, Browser, Client, INVALID_KEY, Kind, Suite, TestDatabase, TestServer, organization};

/// An identifier that would be an element with a script, if the page took it for HTML.
const ELEMENT: &str = "<img src=x onerror=window.isHarmed=true>";

pub fn register(suite: &mut Suite) {
    suite.with_browser("console::a_person_changes_assignments", changes);
    suite.with_browser("console::a_change_is_undone_unless_somebody_changed_it_since", undo);
    suite.on(Kind::Sqlite, "console::can_be_left_out", left_out);
    everybody::register(suite);
    trouble::register(suite);
}

/// A console in a browser, and another client of the same organization.
struct Console {
    browser: Browser,
    server: TestServer,
    client: Client,
    key: String,
    address: String,
}

impl Console {
    /// Opens the console that `api` serves. John owns three devices.
    async fn open(database: &TestDatabase, api: Api) -> Self {
        let key = organization(database, "acme").await;
        let server = TestServer::start(database).await;
        let client = server.client(api, &key);
        client.create("john@example.com", &["SN-1", "SN-2", ELEMENT]).await.ok();
        let address = format!("http://{}/", client.address());
        let browser = Browser::start().await;
        browser.open(&format!("{address}console/")).await;
        Self {
            browser,
            server,
            client,
            key,
            address,
        }
    }

    async fn sign_in(&self) {
        self.browser.fill("#key", &self.key).await;
        self.browser.click("#sign-in button").await;
        self.browser.shows("#history-state", "Live").await;
    }

    async fn search(&self, text: &str) {
        self.browser.fill("#search-text", text).await;
        self.browser.click("#search button").await;
        self.browser.shows("#result-title", text).await;
    }

    /// Fills the form by the button `name` of a device, and asks for the preview.
    async fn preview(&self, name: &str, email: &str) {
        let buttons = "[...document.querySelectorAll('#result .line button')]";
        let script = format!("{buttons}.find(of => of.innerText === '{name}').click()");
        self.browser.script::<()>(&script).await;
        self.browser.fill("#change-email", email).await;
        self.browser.click("#change button").await;
        self.browser.element("#preview-confirm").await;
    }

    async fn confirm(&self) {
        self.browser.click("#preview-confirm").await;
        self.browser
            .until("return !document.getElementById('preview').open")
            .await;
    }

    /// The email addresses of a device's owners, in order.
    async fn owners(&self, identifier: &str) -> Vec<String> {
        let path = format!("/api/ext-v1/deviceAssignment/owners?deviceIdentifier={identifier}");
        let answer = self.client.send(self.client.request(Method::GET, &path)).await.ok();
        let owners = answer.body["owners"].as_array().expect("a list").iter();
        let mut emails: Vec<_> = owners
            .map(|owner| owner["email"].as_str().expect("text").to_owned())
            .collect();
        emails.sort();
        emails
    }

    async fn close(self) {
        self.browser.stop().await;
        self.server.stop().await;
    }
}

async fn changes(database: &TestDatabase) {
    let console = Console::open(database, Api::Rest).await;
    let browser = &console.browser;
    browser.picture("console-sign-in").await;
    for wrong in ["tlm_wrong", "ключ"] {
        browser.fill("#key", wrong).await;
        browser.click("#sign-in button").await;
        let sentence = if wrong == "tlm_wrong" {
            INVALID_KEY
        } else {
            "This is not an API key"
        };
        browser.shows("#message-text", sentence).await;
    }
    let complaints = browser.complaints().await;
    assert!(
        matches!(&complaints[..], [only] if only.contains("401")),
        "{complaints:?}"
    );
    console.sign_in().await;

    // What looks like HTML is text.
    console.search(ELEMENT).await;
    browser.shows("#history", ELEMENT).await;
    let images: usize = browser.script("return document.querySelectorAll('img').length").await;
    let is_harmed: bool = browser.script("return window.isHarmed === true").await;
    assert_eq!((images, is_harmed), (0, false));
    console.search("SN-").await;
    browser.shows("#result-title", "2 results").await;
    console.search("nothing").await;
    browser.shows("#result-title", "Nothing begins with").await;

    // A preview changes nothing.
    console.search("SN-1").await;
    console.preview("Assign…", "jane@example.com").await;
    browser
        .shows("#preview-body", "The customer jane@example.com is new")
        .await;
    browser
        .shows("#preview-body", "SN-1: will be assigned to jane@example.com")
        .await;
    browser.picture("console-preview").await;
    browser.click("#preview-cancel").await;
    assert_eq!(console.owners("SN-1").await, ["john@example.com"]);
    console.preview("Assign…", "jane@example.com").await;
    console.confirm().await;
    browser
        .shows("#message-text", "Successfully assigned 1 device(s)")
        .await;
    browser.shows("#result", "2 owners").await;
    browser.shows("#history", "SN-1 to jane@example.com").await;
    assert_eq!(console.owners("SN-1").await, ["jane@example.com", "john@example.com"]);

    // What would change nothing cannot be confirmed.
    browser.click("#change button").await;
    browser.shows("#preview-body", "Nothing would change").await;
    let confirms: bool = browser
        .script("return document.getElementById('preview-confirm').checkVisibility()")
        .await;
    assert!(!confirms);
    browser.click("#preview-cancel").await;

    browser.click("[aria-label='Remove SN-1 from john@example.com…']").await;
    browser
        .shows("#preview-body", "SN-1: will be removed from john@example.com")
        .await;
    console.confirm().await;
    browser.shows("#result", "1 owner").await;
    assert_eq!(console.owners("SN-1").await, ["jane@example.com"]);

    console.preview("Transfer…", "kim@example.com").await;
    let expected: String = browser
        .script("return document.getElementById('change-expected').value")
        .await;
    assert_eq!(expected, "jane@example.com");
    let sentence = "SN-1: will be transferred from jane@example.com to kim@example.com";
    browser.shows("#preview-body", sentence).await;
    console.confirm().await;
    browser.shows("#result", "kim@example.com").await;
    assert_eq!(console.owners("SN-1").await, ["kim@example.com"]);

    // What others change appears by itself.
    console.client.assign("lea@example.com", &["SN-1"]).await.ok();
    browser.shows("#result", "2 owners").await;
    browser.shows("#history", "SN-1 to lea@example.com").await;
    browser.picture("console-device").await;

    // A hidden tab follows nothing, and goes on where it was.
    let hide = |is_hidden: bool| {
        let property =
            format!("Object.defineProperty(document, 'hidden', {{ value: {is_hidden}, configurable: true }})");
        format!("{property}; document.dispatchEvent(new Event('visibilitychange'))")
    };
    browser.script::<()>(&hide(true)).await;
    browser.shows("#history-state", "Paused").await;
    console.client.unassign("lea@example.com", &["SN-1"]).await.ok();
    browser.script::<()>(&hide(false)).await;
    browser.shows("#history", "SN-1 from lea@example.com").await;
    browser.shows("#result", "1 owner").await;
    console.client.create("john@example.com", &["SN-9"]).await.ok();
    browser.shows("#history", "SN-9").await;
    browser.click("#history-only").await;
    browser
        .until("return !document.getElementById('history').innerText.includes('SN-9')")
        .await;

    // Nothing came from elsewhere, and nothing is left of what was shown.
    let inside = [console.address.as_str(), "data:", "chrome:"];
    for request in browser.requests().await {
        assert!(inside.iter().any(|begin| request.starts_with(begin)), "{request}");
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.click("#sign-out").await;
    browser.element("#key").await;
    let page: String = browser
        .script(
            "return document.body.textContent + [...document.querySelectorAll('input, textarea')].map(of => of.value)",
        )
        .await;
    assert!(
        !["SN-1", "kim@", &console.key].iter().any(|of| page.contains(of)),
        "{page}"
    );
    console.close().await;
}

async fn undo(database: &TestDatabase) {
    let console = Console::open(database, Api::RemoteRest).await;
    let browser = &console.browser;
    console.sign_in().await;
    console.search("SN-1").await;

    // A sale is undone by one call.
    console.preview("Transfer…", "kim@example.com").await;
    console.confirm().await;
    browser.click("#undo").await;
    let sentence = "SN-1: will be transferred from kim@example.com to john@example.com";
    browser.shows("#preview-body", sentence).await;
    console.confirm().await;
    browser.shows("#message-text", "Undo the last change").await;
    assert_eq!(console.owners("SN-1").await, ["john@example.com"]);
    browser.shows("#result", "john@example.com").await;

    // With several owners before, it takes several. An undo can be undone.
    console.client.assign("lea@example.com", &["SN-1"]).await.ok();
    browser.shows("#result", "2 owners").await;
    console.preview("Transfer…", "kim@example.com").await;
    console.confirm().await;
    browser.click("#undo").await;
    browser
        .shows("#preview-body", "SN-1: will be removed from kim@example.com")
        .await;
    console.confirm().await;
    browser.shows("#result", "2 owners").await;
    assert_eq!(console.owners("SN-1").await, ["john@example.com", "lea@example.com"]);
    browser.click("#undo").await;
    browser
        .shows("#preview-body", "SN-1: will be assigned to kim@example.com")
        .await;
    console.confirm().await;
    browser.shows("#result", "1 owner").await;
    assert_eq!(console.owners("SN-1").await, ["kim@example.com"]);

    // Somebody changes another device, and then this one: after the preview, and before it.
    console.client.unassign("john@example.com", &["SN-2"]).await.ok();
    browser.click("#undo").await;
    browser.element("#preview-confirm").await;
    console.client.assign("mia@example.com", &["SN-1"]).await.ok();
    browser.click("#preview-confirm").await;
    let refusal = "This cannot be undone: SN-1 has been changed since";
    browser.shows("#preview-error", refusal).await;
    browser.click("#preview-cancel").await;
    browser.click("#undo").await;
    browser.shows("#preview-error", refusal).await;
    browser.picture("console-undo-rejected").await;
    browser.click("#preview-cancel").await;
    assert_eq!(console.owners("SN-1").await, ["kim@example.com", "mia@example.com"]);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    console.close().await;
}

/// Without the console, there is neither a page nor a link to it.
async fn left_out(database: &TestDatabase) {
    let settings = ServerSettings {
        console: false,
        ..ServerSettings::default()
    };
    let server = TestServer::start_with(database, settings).await;
    for api in [Api::Rest, Api::RemoteRest] {
        let client = server.client(api, "").with_key(None);
        for path in ["/console", "/console/", "/console/main.js"] {
            let response = client.request(Method::GET, path).send().await.expect("an answer");
            assert_eq!(response.status(), 404, "{path}");
        }
        for path in ["/", "/docs/", "/guides/rest", "/nothing"] {
            let request = client.request(Method::GET, path).header("accept", "text/html");
            let page = request.send().await.expect("an answer").text().await.expect("text");
            assert!(page.contains("<nav") && !page.contains("console/\""), "{path}");
        }
    }
    server.stop().await;
}
