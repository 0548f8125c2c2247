//! The look-up of many devices with their owners.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    Field, FieldProblem, InvalidText, Violations,
    change::Revision,
    device::DeviceIdentifier,
    id::{CustomerId, DeviceId},
    page::Entry,
};

/// The most devices in one look-up.
pub const MAX_DEVICES: usize = 1_000;
/// The most owners that are listed for each device.
pub const MAX_OWNERS: usize = 100;
/// The most owners in one response. They are divided evenly: whether a device is listed with all its owners must not depend on the
/// devices before it.
const MAX_OWNERS_IN_ALL: usize = 10_000;
/// The most devices that are each listed with [`MAX_OWNERS`] owners.
pub const MAX_DEVICES_WITH_ALL_OWNERS: usize = MAX_OWNERS_IN_ALL / MAX_OWNERS;

/// Look up the owners of these devices. Valid by construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchGetDeviceOwners {
    devices: Vec<DeviceIdentifier>,
    min_revision: Revision,
}

impl BatchGetDeviceOwners {
    /// Reads the fields of a request. `max_devices` limits the identifiers; [`MAX_DEVICES`] does, too.
    ///
    /// # Errors
    /// Every problem of every field.
    pub fn parse(identifiers: &[String], min_revision: u64, max_devices: usize) -> Result<Self, Violations> {
        let mut violations = Violations::default();
        let (count, max) = (identifiers.len(), max_devices.min(MAX_DEVICES));
        if count == 0 {
            violations.push(Field::DeviceIdentifiers, FieldProblem::Text(InvalidText::Empty));
        }
        if count > max {
            violations.push(Field::DeviceIdentifiers, FieldProblem::TooManyDevices { count, max });
        }
        let mut devices = Vec::with_capacity(count.min(max));
        for (index, identifier) in identifiers.iter().enumerate() {
            match DeviceIdentifier::parse(identifier) {
                Ok(device) => devices.push(device),
                Err(problem) => violations.push(Field::DeviceIdentifier(index), FieldProblem::Text(problem)),
            }
        }
        if violations.count() > 0 {
            return Err(violations);
        }
        let min_revision = min_revision.into();
        Ok(Self { devices, min_revision })
    }

    /// The identifiers in the order of the request. Never empty; one may be repeated.
    pub fn devices(&self) -> &[DeviceIdentifier] {
        &self.devices
    }

    /// As [`devices`](Self::devices).
    pub fn into_devices(self) -> Vec<DeviceIdentifier> {
        self.devices
    }

    /// The revision that the answer must have or exceed.
    pub fn min_revision(&self) -> Revision {
        self.min_revision
    }

    /// The most owners that are listed for each device.
    pub fn max_owners(&self) -> usize {
        MAX_OWNERS.min(MAX_OWNERS_IN_ALL / self.devices.len().max(1))
    }
}

/// A device that exists, with its owners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedDevice {
    /// Its id.
    pub id: DeviceId,
    /// Its type.
    pub device_type: String,
    /// Its owners in the order of their ids.
    pub owners: Vec<Owner>,
    /// Whether it has more owners than are listed.
    pub has_more_owners: bool,
}

/// An owner of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The customer.
    pub id: CustomerId,
    /// The customer's email address.
    pub email: String,
    /// When the device was assigned to the customer.
    pub assigned_at: OffsetDateTime,
}

impl Entry for Owner {
    type Position = Uuid;

    fn position(&self) -> Uuid {
        self.id.uuid()
    }

    fn bytes(&self) -> usize {
        self.email.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(identifiers: &[&str]) -> Result<BatchGetDeviceOwners, Violations> {
        let identifiers: Vec<String> = identifiers.iter().map(|text| (*text).to_owned()).collect();
        BatchGetDeviceOwners::parse(&identifiers, 7, 10_000)
    }

    #[test]
    fn identifiers_keep_their_order_and_may_be_repeated() {
        let request = parse(&["SN-2", " SN-1 ", "SN-2"]).expect("valid");
        let devices: Vec<&str> = request.devices().iter().map(DeviceIdentifier::as_str).collect();
        assert_eq!(devices, ["SN-2", "SN-1", "SN-2"]);
        assert_eq!(request.min_revision().number(), 7);
    }

    #[test]
    fn every_invalid_field_is_reported() {
        let fields = |violations: Violations| {
            let fields: Vec<Field> = violations.listed().iter().map(|violation| violation.field).collect();
            fields
        };
        let violations = parse(&["", "SN-1", "a\0b"]).expect_err("invalid");
        assert_eq!(
            fields(violations),
            [Field::DeviceIdentifier(0), Field::DeviceIdentifier(2)]
        );
        assert_eq!(fields(parse(&[]).expect_err("empty")), [Field::DeviceIdentifiers]);
        assert!(parse(&["SN-1"; MAX_DEVICES]).is_ok());
        let problem = FieldProblem::TooManyDevices {
            count: 1_001,
            max: 1_000,
        };
        assert_eq!(
            parse(&["SN-1"; MAX_DEVICES + 1]),
            Err(Violations::one(Field::DeviceIdentifiers, problem))
        );
    }

    #[test]
    fn owners_are_divided_evenly() {
        for (devices, owners) in [(1, 100), (100, 100), (101, 99), (1_000, 10)] {
            assert_eq!(parse(&vec!["SN-1"; devices]).expect("valid").max_owners(), owners);
        }
    }
}
