//! `GetDevice`: message to request, device to message.

use tonic::{Request, Response, Status};

use super::{Admitted, admitted, revision::response_at, status::to_status, timestamp::text};
use crate::{
    domain::{Error, get_device::DeviceDetails},
    pb,
    service::Service,
};

pub(super) async fn handle(
    service: &Service,
    request: Request<pb::GetDeviceRequest>,
) -> Result<Response<pb::GetDeviceResponse>, Status> {
    let (Admitted { caller, .. }, message) = admitted(request)?;
    let found = service.get_device(&caller, &message.identifier, message.min_revision);
    let answered = found.await.and_then(|found| {
        let message = answer(found.value, found.revision.number())?;
        Ok(response_at(found.revision, message))
    });
    answered.map_err(|error| to_status(&error))
}

fn answer(device: DeviceDetails, revision: u64) -> Result<pb::GetDeviceResponse, Error> {
    Ok(pb::GetDeviceResponse {
        device_id: device.id.to_string(),
        identifier: device.identifier,
        r#type: device.device_type,
        properties_json: device.properties,
        owners_count: i32::try_from(device.owners).unwrap_or(i32::MAX),
        created_at: text(device.created_at)?,
        revision,
    })
}
