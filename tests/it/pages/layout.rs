//! What a person sees of the pages, in windows of two widths, in light and in dark mode.

use crate::support::{Browser, Suite, TestDatabase, TestServer};

const WIDE: u32 = 1_400;
const PHONE: u32 = 390;

const PAGES: [&str; 11] = [
    "",
    "console/",
    "guides/tasks",
    "guides/rest",
    "guides/grpc",
    "guides/command-line",
    "guides/changes",
    "guides/api",
    "guides/errors",
    "guides/changelog",
    "nothing",
];

/// The text of each cell of a table that is not wholly in the window, and of each cell without the title of its column.
const UNREADABLE_CELLS: &str = r"
    const unreadable = [];
    for (const table of document.querySelectorAll('main table')) {
        const titles = [...table.querySelectorAll('th')];
        const hasHead = getComputedStyle(table.tHead).display !== 'none';
        for (const cell of table.querySelectorAll(hasHead ? 'th, td' : 'td')) {
            if (!cell.textContent) continue;
            const box = cell.getBoundingClientRect();
            if (box.width < 20 || box.left < 0 || box.right > innerWidth || cell.scrollWidth > cell.clientWidth) {
                unreadable.push(`${innerWidth}: ${cell.textContent}`);
            }
            const title = titles[cell.cellIndex].textContent;
            if (!hasHead && getComputedStyle(cell, '::before').content !== JSON.stringify(title) && title) {
                unreadable.push(`${title}: ${cell.textContent}`);
            }
        }
    }
    return unreadable";

/// How wide the page is, and how wide the window.
const WIDTHS: &str = "return [document.documentElement.scrollWidth, window.innerWidth]";

/// The lightness of the background and of the text, 0 to 255.
const COLORS: &str = r"
    const style = getComputedStyle(document.body);
    return [style.backgroundColor, style.color].map(color => Math.max(...color.match(/\d+/g).slice(0, 3).map(Number)))";

/// The targets of links on this page that do not exist, and the number of links in the table of contents.
const CONTENTS: &str = r"
    const links = [...document.querySelectorAll('a[href^=\'#\']')];
    const broken = links.map(link => link.getAttribute('href').slice(1)).filter(id => !document.getElementById(id));
    return [broken, document.querySelectorAll('.contents a').length]";

pub fn register(suite: &mut Suite) {
    suite.with_browser("pages::can_be_read_on_a_phone_and_in_a_wide_window", windows);
    suite.with_browser("pages::follow_the_preference_for_dark_mode", dark_mode);
    suite.with_browser("pages::have_a_table_of_contents_and_copy_buttons", tools);
}

/// A server, a browser, and the address of the pages.
async fn start(database: &TestDatabase) -> (TestServer, Browser, String) {
    let server = TestServer::start(database).await;
    let origin = format!("http://{}/", server.rest);
    (server, Browser::start().await, origin)
}

async fn windows(database: &TestDatabase) {
    let (server, browser, origin) = start(database).await;
    for (name, width, height) in [("wide", WIDE, 1_000), ("phone", PHONE, 844)] {
        browser.resize(width, height).await;
        for page in PAGES {
            browser.open(&format!("{origin}{page}")).await;
            browser.element("h1").await;
            picture(&browser, name, page).await;
            let [page_width, window]: [u32; 2] = browser.script(WIDTHS).await;
            assert!(
                window == width && page_width <= width,
                "{page}: {page_width} of {window}"
            );
            let unreadable: Vec<String> = browser.script(UNREADABLE_CELLS).await;
            assert_eq!(unreadable, Vec::<String>::new(), "{page}");
        }
        let try_it = "nav a[href$='docs/']";
        browser.click(try_it).await;
        browser.element(super::OPERATION).await;
        picture(&browser, name, "docs").await;
    }
    browser.stop().await;
    server.stop().await;
}

async fn dark_mode(database: &TestDatabase) {
    let (server, browser, origin) = start(database).await;
    for (scheme, is_dark) in [("light", false), ("dark", true)] {
        browser.prefer(scheme).await;
        for page in PAGES {
            browser.open(&format!("{origin}{page}")).await;
            let [background, text]: [u8; 2] = browser.script(COLORS).await;
            assert_eq!(
                [background < 64, text > 192],
                [is_dark; 2],
                "{page}: {background} {text}"
            );
        }
        browser.open(&format!("{origin}docs/")).await;
        browser.element(super::OPERATION).await;
        let class: String = browser.script("return document.documentElement.className").await;
        assert_eq!(class, if is_dark { "dark-mode" } else { "" });
    }
    for (name, width, height) in [("dark-wide", WIDE, 1_000), ("dark-phone", PHONE, 844)] {
        browser.resize(width, height).await;
        for page in ["", "guides/errors", "guides/api", "guides/rest", "docs/"] {
            browser.open(&format!("{origin}{page}")).await;
            browser.element("nav").await;
            picture(&browser, name, page).await;
        }
    }
    browser.stop().await;
    server.stop().await;
}

async fn tools(database: &TestDatabase) {
    let (server, browser, origin) = start(database).await;
    for page in PAGES {
        browser.open(&format!("{origin}{page}")).await;
        let (broken, links): (Vec<String>, usize) = browser.script(CONTENTS).await;
        assert_eq!(broken, Vec::<String>::new(), "{page}");
        let is_long = ["rest", "grpc", "command-line", "api"]
            .iter()
            .any(|guide| page.ends_with(guide));
        assert!(!is_long || links >= 3, "{page}: {links}");
    }
    // Each page that was not found is a complaint.
    browser.complaints().await;
    browser.open(&format!("{origin}guides/rest")).await;
    browser.grant_clipboard().await;
    let code: String = browser
        .script("return document.querySelector('main pre').textContent")
        .await;
    browser.click(".copy").await;
    assert_eq!(browser.text(".copy:not(:empty)").await, "Copied");
    let copied: String = browser.script("return navigator.clipboard.readText()").await;
    assert_eq!(copied, code.trim_end());
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.stop().await;
    server.stop().await;
}

async fn picture(browser: &Browser, window: &str, page: &str) {
    let page = if page.is_empty() { "start" } else { page };
    let name = format!("{window}-{}", page.trim_end_matches('/').replace('/', "-"));
    browser.picture(&name).await;
}
