//! What is wrong with a request, field by field. The sentences are made by the protocol, which has its own names for the
//! fields; nothing here holds a text of the caller.

use super::{json_object::InvalidJson, text::InvalidText};

/// A field of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The customer's email address.
    CustomerEmail,
    /// The list of customers' email addresses as a whole.
    CustomerEmails,
    /// The email address at this index of that list, counted from 0.
    OneOfCustomerEmails(usize),
    /// The customer whom devices must belong to.
    ExpectedOwner,
    /// The list of device identifiers as a whole.
    DeviceIdentifiers,
    /// The device identifier at this index, counted from 0.
    DeviceIdentifier(usize),
    /// The device identifier of a request for one device.
    OneDeviceIdentifier,
    /// The type of the devices to create.
    DeviceType,
    /// The identifier of the device that a request is about.
    Identifier,
    /// The type of that device.
    Type,
    /// The properties of that device.
    Properties,
    /// The list of devices with their metadata as a whole.
    Devices,
    /// The identifier of the device at this index of that list, counted from 0.
    IdentifierOf(usize),
    /// The metadata of the device at this index of that list, counted from 0.
    MetadataOf(usize),
    /// The email address of the customer that a request is about.
    Email,
    /// The name of that customer.
    Name,
    /// The phone number of that customer.
    Phone,
    /// The postal address of that customer.
    Address,
    /// The metadata of that customer.
    Metadata,
    /// The id of that customer.
    CustomerId,
    /// The id of the customer who owns devices.
    OwnerId,
    /// The beginning of the identifiers of devices.
    Prefix,
    /// The beginning of the email addresses of customers.
    EmailPrefix,
    /// The size of a page.
    PageSize,
    /// The idempotency key.
    IdempotencyKey,
}

/// Why a field is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldProblem {
    /// It is required.
    Missing,
    /// It is required when devices are created.
    MissingToCreateDevices,
    /// It is required when a device is created.
    MissingToCreateDevice,
    /// It is neither an email address nor the id of a customer.
    NotACustomer,
    /// It lists more customers than a request may have.
    TooManyCustomers {
        /// How many it lists.
        count: usize,
        /// How many it may list.
        max: usize,
    },
    /// It is not an email address in the accepted form.
    NotAnEmail,
    /// It is not 1 to 255 printable ASCII characters.
    NotAnIdempotencyKey,
    /// It is not a valid text.
    Text(InvalidText),
    /// It is not a valid JSON object.
    Json(InvalidJson),
    /// It is required for a device that does not exist yet.
    MissingToCreate,
    /// It has no entries.
    NoEntries,
    /// It is the same as an earlier one.
    Repeated,
    /// It is not the id of a customer.
    NotACustomerId,
    /// Either this field or another one is required, and both are missing.
    MissingWithout(Field),
    /// Only this field or another one may be given, and both are.
    GivenWith(Field),
    /// It is a number below 0.
    Negative,
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

    /// A request that lists `count` devices in `list`, more than `max`.
    pub fn too_many_devices(list: Field, count: usize, max: usize) -> Self {
        Self::one(list, FieldProblem::TooManyDevices { count, max })
    }

    /// A request that lists so many devices in `list` that the response could be larger than `max_bytes`.
    pub fn response_too_large(list: Field, max_bytes: usize) -> Self {
        Self::one(list, FieldProblem::ResponseTooLarge { max_bytes })
    }

    /// A request that lists `count` customers, more than `max`.
    pub fn too_many_customers(count: usize, max: usize) -> Self {
        Self::one(Field::CustomerEmails, FieldProblem::TooManyCustomers { count, max })
    }

    /// Adds an invalid field.
    pub fn push(&mut self, field: Field, problem: FieldProblem) {
        self.count += 1;
        if self.listed.len() < Self::MAX_LISTED {
            self.listed.push(Violation { field, problem });
        }
    }

    /// The value of a field, if it is given and valid. Otherwise adds what is wrong with it.
    pub(super) fn check<T, E>(
        &mut self,
        field: Field,
        problem: impl FnOnce(E) -> FieldProblem,
        parsed: Option<Result<T, E>>,
    ) -> Option<T> {
        parsed?.map_err(|error| self.push(field, problem(error))).ok()
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
