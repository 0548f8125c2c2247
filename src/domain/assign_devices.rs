//! The command that assigns devices to a customer, and its outcome.

use std::collections::HashSet;

use super::{
    Field, FieldProblem, InvalidText, Tally, Violations,
    change::ChangeKind,
    command::{Command, Rejection, Touches},
    device::{DeviceIdentifier, DeviceType},
    email::Email,
    id::{CustomerId, DeviceId},
    state::State,
};

/// The command: assign these devices to this customer. Valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignDevices {
    customer: Email,
    devices: Vec<DeviceIdentifier>,
    unknown_devices: UnknownDevices,
}

/// What to do with devices that do not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownDevices {
    /// Skip them.
    Skip,
    /// Create them with this type.
    Create(DeviceType),
}

impl AssignDevices {
    /// Parses the fields of a request. `max_devices` bounds the identifiers as given; repeated ones count.
    ///
    /// # Errors
    /// Every invalid field.
    pub fn parse(
        customer_email: &str,
        device_identifiers: &[String],
        auto_create_devices: bool,
        device_type: Option<&str>,
        max_devices: usize,
    ) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let customer = customer(customer_email, &mut violations);
        let devices = devices(device_identifiers, max_devices, &mut violations);
        let unknown_devices = unknown_devices(auto_create_devices, device_type, &mut violations);
        let (Some(customer), Some(devices), Some(unknown_devices)) = (customer, devices, unknown_devices) else {
            return Err(violations);
        };
        Ok(Self {
            customer,
            devices,
            unknown_devices,
        })
    }

    /// The customer's address.
    pub fn customer(&self) -> &Email {
        &self.customer
    }

    /// The distinct identifiers, in the order of the request. Never empty.
    pub fn devices(&self) -> &[DeviceIdentifier] {
        &self.devices
    }

    /// What to do with devices that do not exist.
    pub fn unknown_devices(&self) -> &UnknownDevices {
        &self.unknown_devices
    }
}

/// The outcome of an [`AssignDevices`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The customer.
    pub customer_id: CustomerId,
    /// Whether this call created the customer.
    pub customer_was_created: bool,
    /// Each distinct identifier and its fate, in the order of the request.
    pub devices: Vec<(DeviceIdentifier, Fate)>,
}

impl Outcome {
    /// Counts what happened to the devices.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally {
            customers_created: usize::from(self.customer_was_created),
            ..Tally::default()
        };
        for (_, fate) in &self.devices {
            tally.count(*fate);
        }
        tally
    }
}

/// What happened to one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// This call assigned the device to the customer.
    Assigned {
        /// The device.
        device_id: DeviceId,
        /// Whether this call created it.
        was_created: bool,
    },
    /// The customer owned the device already.
    AlreadyAssigned {
        /// The device.
        device_id: DeviceId,
    },
    /// The device does not exist, and was not created.
    Skipped,
}

impl Command for AssignDevices {
    type Outcome = Outcome;

    const KIND: ChangeKind = ChangeKind::Assign;

    fn weight(&self) -> usize {
        self.devices.len()
    }

    fn touch<'a>(&'a self, touches: &mut Touches<'a>) {
        let creates = self.unknown_devices != UnknownDevices::Skip;
        touches.assign(&self.customer, &self.devices, creates);
    }

    fn apply(&self, state: &mut State<'_>) -> Result<Outcome, Rejection> {
        if self.unknown_devices == UnknownDevices::Skip
            && self.devices.iter().all(|device| state.device(device).is_none())
        {
            let count = self.devices.len();
            return Err(Rejection::NoValidDevices { count });
        }
        let (customer_id, customer_was_created) = state.find_or_create_customer(&self.customer);
        let devices = self.devices.iter().map(|identifier| {
            let known = state.device(identifier);
            let device_id = match (known, &self.unknown_devices) {
                (Some(device), _) => device,
                (None, UnknownDevices::Create(device_type)) => state.create_device(identifier, device_type),
                (None, UnknownDevices::Skip) => return (identifier.clone(), Fate::Skipped),
            };
            let fate = if state.assign((customer_id, device_id)) {
                let was_created = known.is_none();
                Fate::Assigned { device_id, was_created }
            } else {
                Fate::AlreadyAssigned { device_id }
            };
            (identifier.clone(), fate)
        });
        Ok(Outcome {
            customer_id,
            customer_was_created,
            devices: devices.collect(),
        })
    }

    fn tally(outcome: &Outcome) -> Tally {
        outcome.tally()
    }
}

// Each of the following returns `None` exactly when it has added a violation.

pub(super) fn customer(email: &str, violations: &mut Violations) -> Option<Email> {
    let problem = match Email::parse(email) {
        Ok(email) => return Some(email),
        Err(_) if email.trim().is_empty() => FieldProblem::Missing,
        Err(_) => FieldProblem::NotAnEmail,
    };
    violations.push(Field::CustomerEmail, problem);
    None
}

pub(super) fn devices(
    identifiers: &[String],
    max: usize,
    violations: &mut Violations,
) -> Option<Vec<DeviceIdentifier>> {
    let mut valid = true;
    let mut reject = |field, problem| {
        valid = false;
        violations.push(field, problem);
    };
    if identifiers.is_empty() {
        reject(Field::DeviceIdentifiers, FieldProblem::Text(InvalidText::Empty));
    }
    let count = identifiers.len();
    if count > max {
        reject(Field::DeviceIdentifiers, FieldProblem::TooManyDevices { count, max });
    }
    let mut seen = HashSet::with_capacity(identifiers.len());
    let mut devices = Vec::with_capacity(identifiers.len());
    for (index, identifier) in identifiers.iter().enumerate() {
        match DeviceIdentifier::parse(identifier) {
            Ok(device) if seen.insert(identifier.trim()) => devices.push(device),
            Ok(_repeated) => {}
            Err(problem) => reject(Field::DeviceIdentifier(index), FieldProblem::Text(problem)),
        }
    }
    valid.then_some(devices)
}

/// The identifier of a request for one device.
pub(super) fn device(identifier: &str, violations: &mut Violations) -> Option<DeviceIdentifier> {
    let problem = match DeviceIdentifier::parse(identifier) {
        Ok(device) => return Some(device),
        Err(InvalidText::Empty) => FieldProblem::Missing,
        Err(problem) => FieldProblem::Text(problem),
    };
    violations.push(Field::OneDeviceIdentifier, problem);
    None
}

pub(super) fn unknown_devices(
    create: bool,
    device_type: Option<&str>,
    violations: &mut Violations,
) -> Option<UnknownDevices> {
    if !create {
        return Some(UnknownDevices::Skip);
    }
    let problem = match DeviceType::parse(device_type.unwrap_or_default()) {
        Ok(device_type) => return Some(UnknownDevices::Create(device_type)),
        Err(InvalidText::Empty) => FieldProblem::MissingToCreateDevices,
        Err(problem) => FieldProblem::Text(problem),
    };
    violations.push(Field::DeviceType, problem);
    None
}

#[cfg(test)]
mod tests;
