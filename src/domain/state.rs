//! The state of an organization as a group of commands sees it: what exists, and what earlier commands of the group changed.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::{
    change::{ChangeKind, ChangeOrigin, ChangeSet, LogEntry, NewCustomer, NewDevice, Pair},
    device::{DeviceIdentifier, DeviceType},
    email::Email,
    id::{CustomerId, DeviceId},
};

/// The most devices that an answer lists of a customer.
pub const MAX_LISTED_DEVICES: usize = 10_000;

/// What an organization has of all that a group of commands touches.
#[derive(Debug, Clone, Default)]
pub struct Existing {
    /// Customers, by email address.
    pub customers: HashMap<String, CustomerId>,
    /// Devices, by identifier.
    pub devices: HashMap<String, DeviceId>,
    /// The types of these devices, if a command asks for them.
    pub types: HashMap<DeviceId, String>,
    /// The assignments among these customers and devices.
    pub assignments: HashSet<Pair>,
    /// The devices of customers, if a command asks for them or for their number.
    pub listed: HashMap<CustomerId, DeviceList>,
}

/// The devices of a customer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceList {
    /// The first of them, in the order of their identifiers.
    pub first: BTreeMap<String, DeviceId>,
    /// How many there are in all.
    pub count: usize,
}

/// What exists, and what the commands applied so far have changed.
pub struct State<'e> {
    existing: &'e Existing,
    new_id: &'e mut (dyn FnMut() -> Uuid + Send),
    customers: HashMap<Email, CustomerId>,
    devices: HashMap<DeviceIdentifier, DeviceId>,
    /// The positions of created devices in the change set.
    created: HashMap<DeviceId, usize>,
    types: BTreeMap<DeviceIdentifier, DeviceType>,
    /// Whether a pair is assigned now, for the pairs of which that was changed.
    pairs: HashMap<Pair, bool>,
    changes: ChangeSet,
    entry: Option<LogEntry>,
}

impl<'e> State<'e> {
    /// The state before the first command. `new_id` makes the ids of what is created.
    pub fn new(existing: &'e Existing, new_id: &'e mut (dyn FnMut() -> Uuid + Send)) -> Self {
        Self {
            existing,
            new_id,
            customers: HashMap::new(),
            devices: HashMap::new(),
            created: HashMap::new(),
            types: BTreeMap::new(),
            pairs: HashMap::new(),
            changes: ChangeSet::default(),
            entry: None,
        }
    }

    /// The customer with this address.
    pub fn customer(&self, email: &Email) -> Option<CustomerId> {
        let existing = self.existing.customers.get(email.as_str());
        existing.or_else(|| self.customers.get(email)).copied()
    }

    /// The customer with this address, and whether it was created just now.
    pub fn find_or_create_customer(&mut self, email: &Email) -> (CustomerId, bool) {
        if let Some(id) = self.customer(email) {
            return (id, false);
        }
        let id = CustomerId::from_uuid((self.new_id)());
        self.customers.insert(email.clone(), id);
        let email = email.clone();
        self.changes.customers.push(NewCustomer { id, email });
        self.record(|entry| entry.customers_created.push(id));
        (id, true)
    }

    /// The device with this identifier.
    pub fn device(&self, identifier: &DeviceIdentifier) -> Option<DeviceId> {
        let existing = self.existing.devices.get(identifier.as_str());
        existing.or_else(|| self.devices.get(identifier)).copied()
    }

    /// Creates a device. There must be none with this identifier.
    pub fn create_device(&mut self, identifier: &DeviceIdentifier, device_type: &DeviceType) -> DeviceId {
        let id = DeviceId::from_uuid((self.new_id)());
        self.devices.insert(identifier.clone(), id);
        self.created.insert(id, self.changes.devices.len());
        self.changes.devices.push(NewDevice {
            id,
            identifier: identifier.clone(),
            device_type: device_type.clone(),
        });
        self.record(|entry| entry.devices_created.push(id));
        id
    }

    /// Gives a device this type. Returns whether it had another one.
    pub fn set_type(&mut self, (identifier, device): (&DeviceIdentifier, DeviceId), device_type: &DeviceType) -> bool {
        let created = self.created.get(&device).copied();
        let created = created.and_then(|position| self.changes.devices.get_mut(position));
        let known = created.as_ref().map(|created| created.device_type.as_str());
        let known = known.or_else(|| self.types.get(identifier).map(DeviceType::as_str));
        let known = known.or_else(|| self.existing.types.get(&device).map(String::as_str));
        if known == Some(device_type.as_str()) {
            return false;
        }
        match created {
            Some(created) => created.device_type = device_type.clone(),
            None => {
                self.types.insert(identifier.clone(), device_type.clone());
            }
        }
        self.record(|entry| entry.devices_updated.push(device));
        true
    }

    /// Whether the device belongs to the customer.
    pub fn is_assigned(&self, pair: Pair) -> bool {
        let changed = self.pairs.get(&pair).copied();
        changed.unwrap_or_else(|| self.existing.assignments.contains(&pair))
    }

    /// Assigns the device to the customer. Returns whether it was not assigned before.
    pub fn assign(&mut self, pair: Pair) -> bool {
        self.set_assigned(pair, true)
    }

    /// Removes the device from the customer. Returns whether it was assigned before.
    pub fn unassign(&mut self, pair: Pair) -> bool {
        self.set_assigned(pair, false)
    }

    fn set_assigned(&mut self, pair: Pair, assigned: bool) -> bool {
        if self.is_assigned(pair) == assigned {
            return false;
        }
        self.pairs.insert(pair, assigned);
        self.record(|entry| {
            let pairs = if assigned {
                &mut entry.assigned
            } else {
                &mut entry.unassigned
            };
            pairs.push(pair);
        });
        true
    }

    /// The identifiers of the customer's devices, in their order and at most [`MAX_LISTED_DEVICES`], and how many devices
    /// there are. The identifiers are right only if the command has asked for them.
    pub fn devices_of(&self, customer: CustomerId) -> (Vec<String>, usize) {
        let none = DeviceList::default();
        let existing = self.existing.listed.get(&customer).unwrap_or(&none);
        let mut first: BTreeMap<&str, DeviceId> =
            existing.first.iter().map(|(name, id)| (name.as_str(), *id)).collect();
        // What is behind the end of a list that was cut is only counted.
        let is_cut = existing.count > existing.first.len();
        let end = existing.first.last_key_value().map(|(name, _)| name.as_str());
        let end = end.filter(|_| is_cut);
        let mut count = existing.count;
        let created = self.devices.iter().map(|(name, id)| (name.as_str(), *id));
        let touched = self.existing.devices.iter().map(|(name, id)| (name.as_str(), *id));
        for (name, device) in touched.chain(created) {
            let pair = (customer, device);
            let Some(assigned) = self.pairs.get(&pair).copied() else {
                continue;
            };
            match (self.existing.assignments.contains(&pair), assigned) {
                (false, true) => {
                    count += 1;
                    if end.is_none_or(|end| name < end) {
                        first.insert(name, device);
                    }
                }
                (true, false) => {
                    count = count.saturating_sub(1);
                    first.remove(name);
                }
                _ => {}
            }
        }
        let listed = first.into_keys().take(MAX_LISTED_DEVICES).map(str::to_owned);
        (listed.collect(), count)
    }

    /// Begins the entry of a command in the log.
    pub(super) fn begin(&mut self, kind: ChangeKind, origin: &ChangeOrigin) {
        self.entry = Some(LogEntry::new(kind, origin.clone()));
    }

    /// Whether the command that was begun has changed anything.
    pub(super) fn has_changed(&self) -> bool {
        self.entry.as_ref().is_some_and(|entry| !entry.is_empty())
    }

    /// Ends the entry of a command. A command that changed nothing has none.
    pub(super) fn end(&mut self) {
        let entry = self.entry.take().filter(|entry| !entry.is_empty());
        self.changes.log.extend(entry);
    }

    /// How many commands so far have an entry in the log.
    pub fn change_count(&self) -> usize {
        self.changes.log.len()
    }

    fn record(&mut self, change: impl FnOnce(&mut LogEntry)) {
        if let Some(entry) = &mut self.entry {
            change(entry);
        }
    }

    /// Everything that the commands changed. What one command did and a later one undid is in the log alone.
    pub fn into_changes(self) -> ChangeSet {
        let Self {
            existing,
            types,
            pairs,
            mut changes,
            ..
        } = self;
        changes.types = types.into_iter().collect();
        for (pair, assigned) in pairs {
            match (existing.assignments.contains(&pair), assigned) {
                (false, true) => changes.assigned.push(pair),
                (true, false) => changes.unassigned.push(pair),
                _ => {}
            }
        }
        changes
            .customers
            .sort_unstable_by(|one, other| one.email.cmp(&other.email));
        changes
            .devices
            .sort_unstable_by(|one, other| one.identifier.cmp(&other.identifier));
        changes.assigned.sort_unstable();
        changes.unassigned.sort_unstable();
        changes
    }
}

#[cfg(test)]
mod tests;
