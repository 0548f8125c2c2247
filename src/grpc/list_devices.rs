//! `ListDevices`: message to request, page to message.

use tonic::{Request, Response, Status};

use super::{Admitted, admitted, page, timestamp::text};
use crate::{
    domain::list_devices::ListedDevice,
    pb,
    service::{ListDevicesCall, Service},
};

pub(super) async fn handle(
    service: &Service,
    request: Request<pb::ListDevicesRequest>,
) -> Result<Response<pb::ListDevicesResponse>, Status> {
    let (Admitted { caller, .. }, message) = admitted(request)?;
    let call = ListDevicesCall {
        device_type: message.r#type,
        prefix: message.prefix,
        is_unassigned: message.unassigned,
        page: page::fields(message.page_size, message.page_token, message.min_revision),
    };
    let devices = service.list_devices(&caller, &call).await;
    let entry = |device: ListedDevice| {
        Ok(pb::ListedDevice {
            identifier: device.identifier,
            device_id: device.id.to_string(),
            r#type: device.device_type,
            created_at: text(device.created_at)?,
        })
    };
    page::respond(devices, entry, |devices, next_page_token, revision| {
        pb::ListDevicesResponse {
            devices,
            next_page_token,
            revision,
        }
    })
}
