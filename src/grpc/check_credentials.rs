//! `CheckCredentials`: the record of a key as a message.

use tonic::{Request, Response, Status};

use super::{Admitted, admitted, status::to_status, timestamp::text};
use crate::{
    domain::Error,
    pb::{CheckCredentialsRequest, CheckCredentialsResponse},
    service::{KeyOwner, Service},
};

pub(super) async fn handle(
    service: &Service,
    request: Request<CheckCredentialsRequest>,
) -> Result<Response<CheckCredentialsResponse>, Status> {
    let (Admitted { caller, .. }, message) = admitted(request)?;
    let checked = service.check_credentials(&caller, message.refused_calls, message.refused_devices);
    let answer = checked.and_then(message_of);
    answer.map(Response::new).map_err(|error| to_status(&error))
}

fn message_of(owner: &KeyOwner) -> Result<CheckCredentialsResponse, Error> {
    Ok(CheckCredentialsResponse {
        organization_id: owner.organization.to_string(),
        organization_name: owner.organization_name.clone(),
        api_key_id: owner.key.to_string(),
        label: owner.label.clone(),
        scope: owner.scope.name().to_owned(),
        created_at: text(owner.created_at)?,
        expires_at: owner.expires_at.map(text).transpose()?,
    })
}
