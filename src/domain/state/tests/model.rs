//! An organization that carries out one call at a time and knows only names: the model that groups of commands are compared
//! with.

use std::collections::{BTreeMap, BTreeSet};

use super::calls::{CUSTOMERS, Call, DEVICES, PROPERTIES, TYPES, distinct};
use crate::domain::{Field, command::Rejection, import_devices::Imported};

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

    pub(super) fn properties_of(&self, device: &str) -> String {
        self.properties.get(device).map_or("{}", String::as_str).to_owned()
    }

    /// Whether the device had others.
    pub(super) fn set_properties(&mut self, device: &str, properties: &str) -> bool {
        let before = if properties == "{}" {
            self.properties.remove(device)
        } else {
            self.properties.insert(device.to_owned(), properties.to_owned())
        };
        before.as_deref().unwrap_or("{}") != properties
    }
}
