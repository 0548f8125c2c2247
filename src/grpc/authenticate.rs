//! Authentication: finds out who calls.

use http::HeaderMap;

use crate::{
    domain::Error,
    key_headers::{PresentedKey, presented},
    peer, request_id,
    service::{Caller, Origin, Service},
};

/// The caller whose API key is in `headers`.
pub(super) async fn caller(service: &Service, headers: &HeaderMap) -> Result<Caller, Error> {
    let api_key = match presented(headers) {
        PresentedKey::Missing => None,
        // Bytes that are not text are an invalid key.
        PresentedKey::One(key) => Some(std::str::from_utf8(key).unwrap_or("?")),
        PresentedKey::Repeated => return Err(Error::RepeatedApiKey),
        PresentedKey::Conflicting => return Err(Error::ConflictingApiKeys),
    };
    let origin = Origin {
        request_id: request_id::of(headers).to_owned(),
        address: peer::of(headers),
    };
    service.authenticate(api_key, origin).await
}
