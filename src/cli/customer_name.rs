//! A customer on the command line.

use std::{convert::Infallible, str::FromStr};

/// How the text of an id begins.
const ID_PREFIX: &str = "cust_";

/// An email address, or an id. The rules for both are the service's.
#[derive(Debug, Clone)]
pub(super) enum CustomerName {
    Email(String),
    Id(String),
}

impl FromStr for CustomerName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        // An id has no @, and an address has one.
        let is_id = text.trim_start().starts_with(ID_PREFIX) && !text.contains('@');
        Ok(if is_id {
            Self::Id(text.to_owned())
        } else {
            Self::Email(text.to_owned())
        })
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
