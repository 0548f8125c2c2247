//! The documents for callers as pages: Markdown that a git host shows as it is, made HTML.

use std::{
    error::Error,
    fmt::Write,
    fs,
    path::{Component, Path, PathBuf},
};

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

/// Each document, the page it becomes below `/guides/`, and what a link to it says, in the order of the links.
const GUIDES: [(&str, &str, &str); 6] = [
    ("docs/REST.md", "rest", "REST"),
    ("docs/GRPC.md", "grpc", "gRPC"),
    ("docs/COMMAND-LINE.md", "command-line", "Command line"),
    ("docs/API.md", "api", "The rules"),
    ("docs/ERRORS.md", "errors", "Errors"),
    ("CHANGELOG.md", "changelog", "Changes"),
];

/// Other files that documents link to, and where they are served, seen from a page.
const ELSEWHERE: [(&str, &str); 1] = [("docs/openapi.json", "../openapi.json")];

/// Writes `guides.rs` to `out`: a slice of page, title and HTML.
pub(crate) fn generate(out: &Path) -> Result<(), Box<dyn Error>> {
    let mut code = "&[\n".to_owned();
    for (file, page, title) in GUIDES {
        println!("cargo:rerun-if-changed={file}");
        let html = as_html(&fs::read_to_string(file)?, Path::new(file));
        writeln!(code, "    ({page:?}, {title:?}, {html:?}),")?;
    }
    code.push_str("]\n");
    fs::write(out.join("guides.rs"), code)?;
    Ok(())
}

fn as_html(markdown: &str, file: &Path) -> String {
    let mut events: Vec<Event> = Vec::new();
    let mut heading = None;
    let mut dropped = 0;
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some((events.len(), String::new())),
            Event::Text(ref text) | Event::Code(ref text) => {
                if let Some((_, title)) = &mut heading {
                    title.push_str(text);
                }
            }
            Event::End(TagEnd::Heading(level)) => {
                if let Some((start, title)) = heading.take() {
                    let id = Some(CowStr::from(anchor(&title)));
                    let (classes, attrs) = (Vec::new(), Vec::new());
                    let tag = Tag::Heading {
                        level,
                        id,
                        classes,
                        attrs,
                    };
                    events.insert(start, Event::Start(tag));
                }
            }
            _ => {}
        }
        match event {
            Event::Start(Tag::Heading { .. }) => {}
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
            // Links are never in one another.
            Event::End(TagEnd::Link) if dropped > 0 => dropped -= 1,
            event => events.push(event),
        }
    }
    let mut page = String::new();
    html::push_html(&mut page, events.into_iter());
    page
}

/// The link to what `link` in `file` leads to, on its page; none for what is not served.
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

/// A path without steps up and down again.
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

/// The anchor that git hosts give a heading.
fn anchor(title: &str) -> String {
    let title = title.trim().to_lowercase();
    let kept = title
        .chars()
        .filter(|char| char.is_alphanumeric() || " -_".contains(*char));
    kept.map(|char| if char == ' ' { '-' } else { char }).collect()
}
