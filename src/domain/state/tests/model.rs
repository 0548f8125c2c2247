//! An organization that carries out one call at a time and knows only names: the model that groups of commands are compared
//! with.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Debug,
    hash::Hash,
};

use uuid::Uuid;

use super::calls::{AnyCommand, CUSTOMERS, Call, DEVICES, PROPERTIES, TYPES, distinct};
use crate::domain::{
    Field, assign_device,
    assign_devices::{self, Fate},
    bulk_update_metadata,
    change::{Actor, ChangeOrigin, ChangeSet, LogEntry, Pair},
    command::{Rejection, carry_out},
    create_or_update_customer, create_or_update_device,
    customer::CustomerData,
    delete_customer, delete_device,
    device::DeviceIdentifier,
    email::Email,
    id::{CustomerId, DeviceId},
    import_devices::Imported,
    state::{DeviceList, Existing, Linked, State},
    transfer_devices, unassign_devices,
};

/// What an organization has, by names alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct World {
    pub(super) customers: BTreeSet<String>,
    /// Identifiers and types.
    pub(super) devices: BTreeMap<String, String>,
    /// Identifiers and properties, of the devices that have any.
    pub(super) properties: BTreeMap<String, String>,
    /// Emails and identifiers.
    pub(super) assignments: BTreeSet<(String, String)>,
}

/// An outcome, by names alone.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Rejected(Rejection),
    Assigned {
        customer: String,
        customer_was_created: bool,
        devices: Vec<(String, DeviceAnswer)>,
    },
    Unassigned {
        customer: String,
        devices: Vec<(String, bool)>,
        remaining: (Vec<String>, usize),
    },
    Imported(Imported),
    /// The device, whether it was created, and of each customer whether it was created and whether it owned the device.
    DeviceAssigned(String, bool, Vec<(String, [bool; 2])>),
    Transferred {
        customer: String,
        customer_was_created: bool,
        devices: Vec<(String, DeviceAnswer, BTreeSet<String>)>,
    },
    /// Identifier, type and properties, and whether it was created or changed.
    DeviceUpdated([String; 3], [bool; 2]),
    /// Whether each device exists, and how many were changed.
    MetadataUpdated(Vec<(String, bool)>, usize),
    CustomerCreated(String),
    /// The name, and how many assignments it had.
    Deleted(String, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeviceAnswer {
    Assigned,
    CreatedAndAssigned,
    AlreadyAssigned,
    Skipped,
}

impl World {
    /// Carries out one call alone, by the letter of the contract.
    pub(super) fn carry_out(&mut self, call: &Call) -> Answer {
        match call {
            Call::Assign {
                customer,
                devices,
                create,
                ..
            } => self.assign(
                CUSTOMERS[*customer],
                &distinct(devices),
                create.map(|device_type| TYPES[device_type]),
            ),
            Call::Unassign {
                customer,
                devices,
                lists_remaining,
            } => self.unassign(CUSTOMERS[*customer], &distinct(devices), *lists_remaining),
            Call::UnassignOne { customer, device } => self.unassign_one(CUSTOMERS[*customer], DEVICES[*device]),
            Call::Import { devices } => self.import(devices),
            Call::AssignDevice {
                device,
                customers,
                create,
            } => self.assign_device(
                DEVICES[*device],
                customers,
                create.map(|device_type| TYPES[device_type]),
            ),
            Call::Transfer {
                customer,
                devices,
                create,
                expected,
            } => self.transfer(
                CUSTOMERS[*customer],
                &distinct(devices),
                create.map(|device_type| TYPES[device_type]),
                expected.map(|expected| CUSTOMERS[expected]),
            ),
            Call::UpdateDevice {
                device,
                device_type,
                properties,
            } => self.update_device(
                DEVICES[*device],
                device_type.map(|device_type| TYPES[device_type]),
                properties.map(|properties| PROPERTIES[properties]),
            ),
            Call::UpdateMetadata { devices } => self.update_metadata(devices),
            Call::DeleteDevice { device } => self.delete_device(DEVICES[*device]),
            Call::CreateCustomer { customer } => self.create_customer(CUSTOMERS[*customer]),
            Call::DeleteCustomer { customer } => self.delete_customer(CUSTOMERS[*customer]),
        }
    }

    fn assign(&mut self, customer: &str, devices: &[&str], create: Option<&str>) -> Answer {
        if create.is_none() && !devices.iter().any(|device| self.devices.contains_key(*device)) {
            return Answer::Rejected(Rejection::NoValidDevices { count: devices.len() });
        }
        let customer_was_created = self.customers.insert(customer.to_owned());
        let mut answers = Vec::new();
        for device in devices {
            let was_known = self.devices.contains_key(*device);
            if let (false, Some(device_type)) = (was_known, create) {
                self.devices.insert((*device).to_owned(), device_type.to_owned());
            }
            let answer = if !self.devices.contains_key(*device) {
                DeviceAnswer::Skipped
            } else if !self.assignments.insert((customer.to_owned(), (*device).to_owned())) {
                DeviceAnswer::AlreadyAssigned
            } else if was_known {
                DeviceAnswer::Assigned
            } else {
                DeviceAnswer::CreatedAndAssigned
            };
            answers.push(((*device).to_owned(), answer));
        }
        Answer::Assigned {
            customer: customer.to_owned(),
            customer_was_created,
            devices: answers,
        }
    }

    fn assign_device(&mut self, device: &str, customers: &[usize], create: Option<&str>) -> Answer {
        let was_known = self.devices.contains_key(device);
        match create {
            _ if was_known => {}
            Some(device_type) => drop(self.devices.insert(device.to_owned(), device_type.to_owned())),
            None => return Answer::Rejected(Rejection::DeviceNotFound),
        }
        let mut answers: Vec<(String, [bool; 2])> = Vec::new();
        for customer in customers.iter().map(|customer| CUSTOMERS[*customer].to_owned()) {
            if answers.iter().all(|(named, _)| *named != customer) {
                let was_created = self.customers.insert(customer.clone());
                let was_assigned = !self.assignments.insert((customer.clone(), device.to_owned()));
                answers.push((customer, [was_created, was_assigned]));
            }
        }
        Answer::DeviceAssigned(device.to_owned(), !was_known, answers)
    }

    fn transfer(&mut self, customer: &str, devices: &[&str], create: Option<&str>, expected: Option<&str>) -> Answer {
        let valid = devices.iter().map(|device| {
            let owners = self.owners_of(device);
            let is_done = owners.iter().eq([customer]);
            match expected {
                Some(expected) => owners.contains(expected) || is_done,
                None => create.is_some() || self.devices.contains_key(*device),
            }
        });
        let valid: Vec<bool> = valid.collect();
        if !valid.contains(&true) {
            let count = devices.len();
            return Answer::Rejected(match expected {
                Some(_) => Rejection::NotOfExpectedOwner,
                None => Rejection::NoValidDevices { count },
            });
        }
        let customer_was_created = self.customers.insert(customer.to_owned());
        let mut answers = Vec::new();
        for (device, is_valid) in devices.iter().zip(valid) {
            let mut others = BTreeSet::new();
            let answer = if is_valid {
                others = self.owners_of(device);
                let was_owner = others.remove(customer);
                self.assignments.retain(|(_, owned)| owned != device);
                self.assignments.insert((customer.to_owned(), (*device).to_owned()));
                let was_known = self.devices.contains_key(*device);
                if let (false, Some(device_type)) = (was_known, create) {
                    self.devices.insert((*device).to_owned(), device_type.to_owned());
                }
                match (was_owner, was_known) {
                    (true, _) => DeviceAnswer::AlreadyAssigned,
                    (false, true) => DeviceAnswer::Assigned,
                    (false, false) => DeviceAnswer::CreatedAndAssigned,
                }
            } else {
                DeviceAnswer::Skipped
            };
            answers.push(((*device).to_owned(), answer, others));
        }
        Answer::Transferred {
            customer: customer.to_owned(),
            customer_was_created,
            devices: answers,
        }
    }

    fn owners_of(&self, device: &str) -> BTreeSet<String> {
        let pairs = self.assignments.iter().filter(|(_, owned)| owned == device);
        pairs.map(|(owner, _)| owner.clone()).collect()
    }

    fn unassign(&mut self, customer: &str, devices: &[&str], lists_remaining: bool) -> Answer {
        if !self.customers.contains(customer) {
            return Answer::Rejected(Rejection::CustomerNotFound(Field::CustomerEmail));
        }
        let answers = devices.iter().map(|device| {
            let pair = (customer.to_owned(), (*device).to_owned());
            ((*device).to_owned(), self.assignments.remove(&pair))
        });
        let devices = answers.collect();
        let remaining = {
            let owned = self.assignments.iter().filter(|(owner, _)| owner == customer);
            let mut identifiers: Vec<_> = owned.map(|(_, device)| device.clone()).collect();
            let count = identifiers.len();
            if !lists_remaining {
                identifiers.clear();
            }
            (identifiers, count)
        };
        Answer::Unassigned {
            customer: customer.to_owned(),
            devices,
            remaining,
        }
    }

    fn unassign_one(&mut self, customer: &str, device: &str) -> Answer {
        let pair = (customer.to_owned(), device.to_owned());
        if self.customers.contains(customer) && !self.assignments.contains(&pair) {
            return Answer::Rejected(Rejection::NotAssigned);
        }
        self.unassign(customer, &[device], true)
    }

    fn import(&mut self, devices: &[(usize, usize)]) -> Answer {
        let last: BTreeMap<_, _> = devices
            .iter()
            .map(|(device, device_type)| (DEVICES[*device], TYPES[*device_type]))
            .collect();
        let mut imported = Imported::default();
        for (device, device_type) in last {
            match self.devices.insert(device.to_owned(), device_type.to_owned()) {
                None => imported.created += 1,
                Some(before) => imported.updated += usize::from(before != device_type),
            }
        }
        Answer::Imported(imported)
    }

    fn update_device(&mut self, device: &str, device_type: Option<&str>, properties: Option<&str>) -> Answer {
        let before = self.devices.get(device).cloned();
        let Some(device_type) = device_type.map(str::to_owned).or_else(|| before.clone()) else {
            return Answer::Rejected(Rejection::TypeRequired);
        };
        self.devices.insert(device.to_owned(), device_type.clone());
        let has_new_type = before.as_ref() != Some(&device_type);
        let has_new_properties = properties.is_some_and(|properties| self.set_properties(device, properties));
        let was_changed = before.is_some() && (has_new_type || has_new_properties);
        Answer::DeviceUpdated(
            [device.to_owned(), device_type, self.properties_of(device)],
            [before.is_none(), was_changed],
        )
    }

    fn update_metadata(&mut self, devices: &BTreeMap<usize, usize>) -> Answer {
        let mut changed = 0;
        let devices = devices.iter().map(|(device, properties)| {
            let exists = self.devices.contains_key(DEVICES[*device]);
            if exists {
                changed += usize::from(self.set_properties(DEVICES[*device], PROPERTIES[*properties]));
            }
            (DEVICES[*device].to_owned(), exists)
        });
        let devices = devices.collect();
        Answer::MetadataUpdated(devices, changed)
    }

    fn delete_device(&mut self, device: &str) -> Answer {
        if self.devices.remove(device).is_none() {
            return Answer::Rejected(Rejection::DeviceNotFound);
        }
        self.properties.remove(device);
        let before = self.assignments.len();
        self.assignments.retain(|(_, owned)| owned != device);
        Answer::Deleted(device.to_owned(), before - self.assignments.len())
    }

    fn create_customer(&mut self, customer: &str) -> Answer {
        if !self.customers.insert(customer.to_owned()) {
            return Answer::Rejected(Rejection::CustomerExists);
        }
        Answer::CustomerCreated(customer.to_owned())
    }

    fn delete_customer(&mut self, customer: &str) -> Answer {
        if !self.customers.remove(customer) {
            return Answer::Rejected(Rejection::CustomerNotFound(Field::Email));
        }
        let before = self.assignments.len();
        self.assignments.retain(|(owner, _)| owner != customer);
        Answer::Deleted(customer.to_owned(), before - self.assignments.len())
    }

    fn properties_of(&self, device: &str) -> String {
        self.properties.get(device).map_or("{}", String::as_str).to_owned()
    }

    /// Whether the device had others.
    fn set_properties(&mut self, device: &str, properties: &str) -> bool {
        let before = if properties == "{}" {
            self.properties.remove(device)
        } else {
            self.properties.insert(device.to_owned(), properties.to_owned())
        };
        before.as_deref().unwrap_or("{}") != properties
    }

    /// The same with ids, as the database returns it.
    pub(super) fn existing(&self, ids: &mut Ids) -> Existing {
        let mut existing = Existing::default();
        for email in &self.customers {
            let id = ids.customers.id_of(email).unwrap_or_else(|| {
                let id = CustomerId::from_uuid(ids.next());
                ids.customers.learn(id, email);
                id
            });
            existing.customers.insert(email.clone(), id);
            existing.listed.insert(id, DeviceList::default());
            let data = CustomerData::new(Email::from_stored(email.clone()));
            existing.data.insert(id, data);
            existing.owned.insert(id, Linked::default());
        }
        for (identifier, device_type) in &self.devices {
            let id = ids.devices.id_of(identifier).unwrap_or_else(|| {
                let id = DeviceId::from_uuid(ids.next());
                ids.devices.learn(id, identifier);
                id
            });
            existing.devices.insert(identifier.clone(), id);
            existing.types.insert(id, device_type.clone());
            existing.properties.insert(id, self.properties_of(identifier));
            existing.owners.insert(id, Linked::default());
        }
        for (email, identifier) in &self.assignments {
            let pair = (existing.customers[email], existing.devices[identifier]);
            existing.assignments.insert(pair);
            let list = existing.listed.entry(pair.0).or_default();
            list.first.insert(identifier.clone(), pair.1);
            list.count += 1;
            existing.owned.entry(pair.0).or_default().known.push(pair.1);
            existing.owners.entry(pair.1).or_default().known.push(pair.0);
        }
        for owned in existing.owned.values_mut() {
            owned.known.sort_unstable();
        }
        for owners in existing.owners.values_mut() {
            owners.known.sort_unstable();
        }
        existing
    }

    /// Writes a change set, as the database would.
    pub(super) fn write(&mut self, changes: &ChangeSet, ids: &Ids) {
        for pair in &changes.unassigned {
            assert!(self.assignments.remove(&ids.pair(pair)), "{pair:?} is not assigned");
        }
        for customer in &changes.customers_deleted {
            assert!(
                self.customers.remove(&ids.customers.name(customer)),
                "{customer} does not exist"
            );
        }
        for device in &changes.devices_deleted {
            let identifier = ids.devices.name(device);
            self.properties.remove(&identifier);
            assert!(self.devices.remove(&identifier).is_some(), "{device} does not exist");
        }
        assert!(
            changes.customers_updated.is_empty(),
            "no call of the model changes a customer"
        );
        for customer in &changes.customers {
            assert!(
                self.customers.insert(customer.data.email.to_string()),
                "{customer:?} exists"
            );
        }
        for device in &changes.devices {
            let identifier = device.identifier.to_string();
            let before = self.devices.insert(identifier.clone(), device.device_type.to_string());
            assert_eq!(before, None, "{device:?} exists");
            if let Some(properties) = &device.properties {
                self.set_properties(&identifier, properties.as_str());
            }
        }
        for (identifier, device_type) in &changes.types {
            let before = self.devices.insert(identifier.to_string(), device_type.to_string());
            assert!(before.is_some(), "{identifier:?} does not exist");
        }
        for (identifier, properties) in &changes.properties {
            assert!(
                self.devices.contains_key(identifier.as_str()),
                "{identifier:?} does not exist"
            );
            self.set_properties(identifier.as_str(), properties.as_str());
        }
        for pair in &changes.assigned {
            assert!(self.assignments.insert(ids.pair(pair)), "{pair:?} is assigned");
        }
    }

    /// Replays the log, which knows who exists and who owns what, but no types.
    pub(super) fn replay(&mut self, log: &[LogEntry], ids: &Ids) {
        for entry in log {
            for customer in &entry.customers_created {
                assert!(self.customers.insert(ids.customers.name(customer)), "{customer} exists");
            }
            for device in &entry.devices_created {
                let before = self.devices.insert(ids.devices.name(device), String::new());
                assert_eq!(before, None, "{device} exists");
            }
            for pair in &entry.unassigned {
                assert!(self.assignments.remove(&ids.pair(pair)), "{pair:?} is not assigned");
            }
            for customer in &entry.customers_deleted {
                assert!(
                    self.customers.remove(&ids.customers.name(customer)),
                    "{customer} does not exist"
                );
            }
            for device in &entry.devices_deleted {
                let before = self.devices.remove(&ids.devices.name(device));
                assert!(before.is_some(), "{device} does not exist");
            }
            for device in &entry.devices_updated {
                assert!(
                    self.devices.contains_key(&ids.devices.name(device)),
                    "{device} does not exist"
                );
            }
            for pair in &entry.assigned {
                assert!(self.assignments.insert(ids.pair(pair)), "{pair:?} is assigned");
            }
        }
    }

    /// Without the types and properties, which the log does not know.
    pub(super) fn without_types(mut self) -> Self {
        self.properties.clear();
        for device_type in self.devices.values_mut() {
            device_type.clear();
        }
        self
    }
}

/// The ids that were made so far, and the name behind each.
#[derive(Default)]
pub(super) struct Ids {
    made: u128,
    pub(super) customers: Names<CustomerId>,
    pub(super) devices: Names<DeviceId>,
}

impl Ids {
    /// A fresh id. They do not ascend, so that nothing is in key order by chance.
    fn next(&mut self) -> Uuid {
        self.made += 1;
        Uuid::from_u128(self.made.reverse_bits())
    }

    fn pair(&self, (customer, device): &Pair) -> (String, String) {
        (self.customers.name(customer), self.devices.name(device))
    }

    /// Carries out a group of calls on what exists.
    pub(super) fn carry_out(&mut self, existing: &Existing, calls: &[Call]) -> (Vec<Answer>, ChangeSet) {
        let origin = ChangeOrigin {
            actor: Actor::Service,
            request_id: None,
        };
        let mut new_id = || self.next();
        let mut state = State::new(existing, &mut new_id);
        let mut met = Vec::new();
        let outcomes: Vec<_> = calls
            .iter()
            .map(|call| {
                let outcome = match call.command() {
                    AnyCommand::Assign(command) => Outcome::Assigned(carry_out(&command, &mut state, &origin)),
                    AnyCommand::AssignDevice(command) => {
                        Outcome::DeviceAssigned(carry_out(&command, &mut state, &origin))
                    }
                    AnyCommand::Transfer(command) => Outcome::Transferred(carry_out(&command, &mut state, &origin)),
                    AnyCommand::Unassign(command) => Outcome::Unassigned(carry_out(&command, &mut state, &origin)),
                    AnyCommand::Import(command) => Outcome::Imported(carry_out(&command, &mut state, &origin)),
                    AnyCommand::UpdateDevice(command) => {
                        Outcome::DeviceUpdated(carry_out(&command, &mut state, &origin))
                    }
                    AnyCommand::UpdateMetadata(command) => {
                        Outcome::MetadataUpdated(carry_out(&command, &mut state, &origin))
                    }
                    AnyCommand::DeleteDevice(command) => {
                        Outcome::DeviceDeleted(carry_out(&command, &mut state, &origin))
                    }
                    AnyCommand::CreateCustomer(command) => {
                        Outcome::CustomerCreated(carry_out(&command, &mut state, &origin))
                    }
                    AnyCommand::DeleteCustomer(command) => {
                        Outcome::CustomerDeleted(carry_out(&command, &mut state, &origin))
                    }
                };
                met.push((
                    CUSTOMERS.map(|email| state.customer(&Email::parse(email).expect("an address"))),
                    DEVICES.map(|name| state.device(&DeviceIdentifier::parse(name).expect("an identifier"))),
                ));
                outcome
            })
            .collect();
        let changes = state.into_changes();
        for (customers, devices) in met {
            self.customers.meet(&CUSTOMERS, &customers);
            self.devices.meet(&DEVICES, &devices);
        }
        let answers = outcomes.into_iter().map(|outcome| self.answer(outcome)).collect();
        (answers, changes)
    }

    /// An outcome by names.
    pub(super) fn answer(&self, outcome: Outcome) -> Answer {
        match outcome {
            Outcome::Assigned(Err(rejection))
            | Outcome::DeviceAssigned(Err(rejection))
            | Outcome::Transferred(Err(rejection))
            | Outcome::Unassigned(Err(rejection))
            | Outcome::Imported(Err(rejection))
            | Outcome::DeviceUpdated(Err(rejection))
            | Outcome::MetadataUpdated(Err(rejection))
            | Outcome::DeviceDeleted(Err(rejection))
            | Outcome::CustomerCreated(Err(rejection))
            | Outcome::CustomerDeleted(Err(rejection)) => Answer::Rejected(rejection),
            Outcome::Assigned(Ok(outcome)) => self.assigned(&outcome),
            Outcome::DeviceAssigned(Ok(outcome)) => {
                let customers = outcome.customers.iter().map(|customer| {
                    assert_eq!(self.customers.name(&customer.id), customer.email.as_str());
                    (
                        customer.email.as_str().to_owned(),
                        [customer.was_created, customer.was_assigned],
                    )
                });
                let customers = customers.collect();
                let device = self.devices.name(&outcome.device_id);
                Answer::DeviceAssigned(device, outcome.device_was_created, customers)
            }
            Outcome::Transferred(Ok(outcome)) => {
                let devices = outcome.devices.iter().map(|device| {
                    let answer = self.device_answer(&device.identifier, device.fate);
                    let owners = device.previous_owners.iter().map(|owner| self.customers.name(owner));
                    (device.identifier.to_string(), answer, owners.collect())
                });
                Answer::Transferred {
                    customer: self.customers.name(&outcome.customer_id),
                    customer_was_created: outcome.customer_was_created,
                    devices: devices.collect(),
                }
            }
            Outcome::Unassigned(Ok(outcome)) => Answer::Unassigned {
                customer: self.customers.name(&outcome.customer_id),
                devices: outcome
                    .devices
                    .iter()
                    .map(|(identifier, was_removed)| (identifier.to_string(), *was_removed))
                    .collect(),
                remaining: (outcome.remaining.identifiers, outcome.remaining.count),
            },
            Outcome::Imported(Ok(imported)) => Answer::Imported(imported),
            Outcome::DeviceUpdated(Ok(outcome)) => {
                assert_eq!(self.devices.name(&outcome.device_id), outcome.identifier.as_str());
                let flags = [outcome.was_created, outcome.was_changed];
                let identifier = outcome.identifier.to_string();
                Answer::DeviceUpdated([identifier, outcome.device_type, outcome.properties], flags)
            }
            Outcome::MetadataUpdated(Ok(outcome)) => {
                let devices = outcome.devices.iter();
                let devices = devices.map(|(identifier, device)| (identifier.to_string(), device.is_some()));
                Answer::MetadataUpdated(devices.collect(), outcome.changed)
            }
            Outcome::CustomerCreated(Ok(outcome)) => {
                assert!(outcome.was_created && !outcome.was_changed);
                Answer::CustomerCreated(self.customers.name(&outcome.customer_id))
            }
            Outcome::DeviceDeleted(Ok(outcome)) => {
                assert!(outcome.is_deleted, "few owners are removed at once");
                Answer::Deleted(self.devices.name(&outcome.device_id), outcome.unassigned)
            }
            Outcome::CustomerDeleted(Ok(outcome)) => {
                assert!(outcome.is_deleted, "few devices are removed at once");
                Answer::Deleted(self.customers.name(&outcome.customer_id), outcome.unassigned)
            }
        }
    }

    fn device_answer(&self, identifier: &DeviceIdentifier, fate: Fate) -> DeviceAnswer {
        let (device_id, answer) = match fate {
            Fate::Skipped => return DeviceAnswer::Skipped,
            Fate::AlreadyAssigned { device_id } => (device_id, DeviceAnswer::AlreadyAssigned),
            Fate::Assigned {
                device_id,
                was_created: true,
            } => (device_id, DeviceAnswer::CreatedAndAssigned),
            Fate::Assigned { device_id, .. } => (device_id, DeviceAnswer::Assigned),
        };
        assert_eq!(self.devices.name(&device_id), identifier.as_str());
        answer
    }

    fn assigned(&self, outcome: &assign_devices::Outcome) -> Answer {
        let devices = outcome
            .devices
            .iter()
            .map(|(identifier, fate)| (identifier.to_string(), self.device_answer(identifier, *fate)));
        Answer::Assigned {
            customer: self.customers.name(&outcome.customer_id),
            customer_was_created: outcome.customer_was_created,
            devices: devices.collect(),
        }
    }
}

/// The outcome of any of the commands.
pub(super) enum Outcome {
    Assigned(Result<assign_devices::Outcome, Rejection>),
    DeviceAssigned(Result<assign_device::Outcome, Rejection>),
    Transferred(Result<transfer_devices::Outcome, Rejection>),
    Unassigned(Result<unassign_devices::Outcome, Rejection>),
    Imported(Result<Imported, Rejection>),
    DeviceUpdated(Result<create_or_update_device::Outcome, Rejection>),
    MetadataUpdated(Result<bulk_update_metadata::Outcome, Rejection>),
    DeviceDeleted(Result<delete_device::Outcome, Rejection>),
    CustomerCreated(Result<create_or_update_customer::Outcome, Rejection>),
    CustomerDeleted(Result<delete_customer::Outcome, Rejection>),
}

/// Names by id. No id has two names; a name has another id only after what it named was deleted.
pub(super) struct Names<Id> {
    names: HashMap<Id, String>,
    current: HashMap<String, Id>,
}

impl<Id> Default for Names<Id> {
    fn default() -> Self {
        Self {
            names: HashMap::new(),
            current: HashMap::new(),
        }
    }
}

impl<Id: Copy + Debug + Eq + Hash> Names<Id> {
    fn learn(&mut self, id: Id, name: &str) {
        let before = self.current.insert(name.to_owned(), id);
        assert_eq!(before, None, "{name} has two ids");
        self.note(id, name);
    }

    /// Notes the name of an id, in any order of answers.
    pub(super) fn note(&mut self, id: Id, name: &str) {
        let known = self.names.entry(id).or_insert_with(|| name.to_owned());
        assert_eq!(known, name, "two things have one id");
    }

    /// What has this name was deleted.
    fn forget(&mut self, name: &str) {
        self.current.remove(name);
    }

    /// Notes which id each name has now.
    fn meet(&mut self, names: &[&str], ids: &[Option<Id>]) {
        for (name, id) in names.iter().zip(ids) {
            match id {
                Some(id) if self.id_of(name) == Some(*id) => {}
                Some(id) => {
                    self.forget(name);
                    self.learn(*id, name);
                }
                None => self.forget(name),
            }
        }
    }

    fn name(&self, id: &Id) -> String {
        let Some(name) = self.names.get(id) else {
            panic!("{id:?} names nothing");
        };
        name.clone()
    }

    fn id_of(&self, name: &str) -> Option<Id> {
        self.current.get(name).copied()
    }
}
