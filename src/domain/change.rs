//! What commands change: the rows to write, and the entries of the organization's change log.

use std::fmt;

use super::{
    customer::CustomerData,
    device::{DeviceIdentifier, DeviceType},
    id::{ApiKeyId, CustomerId, DeviceId},
    idempotency::NewAnswer,
    json_object::JsonObject,
};

/// A customer and a device that belongs to it.
pub type Pair = (CustomerId, DeviceId);

/// The most assignments that one change creates or removes.
pub const MAX_PAIRS: usize = 10_000;

/// The number of a change in its organization's history, from 1 without gaps. Revision 0 is the state before the first
/// change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(u64);

impl Revision {
    /// The revision after so many more changes.
    #[must_use]
    pub fn after(self, changes: usize) -> Self {
        Self(self.0.saturating_add(changes as u64))
    }

    /// From the number that databases store. They refuse numbers below 0.
    #[must_use]
    pub fn from_stored(number: i64) -> Self {
        Self(number.unsigned_abs())
    }

    /// The number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// The number that databases store.
    #[must_use]
    pub fn to_stored(self) -> i64 {
        self.0.cast_signed()
    }
}

impl From<u64> for Revision {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Everything that a group of commands changes. Storage writes it in one transaction.
///
/// Rows are in key order: two writers that insert the same rows in the same order wait for each other; in different orders
/// they deadlock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// Customers to create.
    pub customers: Vec<NewCustomer>,
    /// Devices to create.
    pub devices: Vec<NewDevice>,
    /// Customers that get other data.
    pub customers_updated: Vec<(CustomerId, CustomerData)>,
    /// Those of them whose email addresses other customers get.
    pub emails_freed: Vec<CustomerId>,
    /// Customers to delete.
    pub customers_deleted: Vec<CustomerId>,
    /// Devices that get another type.
    pub types: Vec<(DeviceIdentifier, DeviceType)>,
    /// Devices that get other properties.
    pub properties: Vec<(DeviceIdentifier, JsonObject)>,
    /// Devices to delete.
    pub devices_deleted: Vec<DeviceId>,
    /// Assignments to create.
    pub assigned: Vec<Pair>,
    /// Assignments to remove.
    pub unassigned: Vec<Pair>,
    /// Erased customers: stored answers that name them are deleted.
    pub erased: Vec<CustomerId>,
    /// Answers to store for idempotency keys.
    pub answers: Vec<NewAnswer>,
    /// One entry for each command that changed something, in the order of the commands.
    pub log: Vec<LogEntry>,
}

impl ChangeSet {
    /// Whether there is nothing to write. A group without an entry in the log has changed nothing, but may have answers to store.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty() && self.answers.is_empty()
    }

    /// When data that it deletes or replaces, and that can be personal, has to be gone from the database.
    pub fn erasure(&self) -> Erasure {
        let Self {
            customers_updated,
            customers_deleted,
            devices_deleted,
            properties,
            ..
        } = self;
        if !(customers_updated.is_empty() && customers_deleted.is_empty() && devices_deleted.is_empty()) {
            Erasure::BeforeTheAnswer
        } else if properties.is_empty() {
            Erasure::Unneeded
        } else {
            Erasure::Soon
        }
    }

    /// Whether assignments between existing customers and devices, and their entries in the log, are all that is written.
    pub fn only_assigns(&self) -> bool {
        let Self {
            customers,
            devices,
            customers_updated,
            emails_freed,
            customers_deleted,
            types,
            properties,
            devices_deleted,
            assigned: _,
            unassigned,
            erased,
            answers,
            log,
        } = self;
        // What one command undoes of another one is only in the log.
        log.iter().all(LogEntry::only_assigns)
            && customers.is_empty()
            && devices.is_empty()
            && customers_updated.is_empty()
            && emails_freed.is_empty()
            && customers_deleted.is_empty()
            && types.is_empty()
            && properties.is_empty()
            && devices_deleted.is_empty()
            && unassigned.is_empty()
            && erased.is_empty()
            && answers.is_empty()
    }
}

/// When deleted data has to be gone from the database, earlier versions of it included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Erasure {
    /// There is none.
    Unneeded,
    /// Within seconds: properties of devices are replaced often.
    Soon,
    /// Before the caller has the answer.
    BeforeTheAnswer,
}

/// A customer to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCustomer {
    /// The new id.
    pub id: CustomerId,
    /// What is known of it.
    pub data: CustomerData,
}

/// A device to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice {
    /// The new id.
    pub id: DeviceId,
    /// The identifier that the organization knows it by.
    pub identifier: DeviceIdentifier,
    /// Its type.
    pub device_type: DeviceType,
    /// Its properties, if it has any.
    pub properties: Option<JsonObject>,
}

/// One change: what one command changed, by id. Emails, identifiers and types are not in the log, so erasing a customer or
/// a device erases its personal data without an edit of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The kind of change.
    pub kind: ChangeKind,
    /// Who made it.
    pub origin: ChangeOrigin,
    /// Customers that it created.
    pub customers_created: Vec<CustomerId>,
    /// Customers that it changed.
    pub customers_updated: Vec<CustomerId>,
    /// Customers that it deleted.
    pub customers_deleted: Vec<CustomerId>,
    /// Devices that it created.
    pub devices_created: Vec<DeviceId>,
    /// Devices that it changed.
    pub devices_updated: Vec<DeviceId>,
    /// Devices that it deleted.
    pub devices_deleted: Vec<DeviceId>,
    /// Assignments that it created.
    pub assigned: Vec<Pair>,
    /// Assignments that it removed.
    pub unassigned: Vec<Pair>,
}

impl LogEntry {
    pub(super) fn new(kind: ChangeKind, origin: ChangeOrigin) -> Self {
        Self {
            kind,
            origin,
            customers_created: Vec::new(),
            customers_updated: Vec::new(),
            customers_deleted: Vec::new(),
            devices_created: Vec::new(),
            devices_updated: Vec::new(),
            devices_deleted: Vec::new(),
            assigned: Vec::new(),
            unassigned: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.only_assigns() && self.assigned.is_empty()
    }

    /// Whether it holds nothing but created assignments.
    fn only_assigns(&self) -> bool {
        self.customers_created.is_empty()
            && self.customers_updated.is_empty()
            && self.customers_deleted.is_empty()
            && self.devices_created.is_empty()
            && self.devices_updated.is_empty()
            && self.devices_deleted.is_empty()
            && self.unassigned.is_empty()
    }
}

/// The kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// What existed when the log began.
    Baseline,
    /// Devices were assigned to a customer.
    Assign,
    /// Devices were unassigned from a customer.
    Unassign,
    /// Devices were assigned to a customer and unassigned from all others.
    Transfer,
    /// Devices were imported from a list.
    Import,
    /// Devices or customers were created or changed.
    Update,
    /// A device or a customer was deleted, or assignments were removed before that.
    Delete,
}

impl ChangeKind {
    /// Its name, as the log stores it and callers read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Assign => "assign",
            Self::Unassign => "unassign",
            Self::Transfer => "transfer",
            Self::Import => "import",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// Who made a change, and on which request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeOrigin {
    /// Who made it.
    pub actor: Actor,
    /// The id of the request. A caller can choose it, so it can be personal data.
    pub request_id: Option<String>,
}

/// Who made a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A caller with this API key.
    ApiKey(ApiKeyId),
    /// An operator on the command line, by name if it is known.
    Operator(Option<String>),
    /// The service itself.
    Service,
}
