//! What a database would do with the organization of the model: return what it has, write changes, and replay the log.

use super::{model::World, names::Ids};
use crate::domain::{
    change::{ChangeSet, LogEntry},
    customer::CustomerData,
    email::Email,
    id::{CustomerId, DeviceId},
    state::{DeviceList, Existing, Linked},
};

impl World {
    /// The same with ids, as the database returns it.
    pub(super) fn existing(&self, ids: &mut Ids) -> Existing {
        let mut existing = Existing::default();
        for email in &self.customers {
            let id = ids.customers.id_of(email).unwrap_or_else(|| {
                let id = CustomerId::from_uuid(ids.next());
                ids.customers.learn(id, email);
                id
            });
            existing.customers.insert(email.clone(), id);
            existing.listed.insert(id, DeviceList::default());
            let data = CustomerData::new(Email::from_stored(email.clone()));
            existing.data.insert(id, data);
            existing.owned.insert(id, Linked::default());
        }
        for (identifier, device_type) in &self.devices {
            let id = ids.devices.id_of(identifier).unwrap_or_else(|| {
                let id = DeviceId::from_uuid(ids.next());
                ids.devices.learn(id, identifier);
                id
            });
            existing.devices.insert(identifier.clone(), id);
            existing.types.insert(id, device_type.clone());
            existing.properties.insert(id, self.properties_of(identifier));
            existing.owners.insert(id, Linked::default());
        }
        for (email, identifier) in &self.assignments {
            let pair = (existing.customers[email], existing.devices[identifier]);
            existing.assignments.insert(pair);
            let list = existing.listed.entry(pair.0).or_default();
            list.first.insert(identifier.clone(), pair.1);
            list.count += 1;
            existing.owned.entry(pair.0).or_default().known.push(pair.1);
            existing.owners.entry(pair.1).or_default().known.push(pair.0);
        }
        for owned in existing.owned.values_mut() {
            owned.known.sort_unstable();
        }
        for owners in existing.owners.values_mut() {
            owners.known.sort_unstable();
        }
        existing
    }

    /// Writes a change set, as the database would.
    pub(super) fn write(&mut self, changes: &ChangeSet, ids: &Ids) {
        for pair in &changes.unassigned {
            assert!(self.assignments.remove(&ids.pair(pair)), "{pair:?} is not assigned");
        }
        for customer in &changes.customers_deleted {
            assert!(
                self.customers.remove(&ids.customers.name(customer)),
                "{customer} does not exist"
            );
        }
        for device in &changes.devices_deleted {
            let identifier = ids.devices.name(device);
            self.properties.remove(&identifier);
            assert!(self.devices.remove(&identifier).is_some(), "{device} does not exist");
        }
        assert!(
            changes.customers_updated.is_empty(),
            "no call of the model changes a customer"
        );
        for customer in &changes.customers {
            assert!(
                self.customers.insert(customer.data.email.to_string()),
                "{customer:?} exists"
            );
        }
        for device in &changes.devices {
            let identifier = device.identifier.to_string();
            let before = self.devices.insert(identifier.clone(), device.device_type.to_string());
            assert_eq!(before, None, "{device:?} exists");
            if let Some(properties) = &device.properties {
                self.set_properties(&identifier, properties.as_str());
            }
        }
        for (identifier, device_type) in &changes.types {
            let before = self.devices.insert(identifier.to_string(), device_type.to_string());
            assert!(before.is_some(), "{identifier:?} does not exist");
        }
        for (identifier, properties) in &changes.properties {
            assert!(
                self.devices.contains_key(identifier.as_str()),
                "{identifier:?} does not exist"
            );
            self.set_properties(identifier.as_str(), properties.as_str());
        }
        for pair in &changes.assigned {
            assert!(self.assignments.insert(ids.pair(pair)), "{pair:?} is assigned");
        }
    }

    /// Replays the log, which knows who exists and who owns what, but no types.
    pub(super) fn replay(&mut self, log: &[LogEntry], ids: &Ids) {
        for entry in log {
            for customer in &entry.customers_created {
                assert!(self.customers.insert(ids.customers.name(customer)), "{customer} exists");
            }
            for device in &entry.devices_created {
                let before = self.devices.insert(ids.devices.name(device), String::new());
                assert_eq!(before, None, "{device} exists");
            }
            for pair in &entry.unassigned {
                assert!(self.assignments.remove(&ids.pair(pair)), "{pair:?} is not assigned");
            }
            for customer in &entry.customers_deleted {
                assert!(
                    self.customers.remove(&ids.customers.name(customer)),
                    "{customer} does not exist"
                );
            }
            for device in &entry.devices_deleted {
                let before = self.devices.remove(&ids.devices.name(device));
                assert!(before.is_some(), "{device} does not exist");
            }
            for device in &entry.devices_updated {
                assert!(
                    self.devices.contains_key(&ids.devices.name(device)),
                    "{device} does not exist"
                );
            }
            for pair in &entry.assigned {
                assert!(self.assignments.insert(ids.pair(pair)), "{pair:?} is assigned");
            }
        }
    }

    /// Without the types and properties, which the log does not know.
    pub(super) fn without_types(mut self) -> Self {
        self.properties.clear();
        for device_type in self.devices.values_mut() {
            device_type.clear();
        }
        self
    }
}
