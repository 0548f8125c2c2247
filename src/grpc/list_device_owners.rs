//! `ListDeviceOwners`: message to request, page to message.

use tonic::{Request, Response, Status};

use super::{Admitted, admitted, batch_get_device_owners::owner, page};
use crate::{
    pb,
    service::{ListDeviceOwnersCall, Service},
};

pub(super) async fn handle(
    service: &Service,
    request: Request<pb::ListDeviceOwnersRequest>,
) -> Result<Response<pb::ListDeviceOwnersResponse>, Status> {
    let (Admitted { caller, .. }, message) = admitted(request)?;
    let call = ListDeviceOwnersCall {
        device_identifier: message.device_identifier,
        page: page::fields(message.page_size, message.page_token, message.min_revision),
    };
    let owners = service.list_device_owners(&caller, &call).await;
    page::respond(owners, owner, |owners, next_page_token, revision| {
        pb::ListDeviceOwnersResponse {
            owners,
            next_page_token,
            revision,
        }
    })
}
