//! Connects to the service, and finds out at once what would make every call fail.

use std::{error::Error, time::Duration};

use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_types::StatusExt;

use super::ClientError;
use crate::{
    code::code_name,
    error_chain::root_cause,
    key_headers::X_API_KEY,
    pb::{
        AssignDevicesToOwnerRequest, AssignDevicesToOwnerResponse, TransferDevicesToOwnerRequest,
        TransferDevicesToOwnerResponse, UnassignDevicesFromOwnerRequest, UnassignDevicesFromOwnerResponse,
        device_assignment_service_client::DeviceAssignmentServiceClient,
    },
};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a silent connection is tested.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long the first call may take, which finds out whether the service answers.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest response, in bytes: twice the most identifiers of a call at their greatest length.
pub(super) const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// The key of a call that can be sent again: the service carries it out once, and then returns the response of the first time.
#[derive(Debug, Clone)]
pub(super) struct IdempotencyKey(String);

impl IdempotencyKey {
    /// A new key.
    pub(super) fn new() -> Self {
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    /// Uses this key. A key of characters that a header cannot have is left out of requests.
    pub(super) fn from(key: &str) -> Self {
        Self(key.to_owned())
    }

    pub(super) fn add_to<M>(&self, request: &mut Request<M>) {
        if let Ok(key) = self.0.parse() {
            request.metadata_mut().insert("idempotency-key", key);
        }
    }
}

/// The service to call.
#[derive(Clone)]
pub struct Target {
    /// Where it is: `http://host:port` or `https://host:port`.
    pub url: String,
    /// The certificates (PEM) to trust instead of those of the public authorities.
    pub ca: Option<Vec<u8>>,
    /// The API key.
    pub key: String,
}

/// A service that has answered.
#[derive(Clone)]
pub struct RemoteService {
    pub(super) client: DeviceAssignmentServiceClient<Channel>,
    pub(super) key: MetadataValue<Ascii>,
}

impl RemoteService {
    /// Connects, and sends an empty request: the service checks the key before it checks the rest.
    ///
    /// # Errors
    /// When nothing or another program answers at the URL, or the key is rejected.
    pub async fn connect(target: &Target) -> Result<Self, ClientError> {
        let (channel, key) = connected(target).await?;
        let client = DeviceAssignmentServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER);
        let service = Self { client, key };
        match service
            .assign(AssignDevicesToOwnerRequest::default(), PROBE_TIMEOUT)
            .await
        {
            // If the service is overloaded now, the calls will wait.
            Err(status) => failure(target, &status).map_or(Ok(service), Err),
            Ok(_) => Err(ClientError::NotTheService(target.url.clone())),
        }
    }

    /// Assigns devices.
    pub(super) async fn assign(
        &self,
        message: AssignDevicesToOwnerRequest,
        timeout: Duration,
    ) -> Result<AssignDevicesToOwnerResponse, Status> {
        let mut client = self.client.clone();
        within(timeout, client.assign_devices_to_owner(self.request(message, timeout))).await
    }

    /// Transfers devices. With the same idempotency key, a repeated call changes nothing.
    pub(super) async fn transfer(
        &self,
        message: TransferDevicesToOwnerRequest,
        timeout: Duration,
        idempotency_key: &IdempotencyKey,
    ) -> Result<TransferDevicesToOwnerResponse, Status> {
        let mut client = self.client.clone();
        let request = self.request_once(message, timeout, idempotency_key);
        within(timeout, client.transfer_devices_to_owner(request)).await
    }

    /// Removes devices. With the same idempotency key, a repeated call changes nothing.
    pub(super) async fn unassign(
        &self,
        message: UnassignDevicesFromOwnerRequest,
        timeout: Duration,
        idempotency_key: &IdempotencyKey,
    ) -> Result<UnassignDevicesFromOwnerResponse, Status> {
        let mut client = self.client.clone();
        let request = self.request_once(message, timeout, idempotency_key);
        within(timeout, client.unassign_devices_from_owner(request)).await
    }

    fn request_once<M>(&self, message: M, timeout: Duration, idempotency_key: &IdempotencyKey) -> Request<M> {
        let mut request = self.request(message, timeout);
        idempotency_key.add_to(&mut request);
        request
    }

    fn request<M>(&self, message: M, timeout: Duration) -> Request<M> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(X_API_KEY, self.key.clone());
        request.set_timeout(timeout);
        request
    }
}

/// A connection to the service, and the key of its calls.
pub(super) async fn connected(target: &Target) -> Result<(Channel, MetadataValue<Ascii>), ClientError> {
    let endpoint = endpoint(target)?;
    let key = target.key.parse().map_err(|_| ClientError::Key)?;
    let channel = endpoint.connect().await.map_err(|error| ClientError::Unreachable {
        url: target.url.clone(),
        problem: cause(&error),
    })?;
    Ok((channel, key))
}

/// Why the first call shows that all others would fail, if it does.
pub(super) fn failure(target: &Target, status: &Status) -> Option<ClientError> {
    let url = target.url.clone();
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => Some(ClientError::KeyRejected(one_line(status.message()))),
        // Any other error with details comes from the service.
        _ if status.get_details_error_info().is_some() => None,
        _ if was_not_answered(status) => Some(ClientError::Unreachable {
            url,
            problem: cause(status),
        }),
        _ => Some(ClientError::NotTheService(url)),
    }
}

/// The answer to a call, with a timeout on this side, too.
pub(super) async fn within<R>(
    timeout: Duration,
    call: impl Future<Output = Result<tonic::Response<R>, Status>>,
) -> Result<R, Status> {
    match tokio::time::timeout(timeout, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_elapsed) => Err(Status::deadline_exceeded("no answer came in time")),
    }
}

pub(super) fn endpoint(target: &Target) -> Result<Endpoint, ClientError> {
    let invalid = |problem: String| ClientError::Url(problem);
    let endpoint = Endpoint::from_shared(target.url.clone()).map_err(|error| invalid(cause(&error)))?;
    if endpoint
        .uri()
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Err(invalid(
            "the URL must not contain a user or a password: the service takes API keys only".into(),
        ));
    }
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE);
    match (endpoint.uri().scheme_str(), &target.ca) {
        (Some("http"), None) => return Ok(endpoint),
        (Some("http"), Some(_)) => return Err(invalid("a certificate needs https://".into())),
        (Some("https"), _) => {}
        _ => return Err(invalid("the URL must start with http:// or https://".into())),
    }
    let tls = match &target.ca {
        None => ClientTlsConfig::new().with_webpki_roots(),
        Some(pem) if !is_pem(pem) => return Err(ClientError::Ca),
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
    };
    endpoint.tls_config(tls).map_err(|_| ClientError::Ca)
}

fn is_pem(text: &[u8]) -> bool {
    let begin = b"-----BEGIN CERTIFICATE-----";
    text.windows(begin.len()).any(|window| window == begin)
}

/// Whether the connection was lost, or the peer does not speak gRPC: the client library makes such a status.
fn was_not_answered(status: &Status) -> bool {
    status.source().is_some() || matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}

/// The innermost cause of an error.
pub(super) fn cause(error: &(dyn Error + 'static)) -> String {
    one_line(&root_cause(error))
}

/// The error that was answered, or that there was no answer, for people.
pub(crate) fn answer(status: &Status) -> String {
    if let Some(source) = status.source() {
        return format!("no response ({})", cause(source));
    }
    let said = one_line(status.message());
    let id = status.metadata().get("x-request-id").and_then(|id| id.to_str().ok());
    let id = id
        .map(|id| format!(" (request id {})", one_line(id)))
        .unwrap_or_default();
    format!("{}: {said}{id}", code_name(status.code()))
}

/// Text from elsewhere, as it may be printed.
pub(super) fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str, ca: Option<&str>) -> Target {
        Target {
            url: url.into(),
            ca: ca.map(Into::into),
            key: String::new(),
        }
    }

    #[test]
    fn a_url_has_a_scheme_and_a_host() {
        assert!(endpoint(&target("http://127.0.0.1:50051", None)).is_ok());
        assert!(endpoint(&target("https://service.example.com", None)).is_ok());
        for url in [
            "",
            "/",
            "127.0.0.1:50051",
            "ftp://host",
            "http://",
            "http://user:password@host",
        ] {
            assert!(
                matches!(endpoint(&target(url, None)), Err(ClientError::Url(_))),
                "{url:?}"
            );
        }
    }

    #[test]
    fn certificates_go_with_https_only() {
        let refused = endpoint(&target("http://host", Some("-----BEGIN CERTIFICATE-----")));
        assert!(matches!(refused, Err(ClientError::Url(_))));
        for ca in ["", "not a certificate", "-----BEGIN PRIVATE KEY-----"] {
            let refused = endpoint(&target("https://host", Some(ca)));
            assert!(matches!(refused, Err(ClientError::Ca)), "{ca:?}");
        }
    }

    #[test]
    fn text_from_elsewhere_cannot_write_on_the_terminal() {
        assert_eq!(one_line("a\u{1b}[31mb\r\nc\u{9b}"), "a [31mb  c ");
    }
}
