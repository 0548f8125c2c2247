//! The state of an organization as a group of commands sees it: what exists, and what earlier commands of the group changed.

mod customers;
mod devices;

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::{
    answers::{Answers, StoredAnswer},
    change::{ChangeKind, ChangeOrigin, ChangeSet, LogEntry, Pair},
    customer::CustomerData,
    device::{DeviceIdentifier, DeviceType},
    email::Email,
    id::{CustomerId, DeviceId},
    idempotency::KeyDigest,
    json_object::JsonObject,
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
    /// The properties of devices, if a command asks for them or wants to set the same.
    pub properties: HashMap<DeviceId, String>,
    /// What is stored of customers, if a command asks for it. The metadata is there if a command wants to set the same.
    pub data: HashMap<CustomerId, CustomerData>,
    /// The assignments among these customers and devices, and those of `owned` and `owners`.
    pub assignments: HashSet<Pair>,
    /// The devices of customers, if a command asks for their number or for the first of them by identifier.
    pub listed: HashMap<CustomerId, DeviceList>,
    /// The devices of customers, if a command asks for them.
    pub owned: HashMap<CustomerId, Linked<DeviceId>>,
    /// The owners of devices, if a command asks for them.
    pub owners: HashMap<DeviceId, Linked<CustomerId>>,
    /// The stored answers for the idempotency keys of the commands.
    pub answers: HashMap<KeyDigest, StoredAnswer>,
}

/// What is assigned to a customer, or the customers that a device is assigned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked<Id> {
    /// The ids that were read, in order.
    pub known: Vec<Id>,
    /// Whether there are no others.
    pub is_complete: bool,
}

impl<Id> Linked<Id> {
    /// The first `limit` of `ids`, which are in order and one more than `limit` if there are as many.
    pub fn first(ids: impl IntoIterator<Item = Id>, limit: usize) -> Self {
        let mut known: Vec<_> = ids.into_iter().collect();
        let is_complete = known.len() <= limit;
        known.truncate(limit);
        Self { known, is_complete }
    }
}

impl<Id> Default for Linked<Id> {
    fn default() -> Self {
        Self {
            known: Vec::new(),
            is_complete: true,
        }
    }
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
    /// Whose each email address is now, for the addresses of which that was changed.
    customers: HashMap<Email, Option<CustomerId>>,
    /// What is known of customers that were created, changed or deleted.
    data: HashMap<CustomerId, Option<CustomerData>>,
    created_customers: HashSet<CustomerId>,
    /// Which device each identifier means now, for the identifiers of which that was changed.
    devices: HashMap<DeviceIdentifier, Option<DeviceId>>,
    /// The positions of created devices in the change set.
    created_devices: HashMap<DeviceId, usize>,
    types: BTreeMap<DeviceIdentifier, DeviceType>,
    properties: BTreeMap<DeviceIdentifier, JsonObject>,
    /// Whether a pair is assigned now, for the pairs of which that was changed.
    pairs: HashMap<Pair, bool>,
    changes: ChangeSet,
    entry: Option<LogEntry>,
    answers: Answers<'e>,
}

impl<'e> State<'e> {
    /// The state before the first command. `new_id` makes the ids of what is created.
    pub fn new(existing: &'e Existing, new_id: &'e mut (dyn FnMut() -> Uuid + Send)) -> Self {
        Self {
            existing,
            new_id,
            customers: HashMap::new(),
            data: HashMap::new(),
            created_customers: HashSet::new(),
            devices: HashMap::new(),
            created_devices: HashMap::new(),
            types: BTreeMap::new(),
            properties: BTreeMap::new(),
            pairs: HashMap::new(),
            changes: ChangeSet::default(),
            entry: None,
            answers: Answers::new(&existing.answers),
        }
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
        let first = existing.first.iter().map(|(name, id)| (name.as_str(), *id));
        let was_removed = |id| self.pairs.get(&(customer, id)) == Some(&false);
        let mut first: BTreeMap<&str, DeviceId> = first.filter(|(_, id)| !was_removed(*id)).collect();
        // What is behind the end of a list that was cut is only counted.
        let is_cut = existing.count > existing.first.len();
        let end = existing.first.last_key_value().map(|(name, _)| name.as_str());
        let end = end.filter(|_| is_cut);
        let changed = self.pairs.iter().filter(|((owner, _), _)| *owner == customer);
        let mut count = existing.count;
        for (pair, assigned) in changed {
            match (self.existing.assignments.contains(pair), assigned) {
                (false, true) => count += 1,
                (true, false) => count = count.saturating_sub(1),
                _ => {}
            }
        }
        let touched = self
            .existing
            .devices
            .iter()
            .map(|(name, id)| (name.as_str(), Some(*id)));
        let changed = self.devices.iter().map(|(name, id)| (name.as_str(), *id));
        for (name, device) in touched.chain(changed) {
            let Some(device) = device else { continue };
            if self.pairs.get(&(customer, device)) == Some(&true) && end.is_none_or(|end| name < end) {
                first.insert(name, device);
            }
        }
        let listed = first.into_keys().take(MAX_LISTED_DEVICES).map(str::to_owned);
        (listed.collect(), count)
    }

    /// The devices of a customer. The command must have asked for them.
    pub fn devices_owned_by(&self, customer: CustomerId) -> Linked<DeviceId> {
        self.linked(
            self.existing.owned.get(&customer),
            |(owner, device)| (owner == customer).then_some(device),
            |device| (customer, device),
        )
    }

    /// The owners of a device. The command must have asked for them.
    pub fn owners_of(&self, device: DeviceId) -> Linked<CustomerId> {
        self.linked(
            self.existing.owners.get(&device),
            |(customer, owned)| (owned == device).then_some(customer),
            |customer| (customer, device),
        )
    }

    /// What is linked now: those of `existing` that still are, and those that were added.
    fn linked<Id: Copy + Ord>(
        &self,
        existing: Option<&Linked<Id>>,
        other_end: impl Fn(Pair) -> Option<Id>,
        pair_with: impl Fn(Id) -> Pair,
    ) -> Linked<Id> {
        let known = existing.iter().flat_map(|linked| &linked.known).copied();
        let added = self.pairs.keys().filter_map(|pair| other_end(*pair));
        let mut known: Vec<_> = known
            .chain(added)
            .filter(|id| self.is_assigned(pair_with(*id)))
            .collect();
        known.sort_unstable();
        known.dedup();
        Linked {
            known,
            is_complete: existing.is_none_or(|linked| linked.is_complete),
        }
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
        self.answers.end(self.changes.log.len());
    }

    /// How many commands so far have an entry in the log.
    pub fn change_count(&self) -> usize {
        self.changes.log.len()
    }

    /// Forgets the stored answers that name this customer, who is erased.
    pub(super) fn erase_answers(&mut self, customer: CustomerId) {
        self.answers.erase(customer);
    }

    /// The answers for idempotency keys.
    pub(super) fn answers(&mut self) -> &mut Answers<'e> {
        &mut self.answers
    }

    fn record(&mut self, change: impl FnOnce(&mut LogEntry)) {
        if let Some(entry) = &mut self.entry {
            change(entry);
        }
    }

    /// Everything that the commands changed. What one command did and a later one undid is in the log alone.
    pub fn into_changes(mut self) -> ChangeSet {
        let mut changes = std::mem::take(&mut self.changes);
        let answers = std::mem::replace(&mut self.answers, Answers::new(&self.existing.answers));
        (changes.erased, changes.answers) = answers.into_changes();
        self.customer_changes(&mut changes);
        self.device_changes(&mut changes);
        for (pair, assigned) in self.pairs {
            match (self.existing.assignments.contains(&pair), assigned) {
                (false, true) => changes.assigned.push(pair),
                (true, false) => changes.unassigned.push(pair),
                _ => {}
            }
        }
        changes.assigned.sort_unstable();
        changes.unassigned.sort_unstable();
        changes
    }
}

#[cfg(test)]
mod tests;
