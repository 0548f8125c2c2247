//! JSON objects of callers: properties of devices and metadata of customers. They are checked here and kept as the text that the
//! caller sent, because databases would reorder members and rewrite numbers.

use std::{borrow::Cow, collections::HashSet};

/// A valid JSON object (RFC 8259), as text without white space around it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JsonObject(String);

/// Why a text is not accepted as a JSON object. `Display` prints a clause that follows the name of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJson {
    /// It is another JSON value, or nothing.
    #[error("must be a JSON object")]
    NotAnObject,
    /// It is not JSON.
    #[error("must be valid JSON (byte {at})")]
    Syntax {
        /// The position of the first byte that is wrong, from 0.
        at: usize,
    },
    /// It is too large.
    #[error("must be at most {max} bytes")]
    TooLarge {
        /// The greatest length, in bytes.
        max: usize,
    },
    /// Objects and arrays are nested too deeply.
    #[error("must have at most {max} levels of objects and arrays")]
    TooDeep {
        /// The greatest number of levels. The object itself is the first.
        max: usize,
    },
    /// A member of an object is repeated. Readers of JSON disagree on which one counts.
    #[error("must not repeat a member of an object (byte {at})")]
    RepeatedMember {
        /// The position of the second name, from 0.
        at: usize,
    },
    /// It contains U+0000, which PostgreSQL cannot store as text.
    #[error("must not contain the character U+0000 (byte {at})")]
    NullCharacter {
        /// The position of the escape sequence, from 0.
        at: usize,
    },
}

impl JsonObject {
    /// The greatest length, in bytes.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// The greatest number of levels of objects and arrays. The object itself is the first.
    pub const MAX_DEPTH: usize = 32;

    /// Checks a text, and trims the white space around it.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn parse(text: &str) -> Result<Self, InvalidJson> {
        let trimmed = text.trim_matches(is_white_space);
        if trimmed.len() > Self::MAX_BYTES {
            return Err(InvalidJson::TooLarge { max: Self::MAX_BYTES });
        }
        let mut parser = Parser {
            text: trimmed,
            position: 0,
        };
        if parser.peek() != Some(b'{') {
            return Err(InvalidJson::NotAnObject);
        }
        parser.value(0)?;
        if parser.peek().is_some() {
            return Err(parser.syntax());
        }
        Ok(Self(trimmed.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for JsonObject {
    /// The object without members.
    fn default() -> Self {
        Self("{}".to_owned())
    }
}

impl From<JsonObject> for String {
    fn from(object: JsonObject) -> Self {
        object.0
    }
}

fn is_white_space(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\n' | '\r')
}

/// Reads a text from its beginning to its end.
struct Parser<'t> {
    text: &'t str,
    position: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    fn syntax(&self) -> InvalidJson {
        InvalidJson::Syntax { at: self.position }
    }

    /// Skips `byte` if it is next.
    fn skip(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.position += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8) -> Result<(), InvalidJson> {
        if self.skip(byte) { Ok(()) } else { Err(self.syntax()) }
    }

    fn skip_white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
    }

    /// Reads a value inside of `depth` objects and arrays.
    fn value(&mut self, depth: usize) -> Result<(), InvalidJson> {
        match self.peek() {
            Some(b'{' | b'[') if depth == JsonObject::MAX_DEPTH => {
                let max = JsonObject::MAX_DEPTH;
                Err(InvalidJson::TooDeep { max })
            }
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string().map(drop),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), InvalidJson> {
        let mut names = HashSet::new();
        self.elements(b'{', b'}', |parser| {
            let at = parser.position;
            let name = parser.string()?;
            if !names.insert(name) {
                return Err(InvalidJson::RepeatedMember { at });
            }
            parser.skip_white_space();
            parser.expect(b':')?;
            parser.skip_white_space();
            parser.value(depth)
        })
    }

    fn array(&mut self, depth: usize) -> Result<(), InvalidJson> {
        self.elements(b'[', b']', |parser| parser.value(depth))
    }

    /// Reads elements between two brackets, with commas between them.
    fn elements(
        &mut self,
        open: u8,
        close: u8,
        mut element: impl FnMut(&mut Self) -> Result<(), InvalidJson>,
    ) -> Result<(), InvalidJson> {
        self.expect(open)?;
        self.skip_white_space();
        if self.skip(close) {
            return Ok(());
        }
        loop {
            element(self)?;
            self.skip_white_space();
            if self.skip(close) {
                return Ok(());
            }
            self.expect(b',')?;
            self.skip_white_space();
        }
    }

    fn word(&mut self, word: &str) -> Result<(), InvalidJson> {
        word.bytes().try_for_each(|byte| self.expect(byte))
    }

    fn number(&mut self) -> Result<(), InvalidJson> {
        self.skip(b'-');
        if !self.skip(b'0') {
            self.digits()?;
        }
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            let _ = self.skip(b'+') || self.skip(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), InvalidJson> {
        let start = self.position;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.position += 1;
        }
        if self.position > start {
            Ok(())
        } else {
            Err(self.syntax())
        }
    }

    /// Reads a string, and returns what it means: one name can be written in several ways.
    fn string(&mut self) -> Result<Cow<'t, str>, InvalidJson> {
        self.expect(b'"')?;
        let mut meaning = Cow::Borrowed("");
        loop {
            let plain = self.plain();
            if meaning.is_empty() {
                meaning = Cow::Borrowed(plain);
            } else {
                meaning.to_mut().push_str(plain);
            }
            if self.skip(b'"') {
                return Ok(meaning);
            }
            // Anything else than an escape sequence is a control character or the end.
            let char = self.escaped()?;
            meaning.to_mut().push(char);
        }
    }

    /// Reads characters that stand for themselves.
    fn plain(&mut self) -> &'t str {
        let rest = self.text.get(self.position..).unwrap_or_default();
        let end = rest
            .bytes()
            .position(|byte| byte < b' ' || byte == b'"' || byte == b'\\')
            .unwrap_or(rest.len());
        self.position += end;
        rest.get(..end).unwrap_or_default()
    }

    fn escaped(&mut self) -> Result<char, InvalidJson> {
        let at = self.position;
        self.expect(b'\\')?;
        let char = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.code_point(at),
            _ => return Err(self.syntax()),
        };
        self.position += 1;
        Ok(char)
    }

    /// Reads `u` and four digits, and the same again if the first is half of a surrogate pair. A half alone is no character.
    fn code_point(&mut self, at: usize) -> Result<char, InvalidJson> {
        let units = [self.code_unit()?];
        if units == [0] {
            return Err(InvalidJson::NullCharacter { at });
        }
        if let Some(Ok(char)) = char::decode_utf16(units).next() {
            return Ok(char);
        }
        self.expect(b'\\')?;
        let [first] = units;
        let units = [first, self.code_unit()?];
        match char::decode_utf16(units).next() {
            Some(Ok(char)) => Ok(char),
            _ => Err(InvalidJson::Syntax { at }),
        }
    }

    fn code_unit(&mut self) -> Result<u16, InvalidJson> {
        self.expect(b'u')?;
        let digits = self.text.get(self.position..self.position + 4);
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or_else(|| self.syntax())?;
        self.position += 4;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests;
