//! `AssignDevicesToOwner`: the message as a request, and the outcome as a message.

use tonic::{Request, Response, Status};

use super::admitted;
use crate::{
    domain::{
        assign_devices::{AssignDevices, Fate, Outcome},
        device::DeviceIdentifier,
        id::{DeviceId, id_text},
    },
    pb::{AssignDevicesToOwnerRequest, AssignDevicesToOwnerResponse, AssignedDevice},
    service::{AssignDevicesRequest, Service},
};

pub(super) async fn handle(
    service: &Service,
    request: Request<AssignDevicesToOwnerRequest>,
) -> Result<Response<AssignDevicesToOwnerResponse>, Status> {
    let (call, message) = admitted(request)?;
    let write = call.write(&message, AssignDevicesToOwnerResponse::from)?;
    let written = service.assign_devices(&write, &message.into()).await;
    call.respond::<AssignDevices, _>(written, AssignDevicesToOwnerResponse::from)
}

impl From<AssignDevicesToOwnerRequest> for AssignDevicesRequest {
    fn from(message: AssignDevicesToOwnerRequest) -> Self {
        Self {
            customer_email: message.customer_email,
            device_identifiers: message.device_identifiers,
            auto_create_devices: message.auto_create_devices,
            device_type: message.device_type,
            validate_only: message.validate_only,
        }
    }
}

impl From<Outcome> for AssignDevicesToOwnerResponse {
    fn from(outcome: Outcome) -> Self {
        let owned = outcome.tally().owned();
        let mut assigned_devices = Vec::new();
        let mut already_assigned = Vec::new();
        let mut skipped = Vec::new();
        for (identifier, fate) in outcome.devices {
            match fate {
                Fate::Assigned { device_id, was_created } => {
                    assigned_devices.push(device(identifier, device_id, was_created));
                }
                Fate::AlreadyAssigned { device_id } => already_assigned.push(device(identifier, device_id, false)),
                Fate::Skipped => skipped.push(identifier.into()),
            }
        }
        Self {
            success: true,
            message: format!("Successfully assigned {owned} device(s) to customer"),
            customer_id: id_text(outcome.customer_id),
            customer_was_created: outcome.customer_was_created,
            assigned_devices,
            already_assigned,
            skipped,
        }
    }
}

fn device(identifier: DeviceIdentifier, id: DeviceId, was_created: bool) -> AssignedDevice {
    AssignedDevice {
        identifier: identifier.into(),
        device_id: id_text(id),
        was_created,
    }
}
