//! No call without a key, but for the methods that probes and grpcurl need.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tracing::Span;

use super::status::to_status;
use crate::service::Service;

/// The metadata entry that carries the API key.
const API_KEY: &str = "x-api-key";

/// The services that need no key. Whatever stands on no list needs one.
const PUBLIC: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];

/// Whether a method may be called without a key.
pub(super) fn is_public(path: &str) -> bool {
    PUBLIC.iter().any(|service| path.starts_with(service))
}

/// Lets a call through with its [`Caller`](crate::service::Caller) among the extensions, or refuses it.
pub(super) async fn layer(State(service): State<Arc<Service>>, mut request: Request, next: Next) -> Response {
    if !is_public(request.uri().path()) {
        // A key that is no text is a wrong key, not a missing one.
        let api_key = request.headers().get(API_KEY).map(|key| key.to_str().unwrap_or("?"));
        match service.authenticate(api_key).await {
            Ok(caller) => {
                Span::current().record("organization", tracing::field::display(caller.organization));
                request.extensions_mut().insert(caller);
            }
            Err(error) => return to_status(&error).into_http(),
        }
    }
    next.run(request).await
}
