//! Who calls.

use http::HeaderMap;

use crate::{
    domain::Error,
    peer, request_id,
    service::{Caller, Origin, Service},
};

/// The metadata entry that carries the API key.
const API_KEY: &str = "x-api-key";

/// Finds out who calls.
pub(super) async fn caller(service: &Service, headers: &HeaderMap) -> Result<Caller, Error> {
    let mut keys = headers.get_all(API_KEY).iter();
    // A key that is no text is a wrong key, not a missing one.
    let api_key = keys.next().map(|key| key.to_str().unwrap_or("?"));
    if keys.next().is_some() {
        // Something in between may have added one: nobody could tell whose call it is.
        return Err(Error::RepeatedApiKey);
    }
    let origin = Origin {
        request_id: request_id::of(headers).to_owned(),
        address: peer::of(headers),
    };
    service.authenticate(api_key, origin).await
}
