//! A customer on the command line.

use std::str::FromStr;

/// How the text of an id begins.
const ID_PREFIX: &str = "cust_";

/// An email address, or an id. The rules for both are the service's.
#[derive(Debug, Clone)]
pub(super) enum CustomerName {
    Email(String),
    Id(String),
}

impl FromStr for CustomerName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // An id has no @, and an address has one.
        if text.contains('@') {
            Ok(Self::Email(text.to_owned()))
        } else if text.trim_start().starts_with(ID_PREFIX) {
            Ok(Self::Id(text.to_owned()))
        } else {
            Err("must be an email address, or an id: cust_ and 26 characters")
        }
    }
}

impl CustomerName {
    /// The email address and the id: one of them.
    pub(super) fn parts(self) -> (Option<String>, Option<String>) {
        match self {
            Self::Email(email) => (Some(email), None),
            Self::Id(id) => (None, Some(id)),
        }
    }
}
