//! An organization that carries out one call at a time and knows only names: the model that groups of commands are compared
//! with.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Debug,
    hash::Hash,
};

use uuid::Uuid;

use super::calls::{AnyCommand, CUSTOMERS, Call, DEVICES, TYPES, distinct};
use crate::domain::{
    assign_devices::{self, Fate},
    change::{Actor, ChangeOrigin, ChangeSet, LogEntry, Pair},
    command::{Rejection, carry_out},
    id::{CustomerId, DeviceId},
    import_devices::Imported,
    state::{DeviceList, Existing, State},
    unassign_devices,
};

/// What an organization has, by names alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct World {
    pub(super) customers: BTreeSet<String>,
    /// Identifiers and types.
    pub(super) devices: BTreeMap<String, String>,
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

    fn unassign(&mut self, customer: &str, devices: &[&str], lists_remaining: bool) -> Answer {
        if !self.customers.contains(customer) {
            return Answer::Rejected(Rejection::CustomerNotFound);
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
        }
        for (identifier, device_type) in &self.devices {
            let id = ids.devices.id_of(identifier).unwrap_or_else(|| {
                let id = DeviceId::from_uuid(ids.next());
                ids.devices.learn(id, identifier);
                id
            });
            existing.devices.insert(identifier.clone(), id);
            existing.types.insert(id, device_type.clone());
        }
        for (email, identifier) in &self.assignments {
            let pair = (existing.customers[email], existing.devices[identifier]);
            existing.assignments.insert(pair);
            let list = existing.listed.entry(pair.0).or_default();
            list.first.insert(identifier.clone(), pair.1);
            list.count += 1;
        }
        existing
    }

    /// Writes a change set, as the database would.
    pub(super) fn write(&mut self, changes: &ChangeSet, ids: &Ids) {
        for customer in &changes.customers {
            assert!(self.customers.insert(customer.email.to_string()), "{customer:?} exists");
        }
        for device in &changes.devices {
            let before = self
                .devices
                .insert(device.identifier.to_string(), device.device_type.to_string());
            assert_eq!(before, None, "{device:?} exists");
        }
        for (identifier, device_type) in &changes.types {
            let before = self.devices.insert(identifier.to_string(), device_type.to_string());
            assert!(before.is_some(), "{identifier:?} does not exist");
        }
        for pair in &changes.unassigned {
            assert!(self.assignments.remove(&ids.pair(pair)), "{pair:?} is not assigned");
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
            for pair in &entry.assigned {
                assert!(self.assignments.insert(ids.pair(pair)), "{pair:?} is assigned");
            }
        }
    }

    /// Without the types, which the log does not know.
    pub(super) fn without_types(mut self) -> Self {
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
        let outcomes: Vec<_> = calls
            .iter()
            .map(|call| match call.command() {
                AnyCommand::Assign(command) => Outcome::Assigned(carry_out(&command, &mut state, &origin)),
                AnyCommand::Unassign(command) => Outcome::Unassigned(carry_out(&command, &mut state, &origin)),
                AnyCommand::Import(command) => Outcome::Imported(carry_out(&command, &mut state, &origin)),
            })
            .collect();
        let changes = state.into_changes();
        for customer in &changes.customers {
            self.customers.learn(customer.id, customer.email.as_str());
        }
        for device in &changes.devices {
            self.devices.learn(device.id, device.identifier.as_str());
        }
        let answers = outcomes.into_iter().map(|outcome| self.answer(outcome)).collect();
        (answers, changes)
    }

    /// An outcome by names.
    pub(super) fn answer(&self, outcome: Outcome) -> Answer {
        match outcome {
            Outcome::Assigned(Err(rejection))
            | Outcome::Unassigned(Err(rejection))
            | Outcome::Imported(Err(rejection)) => Answer::Rejected(rejection),
            Outcome::Assigned(Ok(outcome)) => self.assigned(&outcome),
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
        }
    }

    fn assigned(&self, outcome: &assign_devices::Outcome) -> Answer {
        let devices = outcome.devices.iter().map(|(identifier, fate)| {
            let (device_id, answer) = match fate {
                Fate::Skipped => return (identifier.to_string(), DeviceAnswer::Skipped),
                Fate::AlreadyAssigned { device_id } => (device_id, DeviceAnswer::AlreadyAssigned),
                Fate::Assigned { device_id, was_created } if *was_created => {
                    (device_id, DeviceAnswer::CreatedAndAssigned)
                }
                Fate::Assigned { device_id, .. } => (device_id, DeviceAnswer::Assigned),
            };
            assert_eq!(self.devices.name(device_id), identifier.as_str());
            (identifier.to_string(), answer)
        });
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
    Unassigned(Result<unassign_devices::Outcome, Rejection>),
    Imported(Result<Imported, Rejection>),
}

/// Names by id. No name has two ids and no id two names.
pub(super) struct Names<Id>(HashMap<Id, String>);

impl<Id> Default for Names<Id> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<Id: Copy + Debug + Eq + Hash> Names<Id> {
    pub(super) fn learn(&mut self, id: Id, name: &str) {
        assert!(self.0.values().all(|known| known != name), "{name} has two ids");
        let before = self.0.insert(id, name.to_owned());
        assert_eq!(before, None, "two things have one id");
    }

    fn name(&self, id: &Id) -> String {
        let Some(name) = self.0.get(id) else {
            panic!("{id:?} names nothing");
        };
        name.clone()
    }

    pub(super) fn id_of(&self, name: &str) -> Option<Id> {
        self.0.iter().find(|(_, known)| *known == name).map(|(id, _)| *id)
    }
}
