//! The email address that identifies a customer.

use std::fmt;

use email_address::{EmailAddress, Options};

/// A valid email address in addr-spec form. Its ASCII letters are in lower case: addresses are compared and stored so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email(String);

/// The text is not an email address in the accepted form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnEmail;

impl Email {
    /// The greatest length of an address, in bytes (RFC 5321, 4.5.3.1.3, less the angle brackets of the path).
    pub const MAX_BYTES: usize = 254;

    /// Parses an address and trims the white space around it. A display name, an address literal as the domain, and a
    /// domain without a dot are errors.
    ///
    /// # Errors
    /// [`NotAnEmail`].
    pub fn parse(text: &str) -> Result<Self, NotAnEmail> {
        let text = text.trim();
        let options = Options::default()
            .with_required_tld()
            .without_domain_literal()
            .without_display_text();
        if text.len() > Self::MAX_BYTES
            || text.chars().any(char::is_control)
            || EmailAddress::parse_with_options(text, options).is_err()
        {
            return Err(NotAnEmail);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// An address that was stored as [`as_str`](Self::as_str) returns it.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the `@`: the name of a new customer.
    pub fn local_part(&self) -> &str {
        self.0.rsplit_once('@').map_or(self.as_str(), |(local, _)| local)
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
