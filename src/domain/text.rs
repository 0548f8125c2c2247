//! The rule that every text from a caller follows: trimmed, bounded, free of control characters.

/// Defines a text of 1 to `$max` characters.
macro_rules! bounded_text {
    ($(#[$doc:meta])* $name:ident, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The greatest length, in characters.
            pub const MAX_CHARS: usize = $max;

            /// Reads the text as a caller gave it.
            ///
            /// # Errors
            /// What is wrong with it, as a clause that follows the name of the field.
            pub fn parse(text: &str) -> Result<Self, String> {
                match $crate::domain::text::trimmed(text, Self::MAX_CHARS) {
                    Ok(text) => Ok(Self(text.to_owned())),
                    Err(refused) => Err(refused.clause()),
                }
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

/// Why a text was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Empty,
    TooLong { max: usize },
    ControlCharacter,
}

impl Refused {
    /// What is wrong, as a clause that follows the name of the field.
    pub(super) fn clause(self) -> String {
        match self {
            Self::Empty => "must not be empty".into(),
            Self::TooLong { max } => format!("must be at most {max} characters"),
            Self::ControlCharacter => "must not contain control characters".into(),
        }
    }
}

/// Drops the white space around `text` and checks the rest: 1 to `max` characters, no control character. U+0000
/// above all must not pass: PostgreSQL refuses it in text, SQLite would store it.
pub(super) fn trimmed(text: &str, max: usize) -> Result<&str, Refused> {
    let text = text.trim();
    if text.is_empty() {
        Err(Refused::Empty)
    } else if text.chars().nth(max).is_some() {
        Err(Refused::TooLong { max })
    } else if text.chars().any(char::is_control) {
        Err(Refused::ControlCharacter)
    } else {
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_dropped_around_a_text_and_kept_inside() {
        let around = " \t\r\n\u{85}\u{a0}\u{2003}\u{2028}\u{3000}";
        let text = format!("{around}SN 1{around}");
        assert_eq!(trimmed(&text, 4), Ok("SN 1"));
        for text in ["", around] {
            assert_eq!(trimmed(text, 4), Err(Refused::Empty));
        }
    }

    #[test]
    fn control_characters_are_refused_wherever_trimming_leaves_them() {
        // U+0085 and the tab are white space too: around a text they are gone before anybody looks.
        let inside = ["a\tb", "a\nb", "a\u{85}b"];
        let anywhere = ["\0", "\0a", "a\0", "a\0b", "\u{7f}", "a\u{7f}", "\u{1b}[0m", "a\u{9f}"];
        for text in inside.into_iter().chain(anywhere) {
            assert_eq!(trimmed(text, 9), Err(Refused::ControlCharacter), "{text:?}");
        }
    }

    #[test]
    fn length_is_counted_in_characters_of_the_trimmed_text() {
        for letter in ["x", "ü", "設", "🛰"] {
            let longest = letter.repeat(255);
            assert_eq!(trimmed(&longest, 255), Ok(longest.as_str()));
            assert_eq!(trimmed(&format!(" {longest} "), 255), Ok(longest.as_str()));
            let too_long = letter.repeat(256);
            assert_eq!(trimmed(&too_long, 255), Err(Refused::TooLong { max: 255 }));
        }
    }
}
