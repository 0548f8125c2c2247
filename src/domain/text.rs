//! The rule for every text from a caller: trimmed, bounded, no control characters.

/// Defines a text of 1 to `$max` characters.
macro_rules! bounded_text {
    ($(#[$doc:meta])* $name:ident, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The greatest length, in characters.
            pub const MAX_CHARS: usize = $max;

            /// Parses the text and trims the white space around it.
            ///
            /// # Errors
            /// Why the text is invalid.
            pub fn parse(text: &str) -> Result<Self, $crate::domain::InvalidText> {
                $crate::domain::text::trimmed(text, Self::MAX_CHARS).map(|text| Self(text.to_owned()))
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pub(super) use bounded_text;

/// Why a text is invalid. `Display` prints a clause that follows the name of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// Nothing is left of it after trimming.
    #[error("must not be empty")]
    Empty,
    /// It is too long.
    #[error("must be at most {max} characters")]
    TooLong {
        /// The greatest length, in characters.
        max: usize,
    },
    /// It contains a control character.
    #[error("must not contain control characters")]
    ControlCharacter,
}

/// Whether a character ends a line.
pub(super) fn is_line_break(char: char) -> bool {
    matches!(char, '\n' | '\r')
}

/// Trims the white space around `text` and checks the rest: 1 to `max` characters, no control character. U+0000 must not
/// pass: PostgreSQL rejects it in text, and SQLite would store it.
pub(super) fn trimmed(text: &str, max: usize) -> Result<&str, InvalidText> {
    let text = text.trim();
    if text.is_empty() {
        Err(InvalidText::Empty)
    } else if text.chars().nth(max).is_some() {
        Err(InvalidText::TooLong { max })
    } else if text.chars().any(char::is_control) {
        Err(InvalidText::ControlCharacter)
    } else {
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_trimmed_around_a_text_and_kept_inside() {
        let around = " \t\r\n\u{85}\u{a0}\u{2003}\u{2028}\u{3000}";
        let text = format!("{around}SN 1{around}");
        assert_eq!(trimmed(&text, 4), Ok("SN 1"));
        for text in ["", around] {
            assert_eq!(trimmed(text, 4), Err(InvalidText::Empty));
        }
    }

    #[test]
    fn control_characters_are_rejected_except_where_trimming_removes_them() {
        // U+0085 and the tab are white space too: around a text they are trimmed.
        let inside = ["a\tb", "a\nb", "a\u{85}b"];
        let anywhere = ["\0", "\0a", "a\0", "a\0b", "\u{7f}", "a\u{7f}", "\u{1b}[0m", "a\u{9f}"];
        for text in inside.into_iter().chain(anywhere) {
            assert_eq!(trimmed(text, 9), Err(InvalidText::ControlCharacter), "{text:?}");
        }
    }

    #[test]
    fn length_is_counted_in_characters_of_the_trimmed_text() {
        for letter in ["x", "ü", "設", "🛰"] {
            let longest = letter.repeat(255);
            assert_eq!(trimmed(&longest, 255), Ok(longest.as_str()));
            assert_eq!(trimmed(&format!(" {longest} "), 255), Ok(longest.as_str()));
            let too_long = letter.repeat(256);
            assert_eq!(trimmed(&too_long, 255), Err(InvalidText::TooLong { max: 255 }));
        }
    }
}
