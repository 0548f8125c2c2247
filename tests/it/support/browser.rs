//! A real browser, used as a person would. It can reach only this machine.

use std::{
    env,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::{
    By, ChromiumLikeCapabilities, DesiredCapabilities, LoggingPrefsLogLevel, TypingData, WebDriver, WebElement,
    extensions::query::ElementQueryable,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::program::is_on_path;

/// The timeout for a page, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(100);

/// Why there is no browser to test with, if so.
pub fn browser_missing() -> Option<&'static str> {
    let there_are = is_on_path("chromium") && is_on_path("chromedriver");
    (!there_are).then_some("chromium and chromedriver are not on the PATH")
}

/// Whether a test without its browser fails.
pub fn browser_required() -> bool {
    env::var("REQUIRE_BROWSER").is_ok_and(|value| value == "1")
}

/// Chromium, with a profile of its own.
pub struct Browser {
    pub page: WebDriver,
    driver: Child,
    _profile: TempDir,
}

impl Browser {
    pub async fn start() -> Self {
        let (driver, port) = start_driver().await;
        let profile = TempDir::with_prefix("chromium-").expect("a folder");
        let page = WebDriver::new(format!("http://127.0.0.1:{port}"), capabilities(profile.path()))
            .await
            .expect("a session");
        Self {
            page,
            driver,
            _profile: profile,
        }
    }

    pub async fn open(&self, url: &str) {
        self.page.goto(url).await.expect("a page");
    }

    /// Makes the page as large as this, in pixels. A window has a minimum width, which is wider than a phone.
    pub async fn resize(&self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Sets the preferred color scheme: `light` or `dark`.
    pub async fn prefer(&self, color_scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": color_scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features }))
            .await;
    }

    /// Lets pages use the clipboard without a question to the person.
    pub async fn grant_clipboard(&self) {
        let permissions = json!({ "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"] });
        self.devtools("Browser.grantPermissions", permissions).await;
    }

    /// Sends a command of the Chrome DevTools Protocol.
    async fn devtools(&self, command: &str, parameters: Value) {
        self.page.cdp().send_raw(command, parameters).await.expect(command);
    }

    /// Runs a script on the page, and returns its value.
    pub async fn script<T: DeserializeOwned>(&self, script: &str) -> T {
        let value = self.page.execute(script, Vec::new()).await.expect(script);
        value.convert().expect(script)
    }

    /// The element that `css` selects, once it can be seen.
    pub async fn element(&self, css: &str) -> WebElement {
        let query = self.page.query(By::Css(css.to_owned())).wait(PATIENCE, INTERVAL);
        query.and_displayed().first().await.expect(css)
    }

    pub async fn click(&self, css: &str) {
        self.element(css).await.click().await.expect(css);
    }

    /// The text of an element, once it has some.
    pub async fn text(&self, css: &str) -> String {
        self.element(css).await.text().await.expect(css)
    }

    /// Replaces the text of a field.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.element(css).await;
        field.clear().await.expect(css);
        field.send_keys(text).await.expect(css);
    }

    /// Sends keys to the element that has the focus.
    pub async fn press(&self, keys: impl Into<TypingData>) {
        let focused = self.page.active_element().await.expect("the focus");
        focused.send_keys(keys).await.expect("typed");
    }

    /// Waits until an element that `css` selects can be seen and contains `text`.
    pub async fn shows(&self, css: &str, text: &str) {
        let (css, text) = (json!(css), json!(text));
        let script = format!(
            "return [...document.querySelectorAll({css})].some(of => of.checkVisibility() && of.innerText.includes({text}))"
        );
        self.until(&script).await;
    }

    /// Waits until a script returns true.
    pub async fn until(&self, script: &str) {
        let start = Instant::now();
        while !self.script::<bool>(script).await {
            if start.elapsed() > PATIENCE {
                let page: String = self.script("return document.body.innerText").await;
                panic!("{script} is still false on this page:\n{page}");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// The addresses requested since the last call of this function.
    pub async fn requests(&self) -> Vec<String> {
        let log = self.page.get_log("performance").await.expect("a log");
        let events = log
            .iter()
            .map(|entry| serde_json::from_str::<Value>(&entry.message).expect("JSON"));
        events
            .filter(|event| event["message"]["method"] == "Network.requestWillBeSent")
            .map(|event| {
                let url = &event["message"]["params"]["request"]["url"];
                url.as_str().expect("a URL").to_owned()
            })
            .collect()
    }

    /// The messages on the console since the last call of this function.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.page.get_log("browser").await.expect("a log");
        log.into_iter().map(|entry| entry.message).collect()
    }

    /// Takes a picture of the window into the folder that `SCREENSHOTS` names, if it names one.
    pub async fn picture(&self, name: &str) {
        if let Some(folder) = env::var_os("SCREENSHOTS") {
            let file = Path::new(&folder).join(format!("{name}.png"));
            self.page.screenshot(&file).await.expect("a picture");
        }
    }

    pub async fn stop(mut self) {
        self.page.quit().await.expect("an end");
        self.driver.kill().await.expect("killed");
    }
}

fn capabilities(profile: &Path) -> impl Into<thirtyfour::Capabilities> {
    let mut chromium = DesiredCapabilities::chrome();
    let profile = format!("--user-data-dir={}", profile.display());
    for argument in [
        "--headless",
        "--no-sandbox", // not available to root
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--hide-scrollbars",
        "--window-size=1280,1000",
        "--no-proxy-server",
        // No network except this machine.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        &profile,
    ] {
        chromium.add_arg(argument).expect("an argument");
    }
    for log in ["browser", "performance"] {
        chromium
            .set_logging_prefs(log, LoggingPrefsLogLevel::All)
            .expect("a log");
    }
    chromium
}

/// A chromedriver, and its port.
async fn start_driver() -> (Child, u16) {
    loop {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver starts");
        if let Some(port) = listening(&mut driver).await {
            return (driver, port);
        }
    }
}

/// The port that chromedriver prints. None if it has to be started again: it takes a port that is free for IPv6, and ends if it is taken
/// for IPv4.
async fn listening(driver: &mut Child) -> Option<u16> {
    let stdout = driver.stdout.take().expect("a pipe");
    let mut lines = BufReader::new(stdout).lines();
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await.expect("text") {
        if let Some((_, port)) = line.split_once("started successfully on port ") {
            // Keep reading, so that it never blocks on a full pipe.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Some(port.trim_end_matches('.').parse().expect("a port"));
        }
        if line.starts_with("IPv4 port not available") {
            return None;
        }
        said.push(line);
    }
    let status = driver.wait().await;
    panic!("chromedriver ended without a port: {status:?}, {said:?}");
}
