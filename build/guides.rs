//! Makes HTML pages of the documents for callers, which are Markdown.

use std::{
    error::Error,
    fmt::Write,
    fs,
    path::{Component, Path, PathBuf},
};

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// Each document, the name of its page below `/guides/`, and the text of links to it, in the order of the navigation.
const GUIDES: [(&str, &str, &str); 8] = [
    ("docs/TASKS.md", "tasks", "Tasks"),
    ("docs/REST.md", "rest", "REST"),
    ("docs/GRPC.md", "grpc", "gRPC"),
    ("docs/COMMAND-LINE.md", "command-line", "Command line"),
    ("docs/CHANGES.md", "changes", "Following changes"),
    ("docs/API.md", "api", "API reference"),
    ("docs/ERRORS.md", "errors", "Errors"),
    ("CHANGELOG.md", "changelog", "Changelog"),
];

/// Other files that documents link to, and where they are served, relative to a guide.
const ELSEWHERE: [(&str, &str); 1] = [("docs/openapi.json", "../openapi.json")];

/// Writes `guides.rs` to `out`: a slice of `Guide`, as `src/gateway/pages.rs` defines it.
pub(crate) fn generate(out: &Path) -> Result<(), Box<dyn Error>> {
    let mut code = "&[\n".to_owned();
    for (file, page, title) in GUIDES {
        println!("cargo:rerun-if-changed={file}");
        let document = Document::read(&fs::read_to_string(file)?, Path::new(file));
        let (heading, contents, body) = (&document.heading, document.contents(), &document.body);
        writeln!(
            code,
            "    Guide {{ page: {page:?}, title: {title:?}, heading: {heading:?}, contents: {contents:?}, body: {body:?} }},"
        )?;
    }
    code.push_str("]\n");
    fs::write(out.join("guides.rs"), code)?;
    Ok(())
}

/// A document in HTML.
struct Document {
    /// The first heading.
    heading: String,
    /// Anchor and title of each section.
    sections: Vec<(String, String)>,
    /// Everything after the first heading.
    body: String,
}

impl Document {
    fn read(markdown: &str, file: &Path) -> Self {
        let mut events: Vec<Event> = Vec::new();
        let mut sections = Vec::new();
        let mut heading: Option<(usize, String)> = None;
        let mut heading_end = 0;
        let mut dropped = 0;
        let mut table = Table::default();
        for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
            if let Event::Text(text) | Event::Code(text) = &event {
                if let Some((_, title)) = &mut heading {
                    title.push_str(text);
                }
                table.text(text);
            }
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some((events.len(), String::new())),
                Event::End(TagEnd::Heading(level)) => {
                    let Some((start, title)) = heading.take() else { continue };
                    let tag = Tag::Heading {
                        level,
                        id: Some(CowStr::from(anchor(&title))),
                        classes: Vec::new(),
                        attrs: Vec::new(),
                    };
                    events.insert(start, Event::Start(tag));
                    events.push(Event::End(TagEnd::Heading(level)));
                    match level {
                        HeadingLevel::H1 => heading_end = events.len(),
                        HeadingLevel::H2 => sections.push((anchor(&title), title)),
                        _ => {}
                    }
                }
                Event::Start(Tag::Link {
                    link_type,
                    dest_url,
                    title,
                    id,
                }) => match served(&dest_url, file) {
                    Some(dest_url) => events.push(Event::Start(Tag::Link {
                        link_type,
                        dest_url: dest_url.into(),
                        title,
                        id,
                    })),
                    None => dropped += 1,
                },
                // Links are never nested.
                Event::End(TagEnd::Link) if dropped > 0 => dropped -= 1,
                event => table.push(event, &mut events),
            }
        }
        let mut body = String::new();
        let rest = events.split_off(heading_end);
        html::push_html(&mut body, rest.into_iter());
        let mut heading = String::new();
        html::push_html(&mut heading, events.into_iter());
        Self {
            heading,
            sections,
            body,
        }
    }

    /// The table of contents; empty for a document with few sections.
    fn contents(&self) -> String {
        if self.sections.len() < 3 {
            return String::new();
        }
        let items = self.sections.iter();
        let items = items.map(|(anchor, title)| format!("<li><a href=\"#{anchor}\">{}</a></li>\n", escaped(title)));
        format!(
            "<nav class=\"contents\" aria-label=\"On this page\">\n<ul>\n{}</ul>\n</nav>\n",
            items.collect::<String>()
        )
    }
}

/// Gives each cell of a table the title of its column, which a narrow window shows instead of the head of the table.
#[derive(Default)]
struct Table {
    titles: Vec<String>,
    is_in_head: bool,
    column: usize,
}

impl Table {
    fn text(&mut self, text: &str) {
        if self.is_in_head
            && let Some(title) = self.titles.last_mut()
        {
            title.push_str(text);
        }
    }

    fn push<'a>(&mut self, event: Event<'a>, events: &mut Vec<Event<'a>>) {
        let html = |html: &str| Event::Html(CowStr::from(html.to_owned()));
        match event {
            Event::Start(Tag::Table(_)) => {
                self.titles.clear();
                events.extend([html("<div class=\"table\">\n"), event]);
            }
            Event::End(TagEnd::Table) => events.extend([event, html("</div>\n")]),
            Event::Start(Tag::TableCell) if !self.is_in_head => {
                let title = self.titles.get(self.column).map(|title| escaped(title));
                events.push(html(&format!("<td data-label=\"{}\">", title.unwrap_or_default())));
                self.column += 1;
            }
            Event::End(TagEnd::TableCell) if !self.is_in_head => events.push(html("</td>")),
            event => {
                match event {
                    Event::Start(Tag::TableHead) => self.is_in_head = true,
                    Event::End(TagEnd::TableHead) => self.is_in_head = false,
                    Event::Start(Tag::TableCell) => self.titles.push(String::new()),
                    Event::Start(Tag::TableRow) => self.column = 0,
                    _ => {}
                }
                events.push(event);
            }
        }
    }
}

/// Text as part of HTML.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}

/// Where `link` in `file` leads on the pages; `None` for a file that is not served.
fn served(link: &str, file: &Path) -> Option<String> {
    if link.starts_with('#') || link.contains("://") {
        return Some(link.to_owned());
    }
    let (path, fragment) = match link.split_once('#') {
        Some((path, fragment)) => (path, format!("#{fragment}")),
        None => (link, String::new()),
    };
    let target = normal(&file.with_file_name(path));
    let guide = GUIDES.iter().find(|(file, ..)| Path::new(file) == target);
    let other = ELSEWHERE.iter().find(|(file, _)| Path::new(file) == target);
    let page = guide.map(|(_, page, _)| *page).or(other.map(|(_, page)| *page))?;
    Some(format!("{page}{fragment}"))
}

/// A path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(normal.pop()),
            component => normal.push(component),
        }
    }
    normal
}

/// The anchor of a heading, as git hosts make it.
fn anchor(title: &str) -> String {
    let title = title.trim().to_lowercase();
    let kept = title
        .chars()
        .filter(|char| char.is_alphanumeric() || " -_".contains(*char));
    kept.map(|char| if char == ' ' { '-' } else { char }).collect()
}
