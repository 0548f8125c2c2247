//! What is wrong with a request, field by field. The sentences are made by the protocol, which has its own names for the
//! fields; nothing here holds a text of the caller.

use super::text::InvalidText;

/// A field of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The customer's email address.
    CustomerEmail,
    /// The list of device identifiers as a whole.
    DeviceIdentifiers,
    /// The device identifier at this index, counted from 0.
    DeviceIdentifier(usize),
    /// The device identifier of a request for one device.
    OneDeviceIdentifier,
    /// The type of the devices to create.
    DeviceType,
}

/// Why a field is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldProblem {
    /// It is required.
    Missing,
    /// It is required when devices are created.
    MissingToCreateDevices,
    /// It is not an email address in the accepted form.
    NotAnEmail,
    /// It is not a valid text.
    Text(InvalidText),
    /// It lists more devices than a request may have.
    TooManyDevices {
        /// How many it lists.
        count: usize,
        /// How many it may list.
        max: usize,
    },
    /// It lists so many devices that the response could be too large.
    ResponseTooLarge {
        /// The most bytes of a response.
        max_bytes: usize,
    },
}

/// One invalid field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// The field.
    pub field: Field,
    /// Why it is invalid.
    pub problem: FieldProblem,
}

/// Every invalid field of a request: the first few of them, and the count of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations {
    listed: Vec<Violation>,
    count: usize,
}

impl Violations {
    /// How many are listed. Error details travel in HTTP/2 trailers, which clients cap near 8 KiB.
    pub const MAX_LISTED: usize = 16;

    /// One invalid field.
    pub fn one(field: Field, problem: FieldProblem) -> Self {
        let mut violations = Self::default();
        violations.push(field, problem);
        violations
    }

    /// A request that lists `count` devices, more than `max`.
    pub fn too_many_devices(count: usize, max: usize) -> Self {
        Self::one(Field::DeviceIdentifiers, FieldProblem::TooManyDevices { count, max })
    }

    /// A request whose response could be larger than `max_bytes`.
    pub fn response_too_large(max_bytes: usize) -> Self {
        Self::one(Field::DeviceIdentifiers, FieldProblem::ResponseTooLarge { max_bytes })
    }

    /// Adds an invalid field.
    pub fn push(&mut self, field: Field, problem: FieldProblem) {
        self.count += 1;
        if self.listed.len() < Self::MAX_LISTED {
            self.listed.push(Violation { field, problem });
        }
    }

    /// The first [`MAX_LISTED`](Self::MAX_LISTED), in the order in which they were found.
    pub fn listed(&self) -> &[Violation] {
        &self.listed
    }

    /// How many there are, listed or not.
    pub fn count(&self) -> usize {
        self.count
    }
}
