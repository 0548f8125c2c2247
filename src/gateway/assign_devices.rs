//! `POST /api/ext-v1/deviceAssignment/assignDevicesToOwner`.

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Request, State},
    http::HeaderMap,
    response::IntoResponse,
};
use tonic::Code;

use super::{Answer, Gateway, Limits, Told, json, on_behalf, pass_on, problem::Problem};
use crate::grpc::pb::{AssignDevicesToOwnerRequest, AssignDevicesToOwnerResponse};

pub(super) async fn handle(State(gateway): State<Gateway>, request: Request) -> Answer {
    let headers = request.headers().clone();
    match read(&gateway, &headers, request).await {
        Ok(message) => {
            let Told { answer, limits } = gateway.assign_devices(&headers, message).await?;
            let mut response = Json(answer).into_response();
            pass_on(limits, response.headers_mut());
            Ok(response)
        }
        Err(problem) => {
            let limits = gateway.check_key(&headers).await?;
            Err(problem.with_limits(limits))
        }
    }
}

async fn read(
    gateway: &Gateway,
    headers: &HeaderMap,
    request: Request,
) -> Result<AssignDevicesToOwnerRequest, Problem> {
    let body = Bytes::from_request(request, &());
    let body = tokio::time::timeout(gateway.settings.body_timeout, body).await;
    let body = body.map_err(|_elapsed| Problem::too_slow())?;
    json::read(headers, body, gateway.settings.max_body_bytes)
}

impl Gateway {
    async fn assign_devices(
        &self,
        headers: &HeaderMap,
        message: AssignDevicesToOwnerRequest,
    ) -> Result<Told<AssignDevicesToOwnerResponse>, Problem> {
        let mut client = self.client.clone();
        self.answer(client.assign_devices_to_owner(on_behalf(headers, message)))
            .await
    }

    /// A caller with a wrong key learns that before anything about the body. The service judges keys, and it does so
    /// before it looks at the message: asked for nothing at all, it refuses the message only if the key is right. Returns
    /// what it tells of the key's limits.
    async fn check_key(&self, headers: &HeaderMap) -> Result<Limits, Problem> {
        match self
            .assign_devices(headers, AssignDevicesToOwnerRequest::default())
            .await
        {
            Err(problem) if problem.code() != Code::InvalidArgument => Err(problem),
            Err(problem) => Ok(problem.into_limits()),
            Ok(told) => Ok(told.limits),
        }
    }
}
