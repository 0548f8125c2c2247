//! Commands: what callers want changed. A command says what it touches, and applies itself to the state of its
//! organization. It knows no SQL, and the writer knows no command.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    slice,
};

use super::{
    Error, Field, FieldProblem, Tally, Violations,
    change::{ChangeKind, ChangeOrigin, Revision},
    customer::CustomerKey,
    device::DeviceIdentifier,
    email::Email,
    idempotency::KeyDigest,
    json_object::JsonObject,
    state::{MAX_LISTED_DEVICES, State},
};

/// A change that a caller wants.
pub trait Command: Send + Sync + 'static {
    /// What the caller learns when it is committed.
    type Outcome: Send + Sync + 'static;

    /// The kind of change that it makes.
    const KIND: ChangeKind;

    /// How much work it is, in device identifiers.
    fn weight(&self) -> usize;

    /// Adds everything that has to be read before it can be applied.
    fn touch<'a>(&'a self, touches: &mut Touches<'a>);

    /// Applies it to `state`. It may be applied again to another state, if the first one could not be committed.
    ///
    /// # Errors
    /// A [`Rejection`], after which the state must be unchanged.
    fn apply(&self, state: &mut State<'_>) -> Result<Self::Outcome, Rejection>;

    /// Counts what the command did.
    fn tally(outcome: &Self::Outcome) -> Tally;

    /// The revision of the outcome: of the change, or the one that a command saw that changed nothing. The group was applied to
    /// revision `head`, and made so many changes until the command was done.
    fn revision(_outcome: &Self::Outcome, head: Revision, changes: usize) -> Revision {
        head.after(changes)
    }
}

/// Why a valid command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// No identifier leads to a device, and the command creates none.
    NoValidDevices {
        /// How many distinct identifiers the command has.
        count: usize,
    },
    /// The organization has no customer with the value of this field.
    CustomerNotFound(Field),
    /// The organization has no device with this identifier.
    DeviceNotFound,
    /// Another customer of the organization has this email address.
    CustomerExists,
    /// The device does not exist, and the command does not say which type it is to have.
    TypeRequired,
    /// The device does not exist, or does not belong to this customer.
    NotAssigned,
    /// The idempotency key was used for another request.
    IdempotencyKeyReused,
    /// The call was carried out before, and its answer was erased with a customer that it named.
    AnswerErased,
    /// None of the devices belongs to the customer whom the command expects to own them.
    NotOfExpectedOwner,
    /// The devices have more owners than one command removes.
    TooManyOwners,
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NoValidDevices { count } => Self::NoValidDevices { count },
            Rejection::CustomerNotFound(field) => Self::CustomerNotFound(field),
            Rejection::DeviceNotFound => Self::DeviceNotFound,
            Rejection::CustomerExists => Self::CustomerExists,
            Rejection::TypeRequired => {
                Self::InvalidRequest(Violations::one(Field::Type, FieldProblem::MissingToCreate))
            }
            Rejection::NotAssigned => Self::NotAssigned,
            Rejection::IdempotencyKeyReused => Self::IdempotencyKeyReused,
            Rejection::AnswerErased => Self::AnswerErased,
            Rejection::NotOfExpectedOwner => Self::NotOfExpectedOwner,
            Rejection::TooManyOwners => Self::TooManyOwners,
        }
    }
}

/// Applies `command` to `state`, and records what it changes as one entry of the log.
///
/// # Errors
/// As [`Command::apply`].
pub fn carry_out<C: Command>(
    command: &C,
    state: &mut State<'_>,
    origin: &ChangeOrigin,
) -> Result<C::Outcome, Rejection> {
    state.begin(C::KIND, origin);
    let outcome = command.apply(state);
    debug_assert!(
        outcome.is_ok() || !state.has_changed(),
        "a rejected command changed something"
    );
    state.end();
    outcome
}

/// Everything that the commands of a group touch: what storage reads before they are applied.
#[derive(Debug, Default)]
pub struct Touches<'a> {
    emails: Vec<&'a str>,
    positions: HashMap<&'a str, i32>,
    next_position: i32,
    pairs: HashMap<(Option<i32>, &'a str), i32>,
    commands: i32,
    /// The emails of customers whose devices are counted, and whether they are listed, too.
    counted: BTreeMap<&'a str, bool>,
    removals: usize,
    /// Customers that a command creates, changes or deletes, and the metadata that it gives them.
    customers: Vec<(CustomerKey, Option<&'a str>)>,
    /// Devices whose properties a command reads, or the properties that it gives them.
    properties: Vec<(&'a str, Option<&'a str>)>,
    /// Customers of whose devices so many are read.
    owned: Vec<(CustomerKey, usize)>,
    /// Devices whose owners are read.
    owners: BTreeSet<&'a str>,
    /// How many owners of each are read.
    owner_limit: usize,
    creates_devices: bool,
    needs_types: bool,
    does_more_than_assign: bool,
    keys: Vec<KeyDigest>,
}

/// A device that a group names, and the customer that it is named with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TouchedPair<'a> {
    /// The position of the customer's email in [`Touches::emails`].
    pub customer: Option<i32>,
    /// The identifier of the device.
    pub identifier: &'a str,
    /// The position of the first command that names the pair.
    pub command: i32,
}

impl<'a> Touches<'a> {
    /// Adds what `command` touches, the next one of the group.
    pub fn add<C: Command>(&mut self, command: &'a C) {
        command.touch(self);
        self.commands += 1;
    }

    /// The command assigns these devices to the customer with this email, and may create the customer. `creates` says
    /// whether it creates devices that do not exist.
    pub fn assign(&mut self, email: &'a Email, devices: &'a [DeviceIdentifier], creates: bool) {
        self.pairs(email, devices);
        self.creates_devices |= creates;
    }

    /// The command assigns this device to the customers with these emails, and may create them. `creates` says whether it creates
    /// the device if it does not exist.
    pub fn assign_to_all(&mut self, emails: &'a [Email], device: &'a DeviceIdentifier, creates: bool) {
        for email in emails {
            self.assign(email, slice::from_ref(device), creates);
        }
        // The statement that assigns has one customer for each command.
        self.does_more_than_assign |= emails.len() > 1;
    }

    /// The command assigns these devices to the customer with this email and removes them from all others, at most `limit` for
    /// each device. It may create the customer and, if it `creates`, devices. It has to know the customer with the email
    /// `expected`, too.
    pub fn transfer(
        &mut self,
        email: &'a Email,
        devices: &'a [DeviceIdentifier],
        creates: bool,
        expected: Option<&'a Email>,
        limit: usize,
    ) {
        self.assign(email, devices, creates);
        if let Some(expected) = expected {
            // Any device will do: the customer is found with it.
            self.pairs(expected, devices.get(..1).unwrap_or_default());
        }
        self.removals += devices.len();
        // The customer may be one of the owners.
        self.owners_of(devices, limit + 1);
    }

    /// The command removes these devices from the customer with this email, and has to know how many devices the customer has.
    /// `lists` says whether it has to know which.
    pub fn unassign(&mut self, email: &'a Email, devices: &'a [DeviceIdentifier], lists: bool) {
        self.pairs(email, devices);
        self.removals += devices.len();
        self.does_more_than_assign = true;
        *self.counted.entry(email.as_str()).or_default() |= lists;
    }

    /// The command creates, changes or deletes these devices.
    pub fn devices(&mut self, devices: impl IntoIterator<Item = &'a DeviceIdentifier>) {
        self.does_more_than_assign = true;
        for device in devices {
            self.pairs.entry((None, device.as_str())).or_insert(self.commands);
        }
    }

    /// The command depends on the types of the devices that it names.
    pub fn types(&mut self) {
        self.needs_types = true;
    }

    /// The command gives the device these properties. Without any, it has to know those that the device has.
    pub fn properties(&mut self, device: &'a DeviceIdentifier, new: Option<&'a JsonObject>) {
        self.properties.push((device.as_str(), new.map(JsonObject::as_str)));
    }

    /// The command creates, changes or deletes this customer, or gives it this metadata.
    pub fn customer(&mut self, customer: CustomerKey, metadata: Option<&'a JsonObject>) {
        self.does_more_than_assign = true;
        self.customers.push((customer, metadata.map(JsonObject::as_str)));
    }

    /// The command has to know the devices of the customer, at least `limit` if there are as many.
    pub fn devices_of(&mut self, customer: CustomerKey, limit: usize) {
        self.does_more_than_assign = true;
        self.removals += limit;
        self.owned.push((customer, limit));
    }

    /// The command has to know the owners of the devices, of each at least `limit` if there are as many.
    pub fn owners_of(&mut self, devices: impl IntoIterator<Item = &'a DeviceIdentifier>, limit: usize) {
        self.does_more_than_assign = true;
        self.owners.extend(devices.into_iter().map(DeviceIdentifier::as_str));
        self.owner_limit = self.owner_limit.max(limit);
    }

    /// The command has an idempotency key, whose answer is read and stored.
    pub fn key(&mut self, key: KeyDigest) {
        self.keys.push(key);
        self.does_more_than_assign = true;
    }

    /// The idempotency keys of the commands.
    pub fn keys(&self) -> &[KeyDigest] {
        &self.keys
    }

    fn pairs(&mut self, email: &'a Email, devices: &'a [DeviceIdentifier]) {
        let email = email.as_str();
        let next = self.next_position;
        let customer = *self.positions.entry(email).or_insert(next);
        if customer == next {
            self.emails.push(email);
            self.next_position += 1;
        }
        for device in devices {
            let pair = (Some(customer), device.as_str());
            self.pairs.entry(pair).or_insert(self.commands);
        }
    }

    /// The email of the customer of a pair.
    pub fn email_of(&self, pair: &TouchedPair<'a>) -> Option<&'a str> {
        let position = usize::try_from(pair.customer?).ok()?;
        self.emails.get(position).copied()
    }

    /// The distinct emails of customers.
    pub fn emails(&self) -> &[&'a str] {
        &self.emails
    }

    /// The distinct pairs in the order of their identifiers, in which an index finds each next to the last one.
    pub fn sorted_pairs(&self) -> Vec<TouchedPair<'a>> {
        let pairs = self
            .pairs
            .iter()
            .map(|(&(customer, identifier), &command)| TouchedPair {
                customer,
                identifier,
                command,
            });
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_unstable_by_key(|pair| (pair.identifier, pair.customer));
        pairs
    }

    /// The emails of the customers whose devices have to be counted, and how many of the devices have to be listed at most: a
    /// full answer, and what the group may remove of it.
    pub fn counted(&self) -> impl Iterator<Item = (&'a str, usize)> {
        let limit = MAX_LISTED_DEVICES + self.removals;
        let counted = self.counted.iter();
        counted.map(move |(email, is_listed)| (*email, if *is_listed { limit } else { 0 }))
    }

    /// The customers that commands create, change or delete, and the metadata that they give them.
    pub fn customers(&self) -> &[(CustomerKey, Option<&'a str>)] {
        &self.customers
    }

    /// The devices whose properties commands read, and the properties that commands give to devices.
    pub fn devices_with_properties(&self) -> &[(&'a str, Option<&'a str>)] {
        &self.properties
    }

    /// The customers whose devices have to be read, and how many at least.
    pub fn owned(&self) -> impl Iterator<Item = (&CustomerKey, usize)> {
        self.owned.iter().map(|(customer, limit)| (customer, *limit))
    }

    /// The devices whose owners have to be read, and how many of each at least.
    pub fn owners(&self) -> (Vec<&'a str>, usize) {
        (self.owners.iter().copied().collect(), self.owner_limit)
    }

    /// Whether a command creates devices that do not exist.
    pub fn creates_devices(&self) -> bool {
        self.creates_devices
    }

    /// Whether a command depends on the types of the devices that it names.
    pub fn needs_types(&self) -> bool {
        self.needs_types
    }

    /// Whether the commands do nothing but assign devices. If nothing has to be created, they can be carried out by the
    /// statement that reads what they touch.
    pub fn only_assign(&self) -> bool {
        !self.does_more_than_assign
    }

    /// Whether customers, devices and assignments are all that the commands touch: one statement reads them.
    pub fn needs_one_statement(&self) -> bool {
        self.only_assign() && !self.needs_types
    }
}
