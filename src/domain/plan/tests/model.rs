//! The model that plans are compared with: an organization that runs one call at a time, without ids.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Debug,
    hash::Hash,
};

use uuid::Uuid;

use super::super::*;

// Few names, so that commands often name the same ones.
pub(super) const CUSTOMERS: [&str; 3] = ["ann@example.com", "bob@example.com", "cat@example.org"];
pub(super) const DEVICES: [&str; 6] = ["0", "SN-1", "sn-1", "sn-10", "sn-2", "ü"];
pub(super) const TYPES: [&str; 2] = ["sensor", "Gateway"];

/// The input of a call, as indexes of the tables above.
#[derive(Debug, Clone)]
pub(super) struct CallInput {
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

impl CallInput {
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

    /// The distinct identifiers, in the order of their first use.
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

/// What an organization has, without ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct World {
    pub(super) customers: BTreeSet<String>,
    /// Identifiers and types.
    pub(super) devices: BTreeMap<String, String>,
    /// Addresses and identifiers.
    pub(super) assignments: BTreeSet<(String, String)>,
}

/// An outcome, without ids.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NamedOutcome {
    NoValidDevices {
        count: usize,
    },
    Done {
        customer: String,
        customer_was_created: bool,
        devices: Vec<(String, NamedFate)>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NamedFate {
    Assigned,
    CreatedAndAssigned,
    AlreadyAssigned,
    Skipped,
}

impl World {
    /// Runs one call, exactly as the contract says.
    pub(super) fn run(&mut self, input: &CallInput) -> NamedOutcome {
        let devices = input.distinct_devices();
        if input.create.is_none() && !devices.iter().any(|device| self.devices.contains_key(*device)) {
            return NamedOutcome::NoValidDevices { count: devices.len() };
        }
        let customer = CUSTOMERS[input.customer].to_owned();
        let customer_was_created = self.customers.insert(customer.clone());
        let mut fates = Vec::new();
        for device in devices {
            let device = device.to_owned();
            let was_known = self.devices.contains_key(&device);
            if let (false, Some(device_type)) = (was_known, input.create) {
                self.devices.insert(device.clone(), TYPES[device_type].to_owned());
            }
            let fate = if !self.devices.contains_key(&device) {
                NamedFate::Skipped
            } else if !self.assignments.insert((customer.clone(), device.clone())) {
                NamedFate::AlreadyAssigned
            } else if was_known {
                NamedFate::Assigned
            } else {
                NamedFate::CreatedAndAssigned
            };
            fates.push((device, fate));
        }
        NamedOutcome::Done {
            customer,
            customer_was_created,
            devices: fates,
        }
    }

    /// The same with ids, as the database returns it; `ids` remembers their names.
    pub(super) fn existing(&self, ids: &mut Ids) -> Existing {
        let mut existing = Existing::default();
        for email in &self.customers {
            let id = CustomerId::from_uuid(ids.next());
            ids.customers.remember(id, email);
            existing.customers.insert(email.clone(), id);
        }
        for identifier in self.devices.keys() {
            let id = DeviceId::from_uuid(ids.next());
            ids.devices.remember(id, identifier);
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

/// The ids made so far, with their names. No name has two ids and no id two names, so that outcomes with the same names have
/// the same ids.
#[derive(Default)]
pub(super) struct Ids {
    pub(super) given: u128,
    pub(super) customers: Names<CustomerId>,
    pub(super) devices: Names<DeviceId>,
}

impl Ids {
    /// A new id. They do not ascend, so that unsorted rows do not look sorted.
    pub(super) fn next(&mut self) -> Uuid {
        self.given += 1;
        Uuid::from_u128(self.given.reverse_bits())
    }

    pub(super) fn plan<'a>(&mut self, existing: &Existing, commands: &'a [AssignDevices]) -> Plan<'a> {
        let plan = plan(existing, commands, &mut || self.next());
        for customer in &plan.customers {
            self.customers.remember(customer.id, customer.email.as_str());
        }
        for device in &plan.devices {
            self.devices.remember(device.id, device.identifier.as_str());
        }
        plan
    }

    pub(super) fn outcomes(&self, plan: &Plan) -> Vec<NamedOutcome> {
        plan.outcomes.iter().map(|outcome| self.outcome(outcome)).collect()
    }

    pub(super) fn outcome(&self, outcome: &Result<Outcome, NoValidDevices>) -> NamedOutcome {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(NoValidDevices { count }) => return NamedOutcome::NoValidDevices { count: *count },
        };
        let named = |(identifier, fate): &(DeviceIdentifier, Fate)| {
            let (device_id, fate) = match fate {
                Fate::Skipped => return (identifier.to_string(), NamedFate::Skipped),
                Fate::AlreadyAssigned { device_id } => (device_id, NamedFate::AlreadyAssigned),
                Fate::Assigned { device_id, was_created } if *was_created => (device_id, NamedFate::CreatedAndAssigned),
                Fate::Assigned { device_id, .. } => (device_id, NamedFate::Assigned),
            };
            assert_eq!(self.devices.name(device_id), identifier.as_str());
            (identifier.to_string(), fate)
        };
        NamedOutcome::Done {
            customer: self.customers.name(&outcome.customer_id),
            customer_was_created: outcome.customer_was_created,
            devices: outcome.devices.iter().map(named).collect(),
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
    pub(super) fn remember(&mut self, id: Id, name: &str) {
        assert!(self.0.values().all(|known| known != name), "{name} has two ids");
        let before = self.0.insert(id, name.to_owned());
        assert_eq!(before, None, "two things have one id");
    }

    pub(super) fn name(&self, id: &Id) -> String {
        let Some(name) = self.0.get(id) else {
            panic!("{id:?} has no name");
        };
        name.clone()
    }
}
