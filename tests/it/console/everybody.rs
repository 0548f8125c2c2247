//! The console for people without a mouse, with a screen reader, with a phone, in the dark, and with a key that may only read.

use thirtyfour::Key;

use super::Console;
use crate::support::{Api, Browser, Suite, TestDatabase, read_key};

/// Controls without a name, ids that are given twice, and labels of nothing.
const NAMELESS: &str = r"
    const faults = [];
    for (const control of document.querySelectorAll('main :is(input, textarea, select, button)')) {
        if (!control.checkVisibility()) continue;
        const name = control.ariaLabel ?? (control.labels?.length ? control.labels[0] : control).textContent;
        if (!name.trim()) faults.push(`no name: ${control.outerHTML}`);
    }
    const ids = [...document.querySelectorAll('[id]')].map(of => of.id);
    faults.push(...ids.filter((id, at) => ids.indexOf(id) !== at).map(id => `twice: ${id}`));
    for (const name of ['for', 'aria-labelledby', 'aria-describedby']) {
        for (const of of document.querySelectorAll(`main [${name}]`)) {
            const id = of.getAttribute(name);
            if (!of.hidden && !document.getElementById(id)) faults.push(`${name}: ${id}`);
        }
    }
    return faults";

/// Texts whose contrast with their background is below 4.5 (WCAG 2.2, 1.4.3).
const PALE: &str = r"
    const numbers = color => color.match(/[\d.]+/g).map(Number);
    const part = value => value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4;
    const lightness = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    const background = of => {
        const color = numbers(getComputedStyle(of).backgroundColor);
        return color.length === 4 && color[3] === 0 && of.parentElement ? background(of.parentElement) : color;
    };
    const pale = [];
    for (const of of document.querySelectorAll('body *')) {
        const hasText = [...of.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
        if (!hasText || !of.checkVisibility() || of.disabled) continue;
        const [a, b] = [lightness(numbers(getComputedStyle(of).color)), lightness(background(of))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) pale.push(`${contrast.toFixed(2)}: ${of.textContent}`);
    }
    return pale";

/// How much of the page and of its panels does not fit into the window.
const TOO_WIDE: &str = r"
    const boxes = [document.documentElement, ...document.querySelectorAll('.panel, dialog')];
    return boxes.filter(of => of.scrollWidth > of.clientWidth + 1).map(of => `${of.id || of.tagName}: ${of.scrollWidth}`)";

pub(super) fn register(suite: &mut Suite) {
    suite.with_browser("console::is_usable_with_the_keyboard_alone", keyboard);
    suite.with_browser("console::can_be_read_by_everybody_on_every_screen", screens);
}

async fn focus(browser: &Browser, id: &str) {
    browser
        .until(&format!("return document.activeElement.id === '{id}'"))
        .await;
}

async fn keyboard(database: &TestDatabase) {
    let console = Console::open(database, Api::Rest).await;
    let browser = &console.browser;

    // A key that may only read: everything can be seen, nothing can be changed.
    focus(browser, "key").await;
    browser.press(read_key(database, "acme").await + Key::Enter).await;
    focus(browser, "search-text").await;
    browser.shows("#who", "read only").await;
    browser.press("SN-".to_owned() + Key::Enter).await;
    focus(browser, "result-title").await;
    browser.press(Key::Tab + "").await;
    browser.press(Key::Enter + "").await;
    browser.shows("#result-title", "SN-1").await;
    focus(browser, "result-title").await;
    let writes: usize = browser
        .script("return [...document.querySelectorAll('#change, #result .small, #result .line, #undo')].filter(of => of.checkVisibility()).length")
        .await;
    assert_eq!(writes, 0);

    // A key that may write. The focus moves into the preview and back, and then to the outcome.
    browser.open(&format!("{}console/", console.address)).await;
    focus(browser, "key").await;
    browser.press(console.key.clone() + Key::Enter).await;
    focus(browser, "search-text").await;
    browser.press("SN-1".to_owned() + Key::Enter).await;
    focus(browser, "result-title").await;
    browser.press(Key::Tab + "").await;
    browser.press(Key::Enter + "").await;
    focus(browser, "change-email").await;
    for _ in 0..2 {
        browser.press("jane@example.com".to_owned() + Key::Enter).await;
        focus(browser, "preview-confirm").await;
        browser.press(Key::Escape + "").await;
        focus(browser, "change-email").await;
        browser.press(Key::Control + "a").await;
    }
    browser.press("jane@example.com".to_owned() + Key::Enter).await;
    focus(browser, "preview-confirm").await;
    browser.press(Key::Enter + "").await;
    focus(browser, "message").await;
    browser.shows("#undo", "Undo").await;
    browser.press(Key::Tab + "").await;
    focus(browser, "undo").await;
    assert_eq!(console.owners("SN-1").await, ["jane@example.com", "john@example.com"]);
    console.close().await;
}

async fn screens(database: &TestDatabase) {
    let console = Console::open(database, Api::Rest).await;
    let browser = &console.browser;
    let long = "W".repeat(255);
    let email = format!("{}@{}.example.com", "w".repeat(64), "w".repeat(60));
    console.client.create(&email, &[&long, "SN-1"]).await.ok();
    console.sign_in().await;
    for (window, width, height) in [("wide", 1_400, 1_000), ("phone", 390, 844)] {
        browser.resize(width, height).await;
        for scheme in ["light", "dark"] {
            browser.prefer(scheme).await;
            for (shown, text) in [("device", "SN-1"), ("long", &long), ("customer", &email)] {
                console.search(text).await;
                check(browser, &format!("{scheme} {window} {shown}")).await;
                browser.picture(&format!("console-{scheme}-{window}-{shown}")).await;
            }
            console.search("SN-1").await;
            console.preview("Transfer…", "kim@example.com").await;
            check(browser, &format!("{scheme} {window} preview")).await;
            browser.picture(&format!("console-{scheme}-{window}-preview")).await;
            browser.click("#preview-cancel").await;
        }
    }
    console.close().await;
}

async fn check(browser: &Browser, what: &str) {
    for script in [NAMELESS, PALE, TOO_WIDE] {
        let faults: Vec<String> = browser.script(script).await;
        assert_eq!(faults, Vec::<String>::new(), "{what}");
    }
}
