//! The console when answers come late or are lost.

use super::Console;
use crate::support::{Api, Browser, Suite, TestDatabase};

/// Lets a test hold the requests whose address and body contain a text, and answer them when and as it wants.
const HOLDING: &str = r"
    const send = window.fetch;
    window.held = [];
    window.hold = null;
    window.fetch = (url, options) => {
        const isHeld = window.hold && [url, options.body ?? ''].some(of => of.includes(window.hold));
        if (!isHeld) return send(url, options);
        return new Promise((answer, fail) => held.push({
            answer: () => send(url, options).then(answer),
            lose: () => send(url, options).then(() => fail(new TypeError('lost'))),
            reject: status => answer(new Response(JSON.stringify({ error: 'Rejected' }), { status })),
        }));
    };";

pub(super) fn register(suite: &mut Suite) {
    suite.with_browser("console::a_late_preview_is_not_shown_for_another_plan", late_preview);
    suite.with_browser("console::an_undo_is_of_the_last_change_and_can_be_continued", undo);
}

async fn open(database: &TestDatabase) -> Console {
    let console = Console::open(database, Api::Rest).await;
    console.sign_in().await;
    console.browser.script::<()>(HOLDING).await;
    console.search("SN-1").await;
    console
}

async fn hold(browser: &Browser, text: &str) {
    browser.script::<()>(&format!("held.length = 0; hold = '{text}'")).await;
}

/// Waits for a held request, holds no further one, and answers it with the method `how`.
async fn release(browser: &Browser, how: &str) {
    browser.until("return held.length > 0").await;
    // The page does in the meantime what it does with the answer.
    let script = format!(
        "hold = null; return Promise.resolve(held[0].{how}).then(() => new Promise(done => setTimeout(done, 100)))"
    );
    browser.script::<()>(&script).await;
}

async fn is_shown(browser: &Browser, id: &str) -> bool {
    browser
        .script(&format!("return document.getElementById('{id}').checkVisibility()"))
        .await
}

async fn late_preview(database: &TestDatabase) {
    let console = open(database).await;
    let browser = &console.browser;

    hold(browser, "validateOnly").await;
    browser.fill("#change-email", "kim@example.com").await;
    browser.fill("#change-devices", "SN-2").await;
    browser.click("#change button").await;
    browser.until("return held.length > 0").await;
    browser.click("#preview-cancel").await;
    browser.script::<()>("hold = null").await;
    console.preview("Assign…", "jane@example.com").await;
    release(browser, "answer()").await;
    let preview = browser.text("#preview-body").await;
    assert!(preview.contains("SN-1") && !preview.contains("SN-2"), "{preview}");

    // While a change is made, the preview stays.
    hold(browser, "assignDevices").await;
    browser.click("#preview-confirm").await;
    browser.until("return held.length > 0").await;
    for _ in 0..3 {
        browser.press(thirtyfour::Key::Escape + "").await;
    }
    assert!(is_shown(browser, "preview").await);

    // The first attempt is carried out, but its answer is lost. A rejection of the second one does not change that.
    release(browser, "lose()").await;
    browser.shows("#preview-error", "cannot be reached").await;
    hold(browser, "assignDevices").await;
    browser.click("#preview-confirm").await;
    release(browser, "reject(429)").await;
    browser.shows("#preview-error", "Rejected").await;
    browser.click("#preview-cancel").await;
    browser.shows("#message-text", "The outcome is unknown").await;
    assert_eq!(console.owners("SN-1").await, ["jane@example.com", "john@example.com"]);

    // Nothing is left for whoever goes back to the page.
    browser.script::<()>("dispatchEvent(new Event('pagehide'))").await;
    assert!(!is_shown(browser, "desk").await);
    console.close().await;
}

async fn undo(database: &TestDatabase) {
    let console = open(database).await;
    let browser = &console.browser;
    console.preview("Assign…", "jane@example.com").await;
    console.confirm().await;
    browser.shows("#undo", "Undo").await;

    // Until the page knows what the next change did, the one before cannot be undone in its place.
    console.preview("Transfer…", "kim@example.com").await;
    hold(browser, "changes?").await;
    console.confirm().await;
    browser.shows("#message-text", "kim@example.com").await;
    assert!(!is_shown(browser, "undo").await);
    release(browser, "answer()").await;
    browser.click("#undo").await;
    browser.shows("#preview-body", "removed from kim@example.com").await;

    // The answer of the last of several calls is lost. The same undo goes on.
    hold(browser, "unassignDevices").await;
    browser.click("#preview-confirm").await;
    release(browser, "lose()").await;
    browser.shows("#preview-error", "cannot be reached").await;
    console.confirm().await;
    browser.shows("#message-text", "Undo the last change: Done").await;
    assert_eq!(console.owners("SN-1").await, ["jane@example.com", "john@example.com"]);
    console.close().await;
}
