//! The files of the console: one page for people, who sign in with an API key. Its scripts call the REST API as any other client
//! does.

/// The page. `{navigation}` stands for the links to the other pages.
pub(super) const PAGE: &str = include_str!("console/index.html");

/// Its style sheet, which adds to that of all pages.
pub(super) const STYLE: &str = include_str!("console/console.css");

/// Name and text of each script.
pub(super) const SCRIPTS: [(&str, &str); 10] = [
    ("api.js", include_str!("console/api.js")),
    ("changes.js", include_str!("console/changes.js")),
    ("dom.js", include_str!("console/dom.js")),
    ("history.js", include_str!("console/history.js")),
    ("main.js", include_str!("console/main.js")),
    ("plans.js", include_str!("console/plans.js")),
    ("preview.js", include_str!("console/preview.js")),
    ("search.js", include_str!("console/search.js")),
    ("subject.js", include_str!("console/subject.js")),
    ("undo.js", include_str!("console/undo.js")),
];
