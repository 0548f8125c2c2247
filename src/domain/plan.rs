//! What a group of commands changes, computed in memory from what exists.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{
    assign_devices::{AssignDevices, Fate, Outcome, UnknownDevices},
    device::{DeviceIdentifier, DeviceType},
    email::Email,
    id::{CustomerId, DeviceId},
};

/// What exists in an organization of all that a group of commands names.
#[derive(Debug, Clone, Default)]
pub struct Existing {
    /// Customers, by email address.
    pub customers: HashMap<String, CustomerId>,
    /// Devices, by identifier.
    pub devices: HashMap<String, DeviceId>,
    /// The assignments between these customers and devices.
    pub assignments: HashSet<(CustomerId, DeviceId)>,
}

/// The rows to insert, and the outcomes once they are inserted.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// Customers to create, in key order.
    pub customers: Vec<NewCustomer<'a>>,
    /// Devices to create, in key order.
    pub devices: Vec<NewDevice<'a>>,
    /// Assignments to create, in key order.
    pub assignments: Vec<(CustomerId, DeviceId)>,
    /// The outcome of each command, in the order of the commands.
    pub outcomes: Vec<Result<Outcome, NoValidDevices>>,
}

/// A customer to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewCustomer<'a> {
    /// The new id.
    pub id: CustomerId,
    /// The email address. Its part before the `@` becomes the name.
    pub email: &'a Email,
}

/// A device to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewDevice<'a> {
    /// The new id.
    pub id: DeviceId,
    /// Its identifier.
    pub identifier: &'a DeviceIdentifier,
    /// Its type.
    pub device_type: &'a DeviceType,
}

/// No device of the command exists, and the command creates none: it changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoValidDevices {
    /// How many distinct identifiers the command has.
    pub count: usize,
}

/// Computes what `commands` change, one after the other, in an organization that has `existing`, and the outcome of each.
/// `new_id` makes the ids of what is created.
pub fn plan<'a>(
    existing: &Existing,
    commands: impl IntoIterator<Item = &'a AssignDevices>,
    new_id: &mut impl FnMut() -> Uuid,
) -> Plan<'a> {
    let mut planner = Planner {
        existing,
        customers: HashMap::new(),
        devices: HashMap::new(),
        assignments: HashSet::new(),
        plan: Plan::default(),
    };
    for command in commands {
        let outcome = planner.add(command, new_id);
        planner.plan.outcomes.push(outcome);
    }
    let mut plan = planner.plan;
    // Two writers that insert the same rows in the same order wait for each other; in different orders they deadlock.
    plan.customers.sort_unstable_by_key(|customer| customer.email);
    plan.devices.sort_unstable_by_key(|device| device.identifier);
    plan.assignments.sort_unstable();
    plan
}

/// What exists, and what the commands so far create.
struct Planner<'a, 'e> {
    existing: &'e Existing,
    customers: HashMap<&'a Email, CustomerId>,
    devices: HashMap<&'a DeviceIdentifier, DeviceId>,
    assignments: HashSet<(CustomerId, DeviceId)>,
    plan: Plan<'a>,
}

impl<'a> Planner<'a, '_> {
    fn add(
        &mut self,
        command: &'a AssignDevices,
        new_id: &mut impl FnMut() -> Uuid,
    ) -> Result<Outcome, NoValidDevices> {
        if *command.unknown_devices() == UnknownDevices::Skip
            && command.devices().iter().all(|device| self.device(device).is_none())
        {
            let count = command.devices().len();
            return Err(NoValidDevices { count });
        }
        let (customer_id, customer_was_created) = self.find_or_create_customer(command.customer(), new_id);
        let devices = command
            .devices()
            .iter()
            .map(|device| {
                let fate = match self.find_or_create_device(device, command.unknown_devices(), new_id) {
                    None => Fate::Skipped,
                    Some((device_id, was_created)) => {
                        if self.assign(customer_id, device_id) {
                            Fate::Assigned { device_id, was_created }
                        } else {
                            Fate::AlreadyAssigned { device_id }
                        }
                    }
                };
                (device.clone(), fate)
            })
            .collect();
        Ok(Outcome {
            customer_id,
            customer_was_created,
            devices,
        })
    }

    fn device(&self, identifier: &DeviceIdentifier) -> Option<DeviceId> {
        let existing = self.existing.devices.get(identifier.as_str());
        existing.or_else(|| self.devices.get(identifier)).copied()
    }

    fn find_or_create_customer(&mut self, email: &'a Email, new_id: &mut impl FnMut() -> Uuid) -> (CustomerId, bool) {
        let existing = self.existing.customers.get(email.as_str());
        if let Some(id) = existing.or_else(|| self.customers.get(email)) {
            return (*id, false);
        }
        let id = CustomerId::from_uuid(new_id());
        self.customers.insert(email, id);
        self.plan.customers.push(NewCustomer { id, email });
        (id, true)
    }

    fn find_or_create_device(
        &mut self,
        identifier: &'a DeviceIdentifier,
        unknown_devices: &'a UnknownDevices,
        new_id: &mut impl FnMut() -> Uuid,
    ) -> Option<(DeviceId, bool)> {
        if let Some(id) = self.device(identifier) {
            return Some((id, false));
        }
        let UnknownDevices::Create(device_type) = unknown_devices else {
            return None;
        };
        let id = DeviceId::from_uuid(new_id());
        self.devices.insert(identifier, id);
        self.plan.devices.push(NewDevice {
            id,
            identifier,
            device_type,
        });
        Some((id, true))
    }

    /// Adds an assignment; returns whether it is new.
    fn assign(&mut self, customer: CustomerId, device: DeviceId) -> bool {
        let pair = (customer, device);
        let is_new = !self.existing.assignments.contains(&pair) && self.assignments.insert(pair);
        if is_new {
            self.plan.assignments.push(pair);
        }
        is_new
    }
}

#[cfg(test)]
mod tests;
