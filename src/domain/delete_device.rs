//! The command to delete a device with its assignments, and its outcome.

use super::{
    Tally, Violations,
    change::ChangeKind,
    command::{Command, Rejection, Touches},
    create_or_update_device::parse_identifier,
    device::DeviceIdentifier,
    id::DeviceId,
    state::State,
};

/// Delete this device. Valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteDevice {
    identifier: DeviceIdentifier,
}

impl DeleteDevice {
    /// The most owners that one change removes. Devices have few, so this call is a small one; a device with more is deleted by
    /// several changes.
    pub const MAX_OWNERS: usize = 1_000;

    /// How much work it is: a tenth of what it can be, so that deleting many devices takes few transactions.
    const WEIGHT: usize = 100;

    /// Parses the field of a request.
    ///
    /// # Errors
    /// Why it is invalid.
    pub fn parse(identifier: &str) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let identifier = parse_identifier(identifier, &mut violations);
        identifier.map(|identifier| Self { identifier }).ok_or(violations)
    }
}

/// The outcome of a [`DeleteDevice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The device.
    pub device_id: DeviceId,
    /// How many owners it was removed from.
    pub unassigned: usize,
    /// Whether it is deleted now. Otherwise it has more owners, and the command has to run again.
    pub is_deleted: bool,
}

impl Command for DeleteDevice {
    type Outcome = Outcome;

    const KIND: ChangeKind = ChangeKind::Delete;

    fn weight(&self) -> usize {
        Self::WEIGHT
    }

    fn touch<'a>(&'a self, touches: &mut Touches<'a>) {
        touches.devices([&self.identifier]);
        touches.owners_of([&self.identifier], Self::MAX_OWNERS);
    }

    fn apply(&self, state: &mut State<'_>) -> Result<Outcome, Rejection> {
        let device_id = state.device(&self.identifier).ok_or(Rejection::DeviceNotFound)?;
        let owners = state.owners_of(device_id);
        let unassigned = owners.known.len().min(Self::MAX_OWNERS);
        let is_deleted = owners.is_complete && unassigned == owners.known.len();
        for customer in owners.known.into_iter().take(unassigned) {
            state.unassign((customer, device_id));
        }
        if is_deleted {
            state.delete_device((&self.identifier, device_id));
        }
        Ok(Outcome {
            device_id,
            unassigned,
            is_deleted,
        })
    }

    fn tally(outcome: &Outcome) -> Tally {
        Tally {
            unassigned: outcome.unassigned,
            devices_deleted: usize::from(outcome.is_deleted),
            ..Tally::default()
        }
    }
}
