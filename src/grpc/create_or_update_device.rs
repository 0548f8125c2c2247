//! `CreateOrUpdateDevice`: message to request, outcome to message.

use tonic::{Request, Response, Status};

use super::admitted;
use crate::{
    domain::{
        create_or_update_device::{CreateOrUpdateDevice, Outcome},
        id::id_text,
    },
    pb, service,
    service::Service,
};

pub(super) async fn handle(
    service: &Service,
    request: Request<pb::CreateOrUpdateDeviceRequest>,
) -> Result<Response<pb::CreateOrUpdateDeviceResponse>, Status> {
    let (call, message) = admitted(request)?;
    let write = call.write(&message, pb::CreateOrUpdateDeviceResponse::from)?;
    let written = service.create_or_update_device(&write, &message.into()).await;
    call.respond::<CreateOrUpdateDevice, _>(written, pb::CreateOrUpdateDeviceResponse::from)
}

impl From<pb::CreateOrUpdateDeviceRequest> for service::CreateOrUpdateDeviceRequest {
    fn from(message: pb::CreateOrUpdateDeviceRequest) -> Self {
        Self {
            identifier: message.identifier,
            device_type: message.r#type,
            properties: message.properties_json,
            validate_only: message.validate_only,
        }
    }
}

impl From<Outcome> for pb::CreateOrUpdateDeviceResponse {
    fn from(outcome: Outcome) -> Self {
        let what = if outcome.was_created { "created" } else { "updated" };
        Self {
            success: true,
            message: format!("Device {what} successfully"),
            device_id: id_text(outcome.device_id),
            identifier: outcome.identifier.into(),
            r#type: outcome.device_type,
            properties_json: outcome.properties,
            was_created: outcome.was_created,
        }
    }
}
