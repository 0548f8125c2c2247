//! The devices of a state.

use super::State;
use crate::domain::{
    change::{ChangeSet, NewDevice},
    device::{DeviceIdentifier, DeviceType},
    id::DeviceId,
    json_object::JsonObject,
};

impl State<'_> {
    /// The device with this identifier.
    pub fn device(&self, identifier: &DeviceIdentifier) -> Option<DeviceId> {
        let changed = self.devices.get(identifier).copied();
        changed.unwrap_or_else(|| self.existing.devices.get(identifier.as_str()).copied())
    }

    /// Creates a device without properties. There must be none with this identifier.
    pub fn create_device(&mut self, identifier: &DeviceIdentifier, device_type: &DeviceType) -> DeviceId {
        self.create_device_with(identifier, device_type, None)
    }

    /// Creates a device. There must be none with this identifier.
    pub fn create_device_with(
        &mut self,
        identifier: &DeviceIdentifier,
        device_type: &DeviceType,
        properties: Option<JsonObject>,
    ) -> DeviceId {
        let id = DeviceId::from_uuid((self.new_id)());
        self.devices.insert(identifier.clone(), Some(id));
        self.created_devices.insert(id, self.changes.devices.len());
        self.changes.devices.push(NewDevice {
            id,
            identifier: identifier.clone(),
            device_type: device_type.clone(),
            properties,
        });
        self.record(|entry| entry.devices_created.push(id));
        id
    }

    /// Gives a device this type. Returns whether it had another one.
    pub fn set_type(&mut self, device: (&DeviceIdentifier, DeviceId), device_type: &DeviceType) -> bool {
        if self.type_of(device) == Some(device_type.as_str()) {
            return false;
        }
        let (identifier, id) = device;
        match self.created_device(id) {
            Some(created) => created.device_type = device_type.clone(),
            None => {
                self.types.insert(identifier.clone(), device_type.clone());
            }
        }
        self.record_update(id);
        true
    }

    /// Gives a device these properties. Returns whether it had others.
    pub fn set_properties(&mut self, device: (&DeviceIdentifier, DeviceId), properties: &JsonObject) -> bool {
        if self.properties_of(device) == Some(properties.as_str()) {
            return false;
        }
        let (identifier, id) = device;
        match self.created_device(id) {
            Some(created) => created.properties = Some(properties.clone()),
            None => {
                self.properties.insert(identifier.clone(), properties.clone());
            }
        }
        self.record_update(id);
        true
    }

    /// The type and the properties of a device. The command must have asked for them.
    pub fn type_and_properties(&self, device: (&DeviceIdentifier, DeviceId)) -> (String, String) {
        let device_type = self.type_of(device).unwrap_or_default();
        let properties = self.properties_of(device).unwrap_or_default();
        (device_type.to_owned(), properties.to_owned())
    }

    /// Deletes a device that has no owners.
    pub fn delete_device(&mut self, (identifier, id): (&DeviceIdentifier, DeviceId)) {
        self.devices.insert(identifier.clone(), None);
        self.types.remove(identifier);
        self.properties.remove(identifier);
        if self.created_devices.remove(&id).is_none() {
            self.changes.devices_deleted.push(id);
        }
        self.record(|entry| entry.devices_deleted.push(id));
    }

    fn type_of(&self, (identifier, id): (&DeviceIdentifier, DeviceId)) -> Option<&str> {
        if let Some(position) = self.created_devices.get(&id) {
            return Some(self.changes.devices.get(*position)?.device_type.as_str());
        }
        let changed = self.types.get(identifier).map(DeviceType::as_str);
        changed.or_else(|| self.existing.types.get(&id).map(String::as_str))
    }

    /// The properties of a device, if they are known. Those that a command wants to set are known if the device has them.
    fn properties_of(&self, (identifier, id): (&DeviceIdentifier, DeviceId)) -> Option<&str> {
        if let Some(position) = self.created_devices.get(&id) {
            let created = self.changes.devices.get(*position)?.properties.as_ref();
            return Some(created.map_or("{}", JsonObject::as_str));
        }
        let changed = self.properties.get(identifier).map(JsonObject::as_str);
        changed.or_else(|| self.existing.properties.get(&id).map(String::as_str))
    }

    fn created_device(&mut self, id: DeviceId) -> Option<&mut NewDevice> {
        let position = self.created_devices.get(&id)?;
        self.changes.devices.get_mut(*position)
    }

    /// Records that the command changed a device, once.
    fn record_update(&mut self, id: DeviceId) {
        self.record(|entry| {
            if entry.devices_updated.last() != Some(&id) {
                entry.devices_updated.push(id);
            }
        });
    }

    /// Adds what changed of devices.
    pub(super) fn device_changes(&mut self, changes: &mut ChangeSet) {
        changes.types = std::mem::take(&mut self.types).into_iter().collect();
        changes.properties = std::mem::take(&mut self.properties).into_iter().collect();
        changes
            .devices
            .retain(|device| self.created_devices.contains_key(&device.id));
        changes
            .devices
            .sort_unstable_by(|one, other| one.identifier.cmp(&other.identifier));
        changes.devices_deleted.sort_unstable();
    }
}
