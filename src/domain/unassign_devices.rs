//! The command to unassign devices from a customer, and its outcome.

use super::{
    Field, Tally, Violations,
    assign_devices::{customer, device, devices},
    change::ChangeKind,
    command::{Command, Rejection, Touches},
    device::DeviceIdentifier,
    email::Email,
    id::CustomerId,
    state::{MAX_LISTED_DEVICES, State},
};

/// Unassign these devices from this customer. Valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnassignDevices {
    customer: Email,
    devices: Vec<DeviceIdentifier>,
    others: Others,
    lists_remaining: bool,
}

/// What to do with a device that does not exist or does not belong to the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Others {
    Skip,
    Reject,
}

impl UnassignDevices {
    /// Reads the fields of a request to unassign many devices: those that do not belong to the customer are skipped.
    /// `max_devices` limits the identifiers as given, before duplicates are removed.
    ///
    /// # Errors
    /// Every problem of every field.
    pub fn parse(
        customer_email: &str,
        device_identifiers: &[String],
        lists_remaining: bool,
        max_devices: usize,
    ) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let customer = customer(customer_email, &mut violations);
        let devices = devices(device_identifiers, max_devices, &mut violations);
        let (Some(customer), Some(devices)) = (customer, devices) else {
            return Err(violations);
        };
        Ok(Self {
            customer,
            devices,
            others: Others::Skip,
            lists_remaining,
        })
    }

    /// Reads the fields of a request to unassign one device, which must belong to the customer.
    ///
    /// # Errors
    /// Every problem of every field.
    pub fn parse_one(customer_email: &str, device_identifier: &str, lists_remaining: bool) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let customer = customer(customer_email, &mut violations);
        let device = device(device_identifier, &mut violations);
        let (Some(customer), Some(device)) = (customer, device) else {
            return Err(violations);
        };
        Ok(Self {
            customer,
            devices: vec![device],
            others: Others::Reject,
            lists_remaining,
        })
    }

    /// The distinct identifiers, in the order of the request. Never empty.
    pub fn devices(&self) -> &[DeviceIdentifier] {
        &self.devices
    }
}

/// The outcome of an [`UnassignDevices`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The customer.
    pub customer_id: CustomerId,
    /// Each distinct identifier in the order of the request, and whether this call unassigned it. The others were skipped.
    pub devices: Vec<(DeviceIdentifier, bool)>,
    /// The devices that the customer still has.
    pub remaining: Remaining,
}

/// The devices that a customer still has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remaining {
    /// Their identifiers in order, at most [`MAX_LISTED_DEVICES`](super::state::MAX_LISTED_DEVICES). Empty unless the request
    /// asked for them.
    pub identifiers: Vec<String>,
    /// How many there are.
    pub count: usize,
}

impl Command for UnassignDevices {
    type Outcome = Outcome;

    const KIND: ChangeKind = ChangeKind::Unassign;

    fn weight(&self) -> usize {
        // The list is read and returned as well, so it is a large call: one of them at a time.
        let listed = if self.lists_remaining { MAX_LISTED_DEVICES } else { 0 };
        self.devices.len() + listed
    }

    fn touch<'a>(&'a self, touches: &mut Touches<'a>) {
        touches.unassign(&self.customer, &self.devices, self.lists_remaining);
    }

    fn apply(&self, state: &mut State<'_>) -> Result<Outcome, Rejection> {
        let customer_id = state
            .customer(&self.customer)
            .ok_or(Rejection::CustomerNotFound(Field::CustomerEmail))?;
        let pairs = self.devices.iter().map(|identifier| {
            let pair = state.device(identifier).map(|device| (customer_id, device));
            pair.filter(|pair| state.is_assigned(*pair))
        });
        let pairs: Vec<_> = pairs.collect();
        if self.others == Others::Reject && pairs.contains(&None) {
            return Err(Rejection::NotAssigned);
        }
        let devices = self.devices.iter().zip(pairs).map(|(identifier, pair)| {
            let was_unassigned = pair.is_some_and(|pair| state.unassign(pair));
            (identifier.clone(), was_unassigned)
        });
        let devices = devices.collect();
        let (mut identifiers, count) = state.devices_of(customer_id);
        if !self.lists_remaining {
            identifiers.clear();
        }
        let remaining = Remaining { identifiers, count };
        Ok(Outcome {
            customer_id,
            devices,
            remaining,
        })
    }

    fn tally(outcome: &Outcome) -> Tally {
        let unassigned = outcome
            .devices
            .iter()
            .filter(|(_, was_unassigned)| *was_unassigned)
            .count();
        Tally {
            unassigned,
            skipped: outcome.devices.len() - unassigned,
            ..Tally::default()
        }
    }
}
