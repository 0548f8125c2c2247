//! The problems of a request, field by field.

/// A field of a request, as callers know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The customer's email address.
    CustomerEmail,
    /// The list of device identifiers as a whole.
    DeviceIdentifiers,
    /// The device identifier at this index, counted from 0.
    DeviceIdentifier(usize),
    /// The type of the devices to create.
    DeviceType,
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where.
    pub field: Field,
    /// What is wrong, as a sentence without a full stop.
    pub description: String,
}

/// Every broken rule of a request: the first few in full, and the count of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations {
    listed: Vec<Violation>,
    count: usize,
}

impl Violations {
    /// How many are kept in full. Error details travel in HTTP/2 trailers, which clients cap near 8 KiB.
    pub const MAX_LISTED: usize = 16;

    /// Adds one.
    pub fn push(&mut self, field: Field, description: impl Into<String>) {
        self.count += 1;
        if self.listed.len() < Self::MAX_LISTED {
            let description = description.into();
            self.listed.push(Violation { field, description });
        }
    }

    /// The first [`MAX_LISTED`](Self::MAX_LISTED), in the order in which they were found.
    pub fn listed(&self) -> &[Violation] {
        &self.listed
    }

    /// One sentence: the violation when it is the only one, else the first of them with the full count.
    pub fn sentence(&self) -> String {
        match (self.listed.first(), self.count) {
            (Some(first), 1) => first.description.clone(),
            (Some(first), count) => format!("{} (the first of {count} problems)", first.description),
            (None, _) => "The request is valid".into(),
        }
    }
}
