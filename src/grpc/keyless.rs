//! Calls that need no key: health checks and reflection, some of them long streams. Anybody who reaches the listener can make
//! them, so their number is bounded: for a connection, for a network, and in all.

use std::{net::IpAddr, sync::Arc};

use http::Extensions;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    domain::Error,
    shares::{Share, Shares},
};

/// The services that need no key. All others need one.
const SERVICES: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];

/// Whether a method can be called without a key.
pub(super) fn is_keyless(path: &str) -> bool {
    SERVICES.iter().any(|service| path.starts_with(service))
}

/// The most calls without a key in flight on one connection. A load balancer or grpcurl makes one or two.
const KEYLESS_CALLS: usize = 8;

/// The permits of a connection for calls without a key; an extension of each of its requests.
#[derive(Debug, Clone)]
pub struct KeylessCalls(Arc<Semaphore>);

impl Default for KeylessCalls {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(KEYLESS_CALLS)))
    }
}

/// The calls without a key in flight, by network.
#[derive(Debug)]
pub(super) struct Keyless(Shares<Option<IpAddr>>);

/// The permit of a call without a key, until it is dropped.
pub(super) type KeylessPermit = (Share<Option<IpAddr>>, Option<OwnedSemaphorePermit>);

impl Keyless {
    pub(super) fn new(max: usize) -> Self {
        Self(Shares::new(max))
    }

    /// Permits one more call from `network`, on the connection with these `extensions`.
    ///
    /// # Errors
    /// [`Error::Overloaded`].
    pub(super) fn enter(&self, network: Option<IpAddr>, extensions: &Extensions) -> Result<KeylessPermit, Error> {
        let in_all = self.0.take(network, 1).ok_or(Error::Overloaded)?;
        let on_connection = extensions
            .get::<KeylessCalls>()
            .map(|calls| Arc::clone(&calls.0).try_acquire_owned());
        let on_connection = on_connection.transpose().map_err(|_none_left| Error::Overloaded)?;
        Ok((in_all, on_connection))
    }
}
