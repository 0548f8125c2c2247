//! `BulkUpdateDeviceMetadata`: message to request, outcome to message.

use tonic::{Request, Response, Status};

use super::admitted;
use crate::{
    domain::bulk_update_metadata::{BulkUpdateMetadata, Outcome},
    pb,
    service::{BulkUpdateMetadataRequest, Service},
};

pub(super) async fn handle(
    service: &Service,
    request: Request<pb::BulkUpdateDeviceMetadataRequest>,
) -> Result<Response<pb::BulkUpdateDeviceMetadataResponse>, Status> {
    let (call, message) = admitted(request)?;
    let write = call.write(&message, pb::BulkUpdateDeviceMetadataResponse::from)?;
    let written = service.bulk_update_metadata(&write, &message.into()).await;
    call.respond::<BulkUpdateMetadata, _>(written, pb::BulkUpdateDeviceMetadataResponse::from)
}

impl From<pb::BulkUpdateDeviceMetadataRequest> for BulkUpdateMetadataRequest {
    fn from(message: pb::BulkUpdateDeviceMetadataRequest) -> Self {
        let devices = message.devices.into_iter();
        Self {
            devices: devices
                .map(|device| (device.identifier, device.metadata_json))
                .collect(),
            validate_only: message.validate_only,
        }
    }
}

impl From<Outcome> for pb::BulkUpdateDeviceMetadataResponse {
    fn from(outcome: Outcome) -> Self {
        let mut answer = Self {
            success: true,
            ..Self::default()
        };
        for (identifier, device) in outcome.devices {
            let status = if device.is_some() { "updated" } else { "not_found" };
            answer.updated += i32::from(device.is_some());
            answer.not_found += i32::from(device.is_none());
            answer.results.push(pb::DeviceMetadataResult {
                identifier: identifier.into(),
                device_id: device.map(|device| device.to_string()).unwrap_or_default(),
                status: status.to_owned(),
            });
        }
        answer
    }
}
