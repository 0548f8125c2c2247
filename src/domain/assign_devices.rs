//! The command to assign devices to a customer, and what became of it.

use std::collections::HashSet;

use super::{
    Field, Violations,
    device::{DeviceIdentifier, DeviceType},
    email::Email,
    id::{CustomerId, DeviceId},
};

/// Assign these devices to this customer. Valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignDevices {
    customer: Email,
    devices: Vec<DeviceIdentifier>,
    unknown_devices: UnknownDevices,
}

/// What to do with an identifier that leads to no device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnknownDevices {
    /// Leave it alone, and say so.
    Skip,
    /// Create a device of this type.
    Create(DeviceType),
}

impl AssignDevices {
    /// Reads the fields of a request. `max_devices` bounds the identifiers as given, before repeated ones are
    /// folded into their first place.
    ///
    /// # Errors
    /// Every broken rule of every field at once.
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

    /// What is wrong with a request of more identifiers than `max_devices`, which is refused before they are read.
    pub fn too_many_devices(max_devices: usize) -> Violations {
        let mut violations = Violations::default();
        violations.push(Field::DeviceIdentifiers, too_many_devices(max_devices));
        violations
    }

    /// What is wrong with a request whose answer could be larger than `max_bytes`.
    pub fn answer_too_large(max_bytes: usize) -> Violations {
        let problem =
            format!("The answer could be larger than {max_bytes} bytes; send fewer device identifiers in a request");
        let mut violations = Violations::default();
        violations.push(Field::DeviceIdentifiers, problem);
        violations
    }

    /// Whom the devices go to.
    pub fn customer(&self) -> &Email {
        &self.customer
    }

    /// The distinct identifiers, in the order of the request. Never empty.
    pub fn devices(&self) -> &[DeviceIdentifier] {
        &self.devices
    }

    /// What to do with those that lead to no device.
    pub fn unknown_devices(&self) -> &UnknownDevices {
        &self.unknown_devices
    }
}

/// What became of an [`AssignDevices`] that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whom the devices were assigned to.
    pub customer_id: CustomerId,
    /// Whether this call created the customer.
    pub customer_was_created: bool,
    /// Each distinct identifier and its fate, in the order of the request.
    pub devices: Vec<(DeviceIdentifier, Fate)>,
}

/// What became of one identifier.
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
    /// The identifier leads to no device.
    Skipped,
}

// Each of the following returns `None` exactly when it has added a violation.

fn customer(email: &str, violations: &mut Violations) -> Option<Email> {
    let problem = match Email::parse(email) {
        Ok(email) => return Some(email),
        Err(_) if email.trim().is_empty() => "customerEmail is required",
        Err(_) => "customerEmail must be a valid email address",
    };
    violations.push(Field::CustomerEmail, problem);
    None
}

fn devices(identifiers: &[String], max: usize, violations: &mut Violations) -> Option<Vec<DeviceIdentifier>> {
    let mut valid = true;
    let mut refuse = |field, description| {
        valid = false;
        violations.push(field, description);
    };
    if identifiers.is_empty() {
        refuse(Field::DeviceIdentifiers, "deviceIdentifiers must not be empty".into());
    }
    if identifiers.len() > max {
        refuse(Field::DeviceIdentifiers, too_many_devices(max));
    }
    let mut seen = HashSet::with_capacity(identifiers.len());
    let mut devices = Vec::with_capacity(identifiers.len());
    for (index, identifier) in identifiers.iter().enumerate() {
        match DeviceIdentifier::parse(identifier) {
            Ok(device) if seen.insert(identifier.trim()) => devices.push(device),
            Ok(_repeated) => {}
            Err(problem) => refuse(
                Field::DeviceIdentifier(index),
                format!("deviceIdentifiers[{index}] {problem}"),
            ),
        }
    }
    valid.then_some(devices)
}

fn too_many_devices(max: usize) -> String {
    format!("Too many devices. Maximum {max} per request")
}

fn unknown_devices(create: bool, device_type: Option<&str>, violations: &mut Violations) -> Option<UnknownDevices> {
    if !create {
        return Some(UnknownDevices::Skip);
    }
    let given = device_type.unwrap_or_default();
    let problem = match DeviceType::parse(given) {
        Ok(device_type) => return Some(UnknownDevices::Create(device_type)),
        Err(_) if given.trim().is_empty() => "deviceType is required when autoCreateDevices is true".into(),
        Err(problem) => format!("deviceType {problem}"),
    };
    violations.push(Field::DeviceType, problem);
    None
}

#[cfg(test)]
mod tests;
