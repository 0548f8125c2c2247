//! The names behind ids: outcomes become answers that the model can give, too.

use std::{collections::HashMap, fmt::Debug, hash::Hash};

use uuid::Uuid;

use super::{
    calls::{AnyCommand, CUSTOMERS, Call, DEVICES},
    model::{Answer, DeviceAnswer},
};
use crate::domain::{
    assign_device,
    assign_devices::{self, Fate},
    bulk_update_metadata,
    change::{Actor, ChangeOrigin, ChangeSet, Pair},
    command::{Rejection, carry_out},
    create_or_update_customer, create_or_update_device, delete_customer, delete_device,
    device::DeviceIdentifier,
    email::Email,
    id::{CustomerId, DeviceId},
    import_devices::Imported,
    state::{Existing, State},
    transfer_devices, unassign_devices,
};

/// The ids that were made so far, and the name behind each.
#[derive(Default)]
pub(super) struct Ids {
    made: u128,
    pub(super) customers: Names<CustomerId>,
    pub(super) devices: Names<DeviceId>,
}

impl Ids {
    /// A fresh id. They do not ascend, so that nothing is in key order by chance.
    pub(super) fn next(&mut self) -> Uuid {
        self.made += 1;
        Uuid::from_u128(self.made.reverse_bits())
    }

    pub(super) fn pair(&self, (customer, device): &Pair) -> (String, String) {
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
    pub(super) fn learn(&mut self, id: Id, name: &str) {
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

    pub(super) fn name(&self, id: &Id) -> String {
        let Some(name) = self.names.get(id) else {
            panic!("{id:?} names nothing");
        };
        name.clone()
    }

    pub(super) fn id_of(&self, name: &str) -> Option<Id> {
        self.current.get(name).copied()
    }
}
