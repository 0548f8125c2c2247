//! Why a body is not the JSON of a request, in the words of this API. The body is read once more, and compared with the members
//! of the request one by one.

use std::{cell::RefCell, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::error::Category;

use super::bounded;
use crate::{
    gateway::{
        fields::{Kind, Member},
        problem::Problem,
    },
    pb::{parse_number, whole_number},
};

/// The problem of a body that is not a message with these `members`.
pub(super) fn problem(body: &[u8], members: &[Member], error: &serde_json::Error) -> Problem {
    if !error.is_data() {
        return Problem::invalid_body(format!("Invalid JSON: {}", unexpected(body, error)), None);
    }
    let found = RefCell::default();
    let request = RequestCheck { members, found: &found };
    let checked = serde_json::Deserializer::from_slice(body).deserialize_map(request);
    let position = position(checked.as_ref().err().unwrap_or(error));
    match found.into_inner() {
        Some(Mismatch {
            path,
            rule: Rule::Missing,
        }) => Problem::invalid_field(required_object(&path), &path),
        // The public API documents this sentence.
        Some(Mismatch { path, rule }) if rule.is_documented() => {
            Problem::invalid_body(rule.sentence(&path, members), Some(path))
        }
        Some(Mismatch { path, rule }) => {
            let path = bounded(&path);
            Problem::invalid_body(format!("{} {position}", rule.sentence(&path, members)), Some(path))
        }
        None => Problem::invalid_body(format!("Invalid JSON {position}"), None),
    }
}

/// What the parser did not expect.
fn unexpected(body: &[u8], error: &serde_json::Error) -> String {
    let position = position(error);
    if error.classify() == Category::Eof {
        return format!("the body ends too early {position}");
    }
    match offset(body, error).and_then(|offset| body.get(offset..)) {
        Some([byte, ..]) if byte.is_ascii_control() => format!("unexpected control character {position}"),
        Some(rest @ [byte, ..]) => match first_char(rest) {
            Some(char) => format!("unexpected character {char} {position}"),
            None => format!("unexpected byte 0x{byte:02x} {position}"),
        },
        Some([]) | None => format!("syntax error {position}"),
    }
}

fn position(error: &serde_json::Error) -> String {
    format!("(line {}, column {})", error.line(), error.column())
}

/// The index of the byte that the parser stopped at: columns count bytes from 1, and a line break ends its line.
fn offset(body: &[u8], error: &serde_json::Error) -> Option<usize> {
    let lines_before = error.line().checked_sub(1)?;
    let lines = body.split_inclusive(|byte| *byte == b'\n').take(lines_before);
    (lines.map(<[u8]>::len).sum::<usize>() + error.column()).checked_sub(1)
}

fn first_char(bytes: &[u8]) -> Option<char> {
    let chunk = bytes.utf8_chunks().next()?;
    chunk.valid().chars().next()
}

/// The first difference between a body and the members.
struct Mismatch {
    path: String,
    rule: Rule,
}

/// What a body violates.
enum Rule {
    /// An object of objects is absent or null. The service would not know: its message has an empty list.
    Missing,
    Unknown,
    Repeated,
    Type {
        kind: Kind,
        is_list: bool,
    },
}

impl Rule {
    fn is_documented(&self) -> bool {
        matches!(
            self,
            Self::Type {
                kind: Kind::Metadata,
                ..
            }
        )
    }

    fn sentence(&self, path: &str, members: &[Member]) -> String {
        let expected = match *self {
            Self::Unknown => {
                let names: Vec<&str> = members.iter().map(|member| member.name).collect();
                return format!(
                    "{path} is not a member of this request; the members are {}",
                    names.join(", ")
                );
            }
            Self::Repeated => return format!("{path} is repeated; send it once"),
            Self::Missing => return required_object(path),
            Self::Type { kind, is_list } => match (kind, is_list) {
                (Kind::Metadata, _) => return required_object(path),
                (Kind::Json, _) => "a JSON object",
                (Kind::String, false) => "a string",
                (Kind::String, true) => "an array of strings",
                (Kind::Boolean, false) => "true or false",
                (Kind::Boolean, true) => "an array of true and false",
                (Kind::Integer, false) => "an integer",
                (Kind::Integer, true) => "an array of integers",
                (Kind::Revision, false) => "a number of 0 to 18446744073709551615, as a string of digits",
                (Kind::Revision, true) => "an array of strings of digits",
            },
        };
        format!("{path} must be {expected}")
    }
}

/// The documented sentence about the object of objects.
fn required_object(path: &str) -> String {
    format!("{path} is required and must be an object mapping identifiers to metadata")
}

/// Checks an object. The error that it returns only stops the parser: the mismatch is in `found`.
#[derive(Clone, Copy)]
struct RequestCheck<'a> {
    members: &'a [Member],
    found: &'a RefCell<Option<Mismatch>>,
}

impl<'de> Visitor<'de> for RequestCheck<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut seen = Vec::with_capacity(self.members.len());
        let mut missing = self.members.iter().find(|member| member.kind == Kind::Metadata);
        while let Some(name) = object.next_key::<String>()? {
            let Some(member) = self.members.iter().find(|member| member.name == name) else {
                return Err(stop(self.found, name, Rule::Unknown));
            };
            if seen.contains(&member.name) {
                return Err(stop(self.found, name, Rule::Repeated));
            }
            seen.push(member.name);
            let is_given = object.next_value_seed(ValueCheck {
                member: *member,
                index: None,
                found: self.found,
            })?;
            if is_given {
                missing = missing.filter(|missing| missing.name != member.name);
            }
        }
        match missing {
            Some(member) => Err(stop(self.found, member.name.to_owned(), Rule::Missing)),
            None => Ok(()),
        }
    }
}

fn stop<E: Error>(found: &RefCell<Option<Mismatch>>, path: String, rule: Rule) -> E {
    found.replace(Some(Mismatch { path, rule }));
    E::custom("mismatch")
}

/// Checks the value of a member, or with an index an element of it.
#[derive(Clone, Copy)]
struct ValueCheck<'a> {
    member: Member,
    index: Option<usize>,
    found: &'a RefCell<Option<Mismatch>>,
}

impl ValueCheck<'_> {
    /// Whether an array is expected here.
    fn is_list(&self) -> bool {
        self.member.is_list && self.index.is_none() && self.member.kind != Kind::Metadata
    }

    fn accept<E: Error>(&self, kind: Kind) -> Result<bool, E> {
        if self.member.kind == kind && !self.is_list() {
            Ok(true)
        } else {
            self.reject()
        }
    }

    fn reject<E: Error>(&self) -> Result<bool, E> {
        let name = self.member.name;
        let path = self.index.map_or(name.to_owned(), |index| format!("{name}[{index}]"));
        let (kind, is_list) = (self.member.kind, self.is_list());
        Err(stop(self.found, path, Rule::Type { kind, is_list }))
    }
}

impl<'de> DeserializeSeed<'de> for ValueCheck<'_> {
    /// Whether the value is not null.
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        if self.member.kind == Kind::Json {
            return deserializer.deserialize_ignored_any(IgnoredAny).map(|_| true);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueCheck<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        // Null is absent, but not in a list.
        if self.index.is_none() { Ok(false) } else { self.reject() }
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<bool, E> {
        self.accept(Kind::Boolean)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        let is_number = self.member.kind == Kind::Revision && parse_number(text).is_some();
        self.accept(if is_number { Kind::Revision } else { Kind::String })
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<bool, E> {
        match self.member.kind {
            Kind::Revision => self.accept(Kind::Revision),
            // The integers of the messages have 32 bits.
            _ if i32::try_from(number).is_err() => self.reject(),
            _ => self.accept(Kind::Integer),
        }
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<bool, E> {
        self.accept(Kind::Integer)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<bool, E> {
        match self.member.kind {
            Kind::Revision if whole_number::<u64>(number).is_some() => self.accept(Kind::Revision),
            Kind::Integer if whole_number::<i32>(number).is_some() => self.accept(Kind::Integer),
            _ => self.reject(),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<bool, A::Error> {
        if !self.is_list() {
            return self.reject();
        }
        let mut index = 0;
        let element = |index| Self {
            index: Some(index),
            ..self
        };
        while elements.next_element_seed(element(index))?.is_some() {
            index += 1;
        }
        Ok(true)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<bool, A::Error> {
        // To its end, so that the position is that of the other mismatches: behind the value.
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        if self.member.kind == Kind::Metadata {
            return Ok(true);
        }
        self.reject()
    }
}
