//! `DeleteDevice`: message to request, outcome to message.

use tonic::{Request, Response, Status};

use super::admitted;
use crate::{
    domain::delete_device::{DeleteDevice, Outcome},
    pb, service,
    service::Service,
};

pub(super) async fn handle(
    service: &Service,
    request: Request<pb::DeleteDeviceRequest>,
) -> Result<Response<pb::DeleteDeviceResponse>, Status> {
    let (call, message) = admitted(request)?;
    let write = call.write(&message, pb::DeleteDeviceResponse::from)?;
    let request = service::DeleteDeviceRequest {
        identifier: message.identifier,
        validate_only: message.validate_only,
    };
    let written = service.delete_device(&write, &request).await;
    call.respond::<DeleteDevice, _>(written, pb::DeleteDeviceResponse::from)
}

impl From<Outcome> for pb::DeleteDeviceResponse {
    fn from(outcome: Outcome) -> Self {
        Self {
            success: true,
            message: "Device deleted successfully".into(),
            device_id: outcome.device_id.to_string(),
            unassigned_count: i32::try_from(outcome.unassigned).unwrap_or(i32::MAX),
        }
    }
}
