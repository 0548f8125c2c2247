//! The command to import devices: it creates those that do not exist, and gives the others the type of the list.

use std::collections::BTreeMap;

use super::{
    Tally,
    change::ChangeKind,
    command::{Command, Rejection, Touches},
    device::{DeviceIdentifier, DeviceType},
    state::State,
};

/// Import these devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportDevices {
    devices: BTreeMap<DeviceIdentifier, DeviceType>,
}

impl ImportDevices {
    /// A command for these devices. If an identifier is repeated, the last one counts.
    pub fn new(devices: impl IntoIterator<Item = (DeviceIdentifier, DeviceType)>) -> Self {
        Self {
            devices: devices.into_iter().collect(),
        }
    }
}

/// The outcome of an [`ImportDevices`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// How many devices were created.
    pub created: usize,
    /// How many devices existed with another type, and have the type of the list now.
    pub updated: usize,
}

impl Command for ImportDevices {
    type Outcome = Imported;

    const KIND: ChangeKind = ChangeKind::Import;

    fn weight(&self) -> usize {
        self.devices.len()
    }

    fn touch<'a>(&'a self, touches: &mut Touches<'a>) {
        touches.devices(self.devices.keys());
        touches.types();
    }

    fn apply(&self, state: &mut State<'_>) -> Result<Imported, Rejection> {
        let mut imported = Imported::default();
        for (identifier, device_type) in &self.devices {
            match state.device(identifier) {
                None => {
                    state.create_device(identifier, device_type);
                    imported.created += 1;
                }
                Some(device) => imported.updated += usize::from(state.set_type((identifier, device), device_type)),
            }
        }
        Ok(imported)
    }

    fn tally(outcome: &Imported) -> Tally {
        Tally {
            devices_created: outcome.created,
            devices_updated: outcome.updated,
            ..Tally::default()
        }
    }
}
