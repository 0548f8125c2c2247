//! The command that transfers devices to a customer: it assigns them, and removes them from all other owners.

use super::{
    Field, FieldProblem, Tally, Violations,
    assign_devices::{Fate, UnknownDevices, customer, devices, unknown_devices},
    change::{ChangeKind, MAX_PAIRS},
    command::{Command, Rejection, Touches},
    device::{DeviceIdentifier, DeviceType},
    email::Email,
    id::{CustomerId, DeviceId},
    state::State,
};

/// The command: transfer these devices to this customer. Valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferDevices {
    customer: Email,
    devices: Vec<DeviceIdentifier>,
    unknown_devices: UnknownDevices,
    expected_owner: Option<ExpectedOwner>,
}

/// The customer whom devices must belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum ExpectedOwner {
    Email(Email),
    Id(CustomerId),
}

impl TransferDevices {
    /// The most owners of one device that are removed.
    pub const MAX_PREVIOUS_OWNERS: usize = 100;

    /// Parses the fields of a request. `max_devices` bounds the identifiers as given; repeated ones count.
    ///
    /// # Errors
    /// Every invalid field.
    pub fn parse(
        customer_email: &str,
        device_identifiers: &[String],
        auto_create_devices: bool,
        device_type: Option<&str>,
        expected_owner: Option<&str>,
        max_devices: usize,
    ) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let customer = customer(customer_email, &mut violations);
        let devices = devices(device_identifiers, max_devices, &mut violations);
        let unknown_devices = unknown_devices(auto_create_devices, device_type, &mut violations);
        let expected_owner = match expected_owner.map(ExpectedOwner::parse) {
            None => Some(None),
            Some(Some(owner)) => Some(Some(owner)),
            Some(None) => {
                violations.push(Field::ExpectedOwner, FieldProblem::NotACustomer);
                None
            }
        };
        let (Some(customer), Some(devices), Some(unknown_devices), Some(expected_owner)) =
            (customer, devices, unknown_devices, expected_owner)
        else {
            return Err(violations);
        };
        Ok(Self {
            customer,
            devices,
            unknown_devices,
            expected_owner,
        })
    }

    /// What to do with each device, in the order of the request.
    fn plan(&self, state: &State<'_>) -> Result<Vec<Step<'_>>, Rejection> {
        let buyer = state.customer(&self.customer);
        let mut removed = 0;
        let mut steps = Vec::with_capacity(self.devices.len());
        for identifier in &self.devices {
            let step = match (state.device(identifier), &self.unknown_devices) {
                (Some(device), _) => {
                    let owners = state.owners_of(device);
                    if !owners.is_complete {
                        return Err(Rejection::TooManyOwners);
                    }
                    let owners = owners.known;
                    let is_done = buyer.is_some_and(|buyer| owners == [buyer]);
                    if is_done || self.may_take(&owners, state) {
                        let others: Vec<_> = owners.into_iter().filter(|owner| Some(*owner) != buyer).collect();
                        if others.len() > Self::MAX_PREVIOUS_OWNERS {
                            return Err(Rejection::TooManyOwners);
                        }
                        removed += others.len();
                        Step::Take(device, others)
                    } else {
                        Step::Skip
                    }
                }
                (None, UnknownDevices::Create(device_type)) if self.expected_owner.is_none() => {
                    Step::Create(device_type)
                }
                (None, _) => Step::Skip,
            };
            steps.push(step);
        }
        if removed > MAX_PAIRS {
            return Err(Rejection::TooManyOwners);
        }
        if steps.iter().all(|step| matches!(step, Step::Skip)) {
            let count = self.devices.len();
            return Err(match self.expected_owner {
                Some(_) => Rejection::NotOfExpectedOwner,
                None => Rejection::NoValidDevices { count },
            });
        }
        Ok(steps)
    }

    /// Whether a device with these owners may be transferred.
    fn may_take(&self, owners: &[CustomerId], state: &State<'_>) -> bool {
        let expected = match &self.expected_owner {
            None => return true,
            Some(ExpectedOwner::Email(email)) => state.customer(email),
            Some(ExpectedOwner::Id(id)) => Some(*id),
        };
        expected.is_some_and(|expected| owners.contains(&expected))
    }
}

impl ExpectedOwner {
    /// An id or an email address.
    fn parse(text: &str) -> Option<Self> {
        if let Ok(id) = text.trim().parse() {
            return Some(Self::Id(id));
        }
        Email::parse(text).ok().map(Self::Email)
    }
}

/// What to do with one device.
enum Step<'a> {
    Skip,
    /// Create it with this type.
    Create(&'a DeviceType),
    /// Assign it, and remove it from these other owners.
    Take(DeviceId, Vec<CustomerId>),
}

/// The outcome of a [`TransferDevices`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The customer who owns the devices now.
    pub customer_id: CustomerId,
    /// Whether this call created the customer.
    pub customer_was_created: bool,
    /// Each distinct identifier, in the order of the request.
    pub devices: Vec<TransferredDevice>,
}

/// What happened to one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferredDevice {
    /// Its identifier.
    pub identifier: DeviceIdentifier,
    /// What happened to it.
    pub fate: Fate,
    /// The owners that this call removed, in the order of their ids.
    pub previous_owners: Vec<CustomerId>,
}

impl Command for TransferDevices {
    type Outcome = Outcome;

    const KIND: ChangeKind = ChangeKind::Transfer;

    fn weight(&self) -> usize {
        // Most devices have one owner, who is removed.
        2 * self.devices.len()
    }

    fn touch<'a>(&'a self, touches: &mut Touches<'a>) {
        let creates = self.unknown_devices != UnknownDevices::Skip;
        let expected = match &self.expected_owner {
            Some(ExpectedOwner::Email(email)) => Some(email),
            Some(ExpectedOwner::Id(_)) | None => None,
        };
        touches.transfer(
            &self.customer,
            &self.devices,
            creates,
            expected,
            Self::MAX_PREVIOUS_OWNERS,
        );
    }

    fn apply(&self, state: &mut State<'_>) -> Result<Outcome, Rejection> {
        let steps = self.plan(state)?;
        let (customer_id, customer_was_created) = state.find_or_create_customer(&self.customer);
        let devices = self.devices.iter().zip(steps).map(|(identifier, step)| {
            let (device_id, previous_owners, was_created) = match step {
                Step::Take(device, others) => (device, others, false),
                Step::Create(device_type) => (state.create_device(identifier, device_type), Vec::new(), true),
                Step::Skip => {
                    return TransferredDevice {
                        identifier: identifier.clone(),
                        fate: Fate::Skipped,
                        previous_owners: Vec::new(),
                    };
                }
            };
            for owner in &previous_owners {
                state.unassign((*owner, device_id));
            }
            let fate = if state.assign((customer_id, device_id)) {
                Fate::Assigned { device_id, was_created }
            } else {
                Fate::AlreadyAssigned { device_id }
            };
            TransferredDevice {
                identifier: identifier.clone(),
                fate,
                previous_owners,
            }
        });
        Ok(Outcome {
            customer_id,
            customer_was_created,
            devices: devices.collect(),
        })
    }

    fn tally(outcome: &Outcome) -> Tally {
        let mut tally = Tally {
            customers_created: usize::from(outcome.customer_was_created),
            ..Tally::default()
        };
        for device in &outcome.devices {
            tally.count(device.fate);
            tally.unassigned += device.previous_owners.len();
        }
        tally
    }
}
