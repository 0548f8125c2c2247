//! What an organization knows of a customer beside its email address.

use super::{
    InvalidText,
    email::Email,
    id::CustomerId,
    text::{bounded_text, is_line_break},
};

bounded_text!(
    /// The name of a customer: 1 to 255 characters.
    CustomerName,
    255
);

/// A phone number as the caller writes it: at most 64 characters, or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Phone(String);

impl Phone {
    /// The greatest length, in characters.
    pub const MAX_CHARS: usize = 64;

    /// Parses the text and trims the white space around it.
    ///
    /// # Errors
    /// Why the text is invalid.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        clearable(text, Self::MAX_CHARS, char::is_control).map(Self)
    }
}

/// A postal address: at most 1,000 characters, of which line breaks are the only control characters, or empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// The greatest length, in characters.
    pub const MAX_CHARS: usize = 1_000;

    /// Parses the text and trims the white space around it.
    ///
    /// # Errors
    /// Why the text is invalid.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        let is_forbidden = |char: char| char.is_control() && !is_line_break(char);
        clearable(text, Self::MAX_CHARS, is_forbidden).map(Self)
    }
}

/// Trims a text that may be empty.
fn clearable(text: &str, max: usize, is_forbidden: impl Fn(char) -> bool) -> Result<String, InvalidText> {
    let text = text.trim();
    if text.chars().nth(max).is_some() {
        Err(InvalidText::TooLong { max })
    } else if text.chars().any(is_forbidden) {
        Err(InvalidText::ControlCharacter)
    } else {
        Ok(text.to_owned())
    }
}

/// How a caller names a customer that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerKey {
    /// By its email address.
    Email(Email),
    /// By its id.
    Id(CustomerId),
}

/// What is stored of a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerData {
    /// The email address.
    pub email: Email,
    /// The name.
    pub name: String,
    /// The phone number, or an empty text.
    pub phone: String,
    /// The postal address, or an empty text.
    pub address: String,
    /// The metadata, the text of a JSON object. `None` if it has not been read.
    pub metadata: Option<String>,
}

impl CustomerData {
    /// A customer of whom only the email address is known: the part before the `@` is its name.
    pub fn new(email: Email) -> Self {
        Self {
            name: email.local_part().to_owned(),
            email,
            phone: String::new(),
            address: String::new(),
            metadata: Some("{}".to_owned()),
        }
    }
}

impl From<Phone> for String {
    fn from(phone: Phone) -> Self {
        phone.0
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phone_and_address_may_be_empty_and_a_name_may_not() {
        for text in ["", " \n"] {
            assert_eq!(Phone::parse(text), Ok(Phone::default()));
            assert_eq!(Address::parse(text), Ok(Address::default()));
            assert_eq!(CustomerName::parse(text), Err(InvalidText::Empty));
        }
    }

    #[test]
    fn each_text_has_its_own_bound() {
        assert!(Phone::parse(&"ü".repeat(64)).is_ok());
        assert_eq!(Phone::parse(&"ü".repeat(65)), Err(InvalidText::TooLong { max: 64 }));
        assert!(Address::parse(&"ü".repeat(1_000)).is_ok());
        assert_eq!(
            Address::parse(&"ü".repeat(1_001)),
            Err(InvalidText::TooLong { max: 1_000 })
        );
    }

    #[test]
    fn an_address_may_have_several_lines() {
        let address = Address::parse(" 1 Main Street\r\nSpringfield\n").map(String::from);
        assert_eq!(address, Ok("1 Main Street\r\nSpringfield".to_owned()));
        for text in ["a\0b", "a\tb", "a\u{85}b"] {
            assert_eq!(Address::parse(text), Err(InvalidText::ControlCharacter));
        }
        assert_eq!(Phone::parse("1\n2"), Err(InvalidText::ControlCharacter));
    }
}
