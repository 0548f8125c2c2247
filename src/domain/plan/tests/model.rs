//! An organization that carries out one call at a time, told by names alone: what plans are held to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Debug,
    hash::Hash,
};

use uuid::Uuid;

use super::super::*;

// So few names that commands keep naming the same ones.
pub(super) const CUSTOMERS: [&str; 3] = ["ann@example.com", "bob@example.com", "cat@example.org"];
pub(super) const DEVICES: [&str; 6] = ["0", "SN-1", "sn-1", "sn-10", "sn-2", "ü"];
pub(super) const TYPES: [&str; 2] = ["sensor", "Gateway"];

/// What one call asks for, in places of the tables above.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) customer: usize,
    pub(super) spelling: Spelling,
    pub(super) devices: Vec<usize>,
    pub(super) create: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Spelling {
    Stored,
    Upper,
    Padded,
}

impl Asked {
    pub(super) fn command(&self) -> AssignDevices {
        let email = CUSTOMERS[self.customer];
        let email = match self.spelling {
            Spelling::Stored => email.to_owned(),
            Spelling::Upper => email.to_uppercase(),
            Spelling::Padded => format!(" {email}\t"),
        };
        let devices: Vec<_> = self.devices.iter().map(|device| DEVICES[*device].to_owned()).collect();
        let device_type = self.create.map(|device_type| TYPES[device_type]);
        AssignDevices::parse(&email, &devices, device_type.is_some(), device_type, devices.len()).expect("a valid call")
    }

    /// The distinct identifiers, each at its first place.
    pub(super) fn distinct_devices(&self) -> Vec<&'static str> {
        let mut distinct = Vec::new();
        for device in &self.devices {
            if !distinct.contains(&DEVICES[*device]) {
                distinct.push(DEVICES[*device]);
            }
        }
        distinct
    }
}

/// What an organization has, told by names alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct World {
    pub(super) customers: BTreeSet<String>,
    /// Identifiers and types.
    pub(super) devices: BTreeMap<String, String>,
    /// Addresses and identifiers.
    pub(super) assignments: BTreeSet<(String, String)>,
}

/// An outcome, told by names alone.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    NoValidDevices {
        count: usize,
    },
    Done {
        customer: String,
        customer_was_created: bool,
        devices: Vec<(String, Told)>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Assigned,
    CreatedAndAssigned,
    AlreadyAssigned,
    Skipped,
}

impl World {
    /// One call carried out alone, by the letter of the contract: the model that plans are held to.
    pub(super) fn carry_out(&mut self, asked: &Asked) -> Answer {
        let devices = asked.distinct_devices();
        if asked.create.is_none() && !devices.iter().any(|device| self.devices.contains_key(*device)) {
            return Answer::NoValidDevices { count: devices.len() };
        }
        let customer = CUSTOMERS[asked.customer].to_owned();
        let customer_was_created = self.customers.insert(customer.clone());
        let mut told = Vec::new();
        for device in devices {
            let device = device.to_owned();
            let was_known = self.devices.contains_key(&device);
            if let (false, Some(device_type)) = (was_known, asked.create) {
                self.devices.insert(device.clone(), TYPES[device_type].to_owned());
            }
            let fate = if !self.devices.contains_key(&device) {
                Told::Skipped
            } else if !self.assignments.insert((customer.clone(), device.clone())) {
                Told::AlreadyAssigned
            } else if was_known {
                Told::Assigned
            } else {
                Told::CreatedAndAssigned
            };
            told.push((device, fate));
        }
        Answer::Done {
            customer,
            customer_was_created,
            devices: told,
        }
    }

    /// The same with ids, as the database gives it; `ids` learns what they name.
    pub(super) fn existing(&self, ids: &mut Ids) -> Existing {
        let mut existing = Existing::default();
        for email in &self.customers {
            let id = CustomerId::from_uuid(ids.next());
            ids.customers.learn(id, email);
            existing.customers.insert(email.clone(), id);
        }
        for identifier in self.devices.keys() {
            let id = DeviceId::from_uuid(ids.next());
            ids.devices.learn(id, identifier);
            existing.devices.insert(identifier.clone(), id);
        }
        for (email, identifier) in &self.assignments {
            let pair = (existing.customers[email], existing.devices[identifier]);
            existing.assignments.insert(pair);
        }
        existing
    }

    /// Writes the rows of a plan, as the database would.
    pub(super) fn insert(&mut self, plan: &Plan, ids: &Ids) {
        for customer in &plan.customers {
            assert!(self.customers.insert(customer.email.to_string()), "{customer:?} exists");
        }
        for device in &plan.devices {
            let before = self
                .devices
                .insert(device.identifier.to_string(), device.device_type.to_string());
            assert_eq!(before, None, "{device:?} exists");
        }
        for (customer, device) in &plan.assignments {
            let pair = (ids.customers.name(customer), ids.devices.name(device));
            assert!(self.assignments.insert(pair), "{customer} and {device} exist");
        }
    }
}

pub(super) fn insert(existing: &mut Existing, plan: &Plan) {
    let customers = plan.customers.iter();
    existing
        .customers
        .extend(customers.map(|customer| (customer.email.to_string(), customer.id)));
    let devices = plan.devices.iter();
    existing
        .devices
        .extend(devices.map(|device| (device.identifier.to_string(), device.id)));
    existing.assignments.extend(&plan.assignments);
}

/// The ids given so far, and what each names. No name has two ids and no id two names, so that answers with the same
/// names have the same ids.
#[derive(Default)]
pub(super) struct Ids {
    pub(super) given: u128,
    pub(super) customers: Names<CustomerId>,
    pub(super) devices: Names<DeviceId>,
}

impl Ids {
    /// A fresh id. They do not ascend, lest rows look sorted that are not.
    pub(super) fn next(&mut self) -> Uuid {
        self.given += 1;
        Uuid::from_u128(self.given.reverse_bits())
    }

    pub(super) fn plan<'a>(&mut self, existing: &Existing, commands: &'a [AssignDevices]) -> Plan<'a> {
        let plan = plan(existing, commands, &mut || self.next());
        for customer in &plan.customers {
            self.customers.learn(customer.id, customer.email.as_str());
        }
        for device in &plan.devices {
            self.devices.learn(device.id, device.identifier.as_str());
        }
        plan
    }

    pub(super) fn answers(&self, plan: &Plan) -> Vec<Answer> {
        plan.outcomes.iter().map(|outcome| self.answer(outcome)).collect()
    }

    pub(super) fn answer(&self, outcome: &Result<Outcome, NoValidDevices>) -> Answer {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(NoValidDevices { count }) => return Answer::NoValidDevices { count: *count },
        };
        let told = |(identifier, fate): &(DeviceIdentifier, Fate)| {
            let (device_id, told) = match fate {
                Fate::Skipped => return (identifier.to_string(), Told::Skipped),
                Fate::AlreadyAssigned { device_id } => (device_id, Told::AlreadyAssigned),
                Fate::Assigned { device_id, was_created } if *was_created => (device_id, Told::CreatedAndAssigned),
                Fate::Assigned { device_id, .. } => (device_id, Told::Assigned),
            };
            assert_eq!(self.devices.name(device_id), identifier.as_str());
            (identifier.to_string(), told)
        };
        Answer::Done {
            customer: self.customers.name(&outcome.customer_id),
            customer_was_created: outcome.customer_was_created,
            devices: outcome.devices.iter().map(told).collect(),
        }
    }
}

pub(super) struct Names<Id>(HashMap<Id, String>);

impl<Id> Default for Names<Id> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<Id: Debug + Eq + Hash> Names<Id> {
    pub(super) fn learn(&mut self, id: Id, name: &str) {
        assert!(self.0.values().all(|known| known != name), "{name} has two ids");
        let before = self.0.insert(id, name.to_owned());
        assert_eq!(before, None, "two things have one id");
    }

    pub(super) fn name(&self, id: &Id) -> String {
        let Some(name) = self.0.get(id) else {
            panic!("{id:?} names nothing");
        };
        name.clone()
    }
}
