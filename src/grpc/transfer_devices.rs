//! `TransferDevicesToOwner`: the message as a request, and the outcome as a message.

use tonic::{Request, Response, Status};

use super::admitted;
use crate::{
    domain::{
        assign_devices::Fate,
        command::Command,
        id::id_text,
        transfer_devices::{self, Outcome, TransferDevices},
    },
    pb::{TransferDevicesToOwnerRequest, TransferDevicesToOwnerResponse, TransferredDevice},
    service::{Service, TransferDevicesRequest},
};

pub(super) async fn handle(
    service: &Service,
    request: Request<TransferDevicesToOwnerRequest>,
) -> Result<Response<TransferDevicesToOwnerResponse>, Status> {
    let (call, message) = admitted(request)?;
    let write = call.write(&message, TransferDevicesToOwnerResponse::from)?;
    let written = service.transfer_devices(&write, &message.into()).await;
    call.respond::<TransferDevices, _>(written, TransferDevicesToOwnerResponse::from)
}

impl From<TransferDevicesToOwnerRequest> for TransferDevicesRequest {
    fn from(message: TransferDevicesToOwnerRequest) -> Self {
        Self {
            customer_email: message.customer_email,
            device_identifiers: message.device_identifiers,
            auto_create_devices: message.auto_create_devices,
            device_type: message.device_type,
            expected_owner: message.expected_owner,
            validate_only: message.validate_only,
        }
    }
}

impl From<Outcome> for TransferDevicesToOwnerResponse {
    fn from(outcome: Outcome) -> Self {
        let owned = TransferDevices::tally(&outcome).owned();
        let mut response = Self {
            success: true,
            message: format!("Successfully transferred {owned} device(s) to customer"),
            customer_id: id_text(outcome.customer_id),
            customer_was_created: outcome.customer_was_created,
            ..Self::default()
        };
        for device in outcome.devices {
            match device.fate {
                Fate::Assigned { .. } => response.assigned_devices.push(transferred(device)),
                Fate::AlreadyAssigned { .. } => response.already_assigned.push(transferred(device)),
                Fate::Skipped => response.skipped.push(device.identifier.into()),
            }
        }
        response
    }
}

fn transferred(device: transfer_devices::TransferredDevice) -> TransferredDevice {
    let (device_id, was_created) = match device.fate {
        Fate::Assigned { device_id, was_created } => (id_text(device_id), was_created),
        Fate::AlreadyAssigned { device_id } => (id_text(device_id), false),
        Fate::Skipped => (String::new(), false),
    };
    let owners = device.previous_owners;
    TransferredDevice {
        identifier: device.identifier.into(),
        device_id,
        was_created,
        previous_owners_count: i32::try_from(owners.len()).unwrap_or(i32::MAX),
        previous_owners: owners.into_iter().map(id_text).collect(),
    }
}
