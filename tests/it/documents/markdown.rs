//! The parts of a Markdown document that the tests use.

use std::{fs, path::Path};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// One Markdown file.
#[derive(Default)]
pub struct Document {
    /// Its path in the repository.
    pub name: String,
    pub blocks: Vec<Block>,
    /// Targets of links and images.
    pub links: Vec<String>,
    /// Anchors of its headings, as git hosts make them.
    pub anchors: Vec<String>,
    /// Inline code.
    pub code: Vec<String>,
}

/// A block of code.
#[derive(Clone, Debug)]
pub struct Block {
    /// The word after the fence, or an empty string.
    pub kind: String,
    pub text: String,
}

impl Block {
    pub fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

/// The documents that the tests check: README, changelog, architecture and all of `docs/`.
pub fn documents() -> Vec<Document> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<String> = fs::read_dir(root.join("docs"))
        .expect("a folder")
        .map(|entry| entry.expect("a file").file_name().into_string().expect("text"))
        .filter(|name| name.ends_with(".md"))
        .map(|name| format!("docs/{name}"))
        .collect();
    names.extend(["ARCHITECTURE.md", "CHANGELOG.md", "README.md", "SECURITY.md"].map(str::to_owned));
    names.sort();
    let read = |name: String| {
        let text = fs::read_to_string(root.join(&name)).expect("text");
        Document::parse(name, &text)
    };
    names.into_iter().map(read).collect()
}

impl Document {
    fn parse(name: String, text: &str) -> Self {
        let mut document = Self {
            name,
            ..Self::default()
        };
        let mut block: Option<Block> = None;
        let mut heading: Option<String> = None;
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let kind = match kind {
                        CodeBlockKind::Fenced(kind) => kind.into_string(),
                        CodeBlockKind::Indented => String::new(),
                    };
                    let text = String::new();
                    block = Some(Block { kind, text });
                }
                Event::End(TagEnd::CodeBlock) => document.blocks.extend(block.take()),
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let title = heading.take().unwrap_or_default();
                    document.anchors.push(anchor(&title));
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.links.push(dest_url.into_string());
                }
                Event::Text(text) | Event::Code(text) if heading.is_some() => {
                    heading.as_mut().expect("a heading").push_str(&text);
                }
                Event::Text(text) => {
                    if let Some(block) = &mut block {
                        block.text.push_str(&text);
                    }
                }
                Event::Code(text) => document.code.push(text.into_string()),
                _ => {}
            }
        }
        document
    }
}

/// The anchor that git hosts give a heading.
fn anchor(title: &str) -> String {
    let title = title.trim().to_lowercase();
    let kept = title
        .chars()
        .filter(|char| char.is_alphanumeric() || " -_".contains(*char));
    kept.map(|char| if char == ' ' { '-' } else { char }).collect()
}
