//! Which modules a source file names: every path that begins with `crate`, `super`, `self` or another crate of the
//! project, in imports and elsewhere, macros included. Tests are left out.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

pub struct Source {
    /// Its path, seen from the repository.
    pub file: String,
    /// The module that it is.
    pub module: Vec<String>,
    pub imports: Vec<Import>,
}

pub struct Import {
    /// The path from the root of the library.
    pub path: Vec<String>,
    /// The name that it gets here.
    name: String,
}

impl Source {
    /// The module of the table that it belongs to; the root of the library has none.
    pub fn top_module(&self) -> Option<String> {
        self.module.first().cloned()
    }

    fn read(root: &Path, path: &Path) -> Self {
        let file = path.strip_prefix(root).expect("a path in the repository");
        let module = file.with_extension("");
        let mut module: Vec<String> = module
            .iter()
            .skip(1)
            .map(|part| part.to_str().expect("text").to_owned())
            .collect();
        module.pop_if(|last| last == "mod" || last == "lib");
        let text = fs::read_to_string(path).expect("text");
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let tokens = tokens(&code(text));
        let mut imports = Vec::new();
        let mut rest = &tokens[..];
        let mut before = "";
        // The module at this place: the file's, or one in braces within it.
        let mut inner = module.clone();
        let mut depth = 0;
        let mut ends = Vec::new();
        while let Some((token, after)) = rest.split_first() {
            let begins = match token.as_str() {
                "crate" | "super" | "self" | "migrations" => true,
                // Elsewhere it is an entity.
                "device_assignment" => module == ["main"],
                _ => false,
            };
            if begins && before != "::" && after.first().is_some_and(|token| token == "::") {
                rest = tree(&[], rest, &mut |path, name| {
                    let path = absolute(&inner, path);
                    if !path.is_empty() {
                        imports.push(Import { path, name });
                    }
                });
                before = "";
                continue;
            }
            match (token.as_str(), after) {
                ("mod", [name, brace, ..]) if brace == "{" => {
                    inner.push(name.clone());
                    ends.push(depth);
                }
                ("{", _) => depth += 1,
                ("}", _) => {
                    depth -= 1;
                    if ends.pop_if(|end| *end == depth).is_some() {
                        inner.pop();
                    }
                }
                _ => {}
            }
            (before, rest) = (token.as_str(), after);
        }
        Self {
            file: file.to_str().expect("text").to_owned(),
            module,
            imports,
        }
    }
}

/// The sources of the library and the program, without tests.
pub fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(&root.join("src"), &mut files);
    files.sort();
    files.iter().map(|file| Source::read(root, file)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The files that `source` uses something of. A re-export leads to the file that it names. A module and those below it
/// are one unit: neither uses the other.
pub fn files_used(source: &Source, sources: &[Source]) -> BTreeSet<String> {
    let used = source
        .imports
        .iter()
        .filter_map(|import| home(&import.path, sources, 5));
    let others =
        used.filter(|used| !used.module.starts_with(&source.module) && !source.module.starts_with(&used.module));
    others.map(|used| used.file.clone()).collect()
}

fn home<'a>(path: &[String], sources: &'a [Source], re_exports: usize) -> Option<&'a Source> {
    let modules = sources.iter().filter(|source| path.starts_with(&source.module));
    let home = modules.max_by_key(|source| source.module.len())?;
    let (name, below) = match &path[home.module.len()..] {
        [name, below @ ..] if re_exports > 0 => (name, below),
        _ => return Some(home),
    };
    let re_export = home
        .imports
        .iter()
        .find(|import| import.name == *name && import.path != path);
    match re_export {
        Some(import) => self::home(&[&import.path, below].concat(), sources, re_exports - 1),
        None => Some(home),
    }
}

/// Reads one path, or a tree of them, gives each path and its name to `found`, and returns what follows.
fn tree<'a>(prefix: &[String], mut tokens: &'a [String], found: &mut impl FnMut(&[String], String)) -> &'a [String] {
    let mut path = prefix.to_vec();
    while let Some((token, after)) = tokens.split_first() {
        match token.as_str() {
            "{" => {
                tokens = after;
                while let Some((token, after)) = tokens.split_first() {
                    tokens = match token.as_str() {
                        "}" => return after,
                        "," => after,
                        _ => tree(&path, tokens, found),
                    };
                }
                return tokens;
            }
            "*" => {
                found(&path, String::new());
                return after;
            }
            _ => path.push(token.clone()),
        }
        tokens = after;
        match tokens {
            [colons, next, ..] if colons == "::" && (is_word(next) || next == "{" || next == "*") => {
                tokens = &tokens[1..]
            }
            [r#as, name, after @ ..] if r#as == "as" => {
                found(&path, name.clone());
                return after;
            }
            _ => break,
        }
    }
    let name = path.last().cloned().unwrap_or_default();
    found(&path, name);
    tokens
}

fn absolute(module: &[String], path: &[String]) -> Vec<String> {
    let supers = path.iter().take_while(|part| *part == "super").count();
    let (module, path) = match path[0].as_str() {
        "crate" | "device_assignment" => (&[][..], &path[1..]),
        "self" => (module, &path[1..]),
        "super" => (&module[..module.len().saturating_sub(supers)], &path[supers..]),
        _ => (&[][..], path),
    };
    [module, path].concat()
}

fn is_word(token: &str) -> bool {
    token.starts_with(|char: char| char.is_alphanumeric() || char == '_')
}

fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let word = rest
            .find(|char: char| !char.is_alphanumeric() && char != '_')
            .unwrap_or(rest.len());
        let length = match word {
            0 if rest.starts_with("::") => 2,
            0 => first.len_utf8(),
            word => word,
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token.to_owned());
        rest = after.trim_start();
    }
    tokens
}

/// `text` without comments, and with nothing in its strings and characters.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let literal = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if char == '"' {
            quoted(rest, '"')
        } else if rest.starts_with("r\"") || rest.starts_with("r#") {
            raw(rest)
        } else if rest.starts_with("'\\") || rest.chars().nth(2).is_some_and(|third| char == '\'' && third == '\'') {
            quoted(rest, '\'')
        } else {
            0
        };
        if literal == 0 {
            code.push(char);
            rest = &rest[char.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[literal..];
        }
    }
    code
}

/// The length of the literal that `text` begins with.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|&(_, char)| {
        let ends = char == quote && !escaped;
        escaped = char == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(place, quote)| place + quote.len_utf8())
}

/// The length of the raw string that `text` begins with; 0 if it is a raw name (`r#type`), or the end of another word.
fn raw(text: &str) -> usize {
    let hashes = text[1..].find(|char| char != '#').unwrap_or_default();
    let end = format!("\"{}", "#".repeat(hashes));
    let begin = 1 + hashes + 1;
    match text.get(1 + hashes..) {
        Some(string) if string.starts_with('"') => text[begin..]
            .find(&end)
            .map_or(text.len(), |place| begin + place + end.len()),
        _ => 0,
    }
}
