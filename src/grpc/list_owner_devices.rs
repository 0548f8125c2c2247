//! `ListOwnerDevices`: message to request, page to message.

use tonic::{Request, Response, Status};

use super::{Admitted, admitted, page, timestamp::text};
use crate::{
    domain::list_owner_devices::OwnerDevice,
    pb,
    service::{ListOwnerDevicesCall, Service},
};

pub(super) async fn handle(
    service: &Service,
    request: Request<pb::ListOwnerDevicesRequest>,
) -> Result<Response<pb::ListOwnerDevicesResponse>, Status> {
    let (Admitted { caller, .. }, message) = admitted(request)?;
    let call = ListOwnerDevicesCall {
        customer_email: message.customer_email,
        customer_id: message.customer_id,
        page: page::fields(message.page_size, message.page_token, message.min_revision),
    };
    let devices = service.list_owner_devices(&caller, &call).await;
    let entry = |device: OwnerDevice| {
        Ok(pb::OwnerDevice {
            identifier: device.identifier,
            device_id: device.id.to_string(),
            r#type: device.device_type,
            assigned_at: text(device.assigned_at)?,
        })
    };
    page::respond(devices, entry, |devices, next_page_token, revision| {
        pb::ListOwnerDevicesResponse {
            devices,
            next_page_token,
            revision,
        }
    })
}
