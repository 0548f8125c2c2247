//! A database, the writers of one or several instances on it, and the ids that it gave to the names of the model.

use std::time::{Duration, Instant};

use device_assignment::{
    domain::{
        Error,
        assign_devices::Fate,
        change::{Actor, ChangeOrigin, Revision},
        command::{Command, Rejection},
        id::OrganizationId,
    },
    service::create_organization,
    storage::{Completed, Database, PendingOutcome, Writer, WriterSettings},
    supervision::Supervisor,
};
use futures_util::{FutureExt, future::BoxFuture};

use crate::{
    calls::{AnyCommand, CUSTOMERS, Call, DEVICES},
    domain::organization::OrganizationName,
    model::{Answer, World},
    names::{Ids, Outcome},
    support::{Kind, TestDatabase},
    tables,
};

/// Longer than any call takes.
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Side {
    pub database: TestDatabase,
    service: Database,
    writers: Vec<Writer>,
    organizations: Vec<(OrganizationId, Ids)>,
}

/// What a command was answered.
pub struct Answered {
    pub outcome: Outcome,
    /// The revision; none if the command was rejected.
    pub revision: Option<u64>,
}

impl Side {
    /// A database of its own with organizations, and a writer for each instance.
    pub async fn start(kind: Kind, settings: &[WriterSettings], organizations: usize) -> Self {
        let database = TestDatabase::create(kind).await;
        let service = database.open().await;
        let mut created = Vec::new();
        for number in 0..organizations {
            let name = OrganizationName::parse(&organization_name(number)).expect("a name");
            let organization = create_organization(&service, &name).await.expect("an organization");
            created.push((organization.id, Ids::default()));
        }
        let mut writers = Vec::new();
        for settings in settings {
            // Each instance has its own pools.
            writers.push(Writer::start(&database.open().await, *settings, &Supervisor::default()));
        }
        Self {
            database,
            service,
            writers,
            organizations: created,
        }
    }

    /// Queues a call. The writers run only while somebody waits for its outcome, if the runtime has one thread.
    pub fn submit(
        &self,
        writer: usize,
        organization: usize,
        call: &Call,
        request_id: String,
    ) -> BoxFuture<'static, Answered> {
        let to = Destination {
            writer: &self.writers[writer],
            organization: self.organizations[organization].0,
            request_id,
        };
        match call.command() {
            AnyCommand::Assign(command) => to.submit(command, Outcome::Assigned),
            AnyCommand::AssignDevice(command) => to.submit(command, Outcome::DeviceAssigned),
            AnyCommand::Transfer(command) => to.submit(command, Outcome::Transferred),
            AnyCommand::Unassign(command) => to.submit(command, Outcome::Unassigned),
            AnyCommand::Import(command) => to.submit(command, Outcome::Imported),
            AnyCommand::UpdateDevice(command) => to.submit(command, Outcome::DeviceUpdated),
            AnyCommand::UpdateMetadata(command) => to.submit(command, Outcome::MetadataUpdated),
            AnyCommand::DeleteDevice(command) => to.submit(command, Outcome::DeviceDeleted),
            AnyCommand::CreateCustomer(command) => to.submit(command, Outcome::CustomerCreated),
            AnyCommand::DeleteCustomer(command) => to.submit(command, Outcome::CustomerDeleted),
        }
    }

    /// An outcome by names. Checks that no id has two names.
    pub fn answer(&mut self, organization: usize, call: &Call, outcome: Outcome) -> Answer {
        let ids = &mut self.organizations[organization].1;
        match (call, &outcome) {
            (Call::Assign { customer, .. }, Outcome::Assigned(Ok(outcome))) => {
                ids.customers.note(outcome.customer_id, CUSTOMERS[*customer]);
                for (identifier, fate) in &outcome.devices {
                    if let Fate::Assigned { device_id, .. } | Fate::AlreadyAssigned { device_id } = fate {
                        ids.devices.note(*device_id, identifier.as_str());
                    }
                }
            }
            (
                Call::Unassign { customer, .. } | Call::UnassignOne { customer, .. },
                Outcome::Unassigned(Ok(outcome)),
            ) => {
                ids.customers.note(outcome.customer_id, CUSTOMERS[*customer]);
            }
            (Call::AssignDevice { device, .. }, Outcome::DeviceAssigned(Ok(outcome))) => {
                ids.devices.note(outcome.device_id, DEVICES[*device]);
                for customer in &outcome.customers {
                    ids.customers.note(customer.id, customer.email.as_str());
                }
            }
            (Call::Transfer { customer, .. }, Outcome::Transferred(Ok(outcome))) => {
                ids.customers.note(outcome.customer_id, CUSTOMERS[*customer]);
                for device in &outcome.devices {
                    if let Fate::Assigned { device_id, .. } | Fate::AlreadyAssigned { device_id } = device.fate {
                        ids.devices.note(device_id, device.identifier.as_str());
                    }
                }
            }
            (Call::UpdateDevice { device, .. }, Outcome::DeviceUpdated(Ok(outcome))) => {
                ids.devices.note(outcome.device_id, DEVICES[*device]);
            }
            (Call::UpdateMetadata { .. }, Outcome::MetadataUpdated(Ok(outcome))) => {
                for (identifier, device) in &outcome.devices {
                    if let Some(device) = device {
                        ids.devices.note(*device, identifier.as_str());
                    }
                }
            }
            (Call::CreateCustomer { customer }, Outcome::CustomerCreated(Ok(outcome))) => {
                ids.customers.note(outcome.customer_id, CUSTOMERS[*customer]);
            }
            (Call::DeleteDevice { device }, Outcome::DeviceDeleted(Ok(outcome))) => {
                ids.devices.note(outcome.device_id, DEVICES[*device]);
            }
            (Call::DeleteCustomer { customer }, Outcome::CustomerDeleted(Ok(outcome))) => {
                ids.customers.note(outcome.customer_id, CUSTOMERS[*customer]);
            }
            _ => {}
        }
        ids.answer(outcome)
    }

    /// Replays the change logs.
    ///
    /// # Errors
    /// The number of differences to the tables, and the first one.
    pub async fn verify(&self) -> Result<(), String> {
        for (organization, _) in &self.organizations {
            let mut first = None;
            let verified = self.service.verify(*organization, |difference| {
                first.get_or_insert(difference);
            });
            let count = verified.await.expect("a readable database");
            if let Some(first) = first {
                return Err(format!("{count} differences between log and tables: {}", first.problem));
            }
        }
        Ok(())
    }

    /// What the tables hold of an organization.
    pub async fn world(&self, organization: usize) -> World {
        tables::world(&self.database, &organization_name(organization)).await
    }

    /// Stops the writers.
    pub async fn close(&mut self) {
        for writer in self.writers.drain(..) {
            writer.close().await;
        }
    }

    /// Stops the writers, and removes the database.
    pub async fn finish(mut self) {
        self.close().await;
        self.service.close().await;
        self.database.remove().await;
    }
}

fn organization_name(number: usize) -> String {
    format!("organization {number}")
}

/// Where a command goes.
struct Destination<'w> {
    writer: &'w Writer,
    organization: OrganizationId,
    request_id: String,
}

impl Destination<'_> {
    fn submit<C: Command>(
        self,
        command: C,
        outcome: fn(Result<C::Outcome, Rejection>) -> Outcome,
    ) -> BoxFuture<'static, Answered> {
        let origin = ChangeOrigin {
            actor: Actor::Service,
            request_id: Some(self.request_id),
        };
        let pending = self
            .writer
            .submit(self.organization, command, origin, Instant::now() + DEADLINE);
        answered::<C>(pending.expect("room in the queue"), outcome).boxed()
    }
}

async fn answered<C: Command>(
    pending: PendingOutcome<C::Outcome>,
    outcome: fn(Result<C::Outcome, Rejection>) -> Outcome,
) -> Answered {
    match pending.await {
        Ok(completed) => {
            let Completed {
                outcome: value,
                revision,
                ..
            } = completed;
            Answered {
                outcome: outcome(Ok(value)),
                revision: Some(Revision::number(revision)),
            }
        }
        Err(error) => Answered {
            outcome: outcome(Err(rejection(error))),
            revision: None,
        },
    }
}

/// The rejection behind an error. Any other error is a fault.
fn rejection(error: Error) -> Rejection {
    match error {
        Error::NoValidDevices { count } => Rejection::NoValidDevices { count },
        Error::CustomerNotFound(field) => Rejection::CustomerNotFound(field),
        Error::DeviceNotFound => Rejection::DeviceNotFound,
        Error::CustomerExists => Rejection::CustomerExists,
        // The only rule of a field that depends on what exists.
        Error::InvalidRequest(_) => Rejection::TypeRequired,
        Error::NotAssigned => Rejection::NotAssigned,
        Error::NotOfExpectedOwner => Rejection::NotOfExpectedOwner,
        Error::TooManyOwners => Rejection::TooManyOwners,
        error => panic!("a command failed: {error:?}"),
    }
}
