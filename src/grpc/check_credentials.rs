//! `CheckCredentials`: credentials to message.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tonic::{Request, Response, Status};

use super::{Admitted, admitted, status::to_status};
use crate::{
    domain::{Cause, Error},
    pb::{CheckCredentialsRequest, CheckCredentialsResponse},
    service::{Credentials, Service},
};

pub(super) async fn handle(
    service: &Service,
    request: Request<CheckCredentialsRequest>,
) -> Result<Response<CheckCredentialsResponse>, Status> {
    let (Admitted { caller, .. }, message) = admitted(request)?;
    let checked = async {
        service.count_refused(&caller, message.refused_calls, message.refused_devices)?;
        message_of(service.check_credentials(&caller).await?)
    };
    checked.await.map(Response::new).map_err(|error| to_status(&error))
}

fn message_of(Credentials { organization_name, key }: Credentials) -> Result<CheckCredentialsResponse, Error> {
    Ok(CheckCredentialsResponse {
        organization_id: key.organization.to_string(),
        organization_name,
        api_key_id: key.id.to_string(),
        label: key.label,
        created_at: text(key.created_at)?,
        expires_at: key.expires_at.map(text).transpose()?,
    })
}

fn text(time: OffsetDateTime) -> Result<String, Error> {
    // Only a year of five digits has no such form.
    time.format(&Rfc3339).map_err(|error| Error::Internal(Cause::new(error)))
}
