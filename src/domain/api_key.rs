//! API keys: `tlm_`, 32 random bytes in base62, and a checksum of six characters.
//!
//! The prefix lets secret scanners find a leaked key. The checksum detects typing errors without a database query. Only the
//! digest is stored.

use std::fmt;

use sha2::{Digest, Sha256};

const PREFIX: &str = "tlm_";
const BASE62: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 32 bytes take at most 43 digits: 62^42 < 2^256 < 62^43.
const RANDOM_CHARS: usize = 43;
/// A CRC-32 takes at most 6 digits: 62^5 < 2^32 < 62^6.
const CHECKSUM_CHARS: usize = 6;

/// A key takes so many characters.
const KEY_CHARS: usize = PREFIX.len() + RANDOM_CHARS + CHECKSUM_CHARS;
/// How many characters of a key a hint shows.
const HINT_START: usize = 8;
const HINT_END: usize = 4;

/// The text of an API key, shown to its owner once. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKeySecret(String);

/// The part of an API key that may be stored and shown, so that people recognize the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyHint {
    /// The first 8 characters: the prefix and 4 random ones.
    pub start: String,
    /// The last 4 characters, which belong to the checksum.
    pub end: String,
}

/// The SHA-256 of an API key. It is stored, and keys are looked up by it.
pub type ApiKeyDigest = [u8; 32];

/// What an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Read.
    Read,
    /// Read and write.
    Write,
}

impl Scope {
    /// Every scope, from the least to the most.
    pub const ALL: [Self; 2] = [Self::Read, Self::Write];

    /// Its name, as it is stored and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// The scope with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }

    /// Whether a key with this scope may make calls that need `needed`.
    pub fn includes(self, needed: Self) -> bool {
        needed <= self
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ApiKeySecret {
    /// The key made of these random bytes.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        let random = base62(&bytes, RANDOM_CHARS);
        let checksum = checksum(&random);
        Self(format!("{PREFIX}{random}{checksum}"))
    }

    /// Parses a key; `None` if the format or the checksum is wrong.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let (random, given) = rest.split_at_checked(RANDOM_CHARS)?;
        (given == checksum(random)).then(|| Self(text.to_owned()))
    }

    /// The digest to store or look up.
    pub fn digest(&self) -> ApiKeyDigest {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// What may be shown of the key. It tells at most 24 bits of the random part, and 24 of its checksum: more than 200 of
    /// 256 stay unknown.
    pub fn hint(&self) -> ApiKeyHint {
        let chars = self.0.chars();
        ApiKeyHint {
            start: chars.clone().take(HINT_START).collect(),
            end: chars.skip(KEY_CHARS - HINT_END).collect(),
        }
    }

    /// The text of the key. Show it to nobody but its owner.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApiKeyHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…{}", self.start, self.end)
    }
}

impl fmt::Debug for ApiKeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}…")
    }
}

fn checksum(random: &str) -> String {
    let crc = crc32fast::hash(random.as_bytes());
    base62(&crc.to_be_bytes(), CHECKSUM_CHARS)
}

fn base62(bytes: &[u8], width: usize) -> String {
    let digits = base_x::encode(BASE62, bytes);
    format!("{digits:0>width$}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_new_key_can_be_parsed_and_has_a_fixed_length(bytes: [u8; 32]) {
            let key = ApiKeySecret::from_random(bytes);
            prop_assert_eq!(key.reveal().len(), KEY_CHARS);
            prop_assert_eq!(ApiKeySecret::parse(key.reveal()), Some(key));
        }

        #[test]
        fn a_key_with_one_wrong_character_is_rejected(bytes: [u8; 32], at in 4usize..53, by in 1usize..62) {
            let key = ApiKeySecret::from_random(bytes);
            let mut text = key.reveal().to_owned();
            let digit = BASE62.find(&text[at..=at]).expect("a base62 digit");
            let wrong = &BASE62[(digit + by) % 62..][..1];
            text.replace_range(at..=at, wrong);
            prop_assert_eq!(ApiKeySecret::parse(&text), None);
        }

        #[test]
        fn any_other_text_is_rejected(text: String) {
            prop_assert_eq!(ApiKeySecret::parse(&text), None);
        }
    }

    #[test]
    fn a_hint_has_the_first_8_and_the_last_4_characters() {
        let hint = ApiKeySecret::from_random([255; 32]).hint();
        assert_eq!(hint.to_string(), "tlm_yhjs…Rzl1");
    }

    #[test]
    fn write_includes_read_and_names_lead_back() {
        assert!(Scope::Write.includes(Scope::Read) && Scope::Read.includes(Scope::Read));
        assert!(Scope::Write.includes(Scope::Write) && !Scope::Read.includes(Scope::Write));
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.name()), Some(scope));
        }
        assert_eq!(Scope::parse("admin"), None);
    }

    #[test]
    fn debug_does_not_print_the_key() {
        assert_eq!(format!("{:?}", ApiKeySecret::from_random([7; 32])), "tlm_…");
    }

    #[test]
    fn the_format_does_not_change() {
        insta::assert_snapshot!(ApiKeySecret::from_random([0; 32]).reveal(), @"tlm_00000000000000000000000000000000000000000002CZclj");
        insta::assert_snapshot!(ApiKeySecret::from_random([255; 32]).reveal(), @"tlm_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp13sRzl1");
    }
}
