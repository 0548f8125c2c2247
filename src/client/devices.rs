//! The devices in a cache: found by their ids when changes are applied, and by their identifiers when a caller asks.

use std::{collections::HashMap, sync::Arc};

/// The owners of a device: the ids of customers, in the order in which they became owners.
pub type Owners = Arc<[Arc<str>]>;

/// Devices with their owners. Both names of a device lead to its place in one list, which keeps a device small and a look-up short.
#[derive(Debug, Default)]
pub(super) struct Devices {
    ids: HashMap<Box<str>, u32>,
    identifiers: HashMap<Arc<str>, u32>,
    devices: Vec<Device>,
    /// Places in the list whose devices are gone.
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct Device {
    identifier: Option<Arc<str>>,
    owners: Owners,
}

impl Devices {
    /// The owners of the device with this identifier.
    pub(super) fn owners(&self, identifier: &str) -> Option<&Owners> {
        let device = self.devices.get(place(*self.identifiers.get(identifier)?))?;
        Some(&device.owners)
    }

    /// The owners of the device with this id.
    pub(super) fn owners_of(&mut self, id: &str) -> Option<&mut Owners> {
        let device = self.devices.get_mut(place(*self.ids.get(id)?))?;
        Some(&mut device.owners)
    }

    /// How many devices have an identifier.
    pub(super) fn count(&self) -> usize {
        self.identifiers.len()
    }

    /// The owners of the device with this id, which is added if it is not there.
    pub(super) fn entry(&mut self, id: &str) -> &mut Owners {
        &mut self.device(id).1.owners
    }

    /// Gives a device its identifier.
    pub(super) fn name(&mut self, id: &str, identifier: String) {
        let identifier = Arc::<str>::from(identifier);
        let (at, device) = self.device(id);
        let replaced = device.identifier.replace(Arc::clone(&identifier));
        if let Some(replaced) = replaced.filter(|replaced| *replaced != identifier) {
            self.forget(&replaced, at);
        }
        self.identifiers.insert(identifier, at);
    }

    /// Removes the device with this id.
    pub(super) fn remove(&mut self, id: &str) {
        let Some(at) = self.ids.remove(id) else { return };
        let device = self.devices.get_mut(place(at)).map(std::mem::take);
        if let Some(identifier) = device.and_then(|device| device.identifier) {
            self.forget(&identifier, at);
        }
        self.free.push(at);
    }

    /// Removes an identifier, unless it belongs to another device now.
    fn forget(&mut self, identifier: &str, at: u32) {
        if self.identifiers.get(identifier) == Some(&at) {
            self.identifiers.remove(identifier);
        }
    }

    fn device(&mut self, id: &str) -> (u32, &mut Device) {
        let at = match self.ids.get(id) {
            Some(at) => *at,
            None => {
                let at = self.free.pop().unwrap_or_else(|| {
                    // An organization with four billion devices would not fit into memory.
                    u32::try_from(self.devices.len()).unwrap_or(u32::MAX)
                });
                self.ids.insert(id.into(), at);
                at
            }
        };
        if place(at) >= self.devices.len() {
            self.devices.resize_with(place(at) + 1, Device::default);
        }
        #[expect(clippy::indexing_slicing, reason = "the list has just been made long enough")]
        (at, &mut self.devices[place(at)])
    }
}

fn place(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Own(u8, u8),
        Name(u8, u8),
        Remove(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0_u8..6, 0_u8..3).prop_map(|(id, owner)| Step::Own(id, owner)),
            (0_u8..6, 0_u8..4).prop_map(|(id, identifier)| Step::Name(id, identifier)),
            (0_u8..6).prop_map(Step::Remove),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        /// Places are used again, and identifiers go from one device to another.
        #[test]
        fn devices_are_those_of_a_model(steps in steps()) {
            let mut devices = Devices::default();
            let mut owners = BTreeMap::<u8, u8>::new();
            let mut names = BTreeMap::<u8, u8>::new();
            let mut known = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Own(id, owner) => {
                        *devices.entry(&id.to_string()) = [Arc::from(owner.to_string())].into();
                        owners.insert(id, owner);
                        known.insert(id);
                    }
                    Step::Name(id, identifier) => {
                        devices.name(&id.to_string(), identifier.to_string());
                        // The newest name wins: a device that had it before has none.
                        names.retain(|known, name| *known == id || *name != identifier);
                        names.insert(id, identifier);
                        known.insert(id);
                    }
                    Step::Remove(id) => {
                        devices.remove(&id.to_string());
                        owners.remove(&id);
                        names.remove(&id);
                        known.remove(&id);
                    }
                }
                prop_assert_eq!(devices.ids.len(), known.len());
                prop_assert_eq!(devices.devices.len(), known.len() + devices.free.len());
                prop_assert_eq!(devices.count(), names.len());
                for (id, identifier) in &names {
                    let expected: Vec<String> = owners.get(id).map(ToString::to_string).into_iter().collect();
                    let found = devices.owners(&identifier.to_string()).expect("a device");
                    prop_assert!(found.iter().map(ToString::to_string).eq(expected));
                }
            }
        }
    }
}
