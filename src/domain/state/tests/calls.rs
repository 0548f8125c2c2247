//! Random calls of all kinds, on few names.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::domain::{
    assign_device::AssignDevice,
    assign_devices::AssignDevices,
    bulk_update_metadata::BulkUpdateMetadata,
    create_or_update_customer::{CreateOrUpdateCustomer, Fields},
    create_or_update_device::CreateOrUpdateDevice,
    delete_customer::DeleteCustomer,
    delete_device::DeleteDevice,
    device::{DeviceIdentifier, DeviceType},
    import_devices::ImportDevices,
    transfer_devices::TransferDevices,
    unassign_devices::UnassignDevices,
};

// So few names that commands keep naming the same ones.
pub(super) const CUSTOMERS: [&str; 3] = ["ann@example.com", "bob@example.com", "cat@example.org"];
pub(super) const DEVICES: [&str; 6] = ["0", "SN-1", "sn-1", "sn-10", "sn-2", "ü"];
pub(super) const TYPES: [&str; 2] = ["sensor", "Gateway"];
pub(super) const PROPERTIES: [&str; 3] = ["{}", r#"{"a":1}"#, r#"{"a":1.0}"#];

/// A call, in positions of the tables above.
#[derive(Debug, Clone)]
pub(super) enum Call {
    Assign {
        customer: usize,
        spelling: Spelling,
        devices: Vec<usize>,
        create: Option<usize>,
    },
    Unassign {
        customer: usize,
        devices: Vec<usize>,
        lists_remaining: bool,
    },
    UnassignOne {
        customer: usize,
        device: usize,
    },
    Import {
        devices: Vec<(usize, usize)>,
    },
    AssignDevice {
        device: usize,
        customers: Vec<usize>,
        create: Option<usize>,
    },
    Transfer {
        customer: usize,
        devices: Vec<usize>,
        create: Option<usize>,
        expected: Option<usize>,
    },
    UpdateDevice {
        device: usize,
        device_type: Option<usize>,
        properties: Option<usize>,
    },
    /// The devices are distinct.
    UpdateMetadata {
        devices: BTreeMap<usize, usize>,
    },
    DeleteDevice {
        device: usize,
    },
    CreateCustomer {
        customer: usize,
    },
    DeleteCustomer {
        customer: usize,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Spelling {
    Stored,
    Upper,
    Padded,
}

/// Random calls.
pub(super) fn calls() -> impl Strategy<Value = Call> {
    let spelling = prop_oneof![Just(Spelling::Stored), Just(Spelling::Upper), Just(Spelling::Padded)];
    let devices = || prop::collection::vec(0..DEVICES.len(), 1..=6);
    let assign = (
        0..CUSTOMERS.len(),
        spelling,
        devices(),
        prop::option::of(0..TYPES.len()),
    )
        .prop_map(|(customer, spelling, devices, create)| Call::Assign {
            customer,
            spelling,
            devices,
            create,
        });
    let unassign = (0..CUSTOMERS.len(), devices(), any::<bool>()).prop_map(|(customer, devices, lists_remaining)| {
        Call::Unassign {
            customer,
            devices,
            lists_remaining,
        }
    });
    let unassign_one = (0..CUSTOMERS.len(), 0..DEVICES.len());
    let unassign_one = unassign_one.prop_map(|(customer, device)| Call::UnassignOne { customer, device });
    let import = prop::collection::vec((0..DEVICES.len(), 0..TYPES.len()), 1..=4);
    let import = import.prop_map(|devices| Call::Import { devices });
    let assign_device = (
        0..DEVICES.len(),
        prop::collection::vec(0..CUSTOMERS.len(), 1..=4),
        prop::option::of(0..TYPES.len()),
    )
        .prop_map(|(device, customers, create)| Call::AssignDevice {
            device,
            customers,
            create,
        });
    let transfer = (
        0..CUSTOMERS.len(),
        devices(),
        prop::option::of(0..TYPES.len()),
        prop::option::of(0..CUSTOMERS.len()),
    )
        .prop_map(|(customer, devices, create, expected)| Call::Transfer {
            customer,
            devices,
            create,
            expected,
        });
    let update_device = (
        0..DEVICES.len(),
        prop::option::of(0..TYPES.len()),
        prop::option::of(0..PROPERTIES.len()),
    )
        .prop_map(|(device, device_type, properties)| Call::UpdateDevice {
            device,
            device_type,
            properties,
        });
    let update_metadata = prop::collection::btree_map(0..DEVICES.len(), 0..PROPERTIES.len(), 1..=3);
    let update_metadata = update_metadata.prop_map(|devices| Call::UpdateMetadata { devices });
    let delete_device = (0..DEVICES.len()).prop_map(|device| Call::DeleteDevice { device });
    let create_customer = (0..CUSTOMERS.len()).prop_map(|customer| Call::CreateCustomer { customer });
    let delete_customer = (0..CUSTOMERS.len()).prop_map(|customer| Call::DeleteCustomer { customer });
    prop_oneof![
        8 => assign,
        6 => unassign,
        4 => unassign_one,
        2 => import,
        3 => assign_device,
        6 => transfer,
        3 => update_device,
        2 => update_metadata,
        2 => delete_device,
        1 => create_customer,
        2 => delete_customer,
    ]
}

/// Any of the commands.
pub(super) enum AnyCommand {
    Assign(AssignDevices),
    AssignDevice(AssignDevice),
    Transfer(TransferDevices),
    Unassign(UnassignDevices),
    Import(ImportDevices),
    UpdateDevice(CreateOrUpdateDevice),
    UpdateMetadata(BulkUpdateMetadata),
    DeleteDevice(DeleteDevice),
    CreateCustomer(CreateOrUpdateCustomer),
    DeleteCustomer(DeleteCustomer),
}

impl Call {
    pub(super) fn command(&self) -> AnyCommand {
        match self {
            Self::Assign {
                customer,
                spelling,
                devices,
                create,
            } => {
                let email = CUSTOMERS[*customer];
                let email = match spelling {
                    Spelling::Stored => email.to_owned(),
                    Spelling::Upper => email.to_uppercase(),
                    Spelling::Padded => format!(" {email}\t"),
                };
                let devices = names(devices);
                let device_type = create.map(|device_type| TYPES[device_type]);
                let command = AssignDevices::parse(&email, &devices, device_type.is_some(), device_type, devices.len());
                AnyCommand::Assign(command.expect("a valid call"))
            }
            Self::Unassign {
                customer,
                devices,
                lists_remaining,
            } => {
                let devices = names(devices);
                let command = UnassignDevices::parse(CUSTOMERS[*customer], &devices, *lists_remaining, devices.len());
                AnyCommand::Unassign(command.expect("a valid call"))
            }
            Self::UnassignOne { customer, device } => {
                let command = UnassignDevices::parse_one(CUSTOMERS[*customer], DEVICES[*device], true);
                AnyCommand::Unassign(command.expect("a valid call"))
            }
            Self::AssignDevice {
                device,
                customers,
                create,
            } => {
                let emails: Vec<_> = customers
                    .iter()
                    .map(|customer| CUSTOMERS[*customer].to_owned())
                    .collect();
                let device_type = create.map(|device_type| TYPES[device_type]);
                let command = AssignDevice::parse(DEVICES[*device], &emails, device_type.is_some(), device_type);
                AnyCommand::AssignDevice(command.expect("a valid call"))
            }
            Self::Transfer {
                customer,
                devices,
                create,
                expected,
            } => {
                let devices = names(devices);
                let device_type = create.map(|device_type| TYPES[device_type]);
                let command = TransferDevices::parse(
                    CUSTOMERS[*customer],
                    &devices,
                    device_type.is_some(),
                    device_type,
                    expected.map(|expected| CUSTOMERS[expected]),
                    devices.len(),
                );
                AnyCommand::Transfer(command.expect("a valid call"))
            }
            Self::Import { devices } => {
                let devices = devices.iter().map(|(device, device_type)| {
                    let identifier = DeviceIdentifier::parse(DEVICES[*device]).expect("an identifier");
                    (identifier, DeviceType::parse(TYPES[*device_type]).expect("a type"))
                });
                AnyCommand::Import(ImportDevices::new(devices))
            }
            Self::UpdateDevice {
                device,
                device_type,
                properties,
            } => {
                let device_type = device_type.map(|device_type| TYPES[device_type]);
                let properties = properties.map(|properties| PROPERTIES[properties]);
                let command = CreateOrUpdateDevice::parse(DEVICES[*device], device_type, properties);
                AnyCommand::UpdateDevice(command.expect("a valid call"))
            }
            Self::UpdateMetadata { devices } => {
                let devices = devices
                    .iter()
                    .map(|(device, properties)| (DEVICES[*device], PROPERTIES[*properties]));
                AnyCommand::UpdateMetadata(BulkUpdateMetadata::parse(devices).expect("a valid call"))
            }
            Self::DeleteDevice { device } => {
                AnyCommand::DeleteDevice(DeleteDevice::parse(DEVICES[*device]).expect("a valid call"))
            }
            Self::CreateCustomer { customer } => {
                let fields = Fields {
                    email: CUSTOMERS[*customer],
                    ..Fields::default()
                };
                AnyCommand::CreateCustomer(CreateOrUpdateCustomer::parse(fields).expect("a valid call"))
            }
            Self::DeleteCustomer { customer } => {
                let command = DeleteCustomer::parse(CUSTOMERS[*customer], None);
                AnyCommand::DeleteCustomer(command.expect("a valid call"))
            }
        }
    }
}

fn names(devices: &[usize]) -> Vec<String> {
    devices.iter().map(|device| DEVICES[*device].to_owned()).collect()
}

/// The distinct identifiers, each at its first position.
pub(super) fn distinct(devices: &[usize]) -> Vec<&'static str> {
    let mut distinct = Vec::new();
    for device in devices {
        if !distinct.contains(&DEVICES[*device]) {
            distinct.push(DEVICES[*device]);
        }
    }
    distinct
}
