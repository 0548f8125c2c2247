//! The connections of a gateway to its service: as many as its calls need.
//!
//! A connection carries a limited number of calls, and further ones wait. A stream of changes is a call that does not end, so
//! with one connection a few followers would keep all other callers waiting.

use std::{
    iter,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{Request, Response};
use tonic::{
    body::Body,
    transport::{Channel, Error},
};
use tower::{Service, ServiceExt};

use crate::body::hold_until_sent;

/// Calls on one connection. A service allows 128 by default; RFC 9113, section 6.5.2, advises against less than 100.
const CALLS_PER_CONNECTION: usize = 100;
/// The most connections that the calls are spread over. A service accepts 2,048 from one address by default.
const CONNECTIONS: usize = 100;

/// A client that makes each call over a connection with room for it.
#[derive(Debug, Clone)]
pub(super) struct UpstreamConnections {
    connections: Arc<[Connection]>,
    /// Takes the calls that no other connection has room for. They may have to wait.
    last: Channel,
}

#[derive(Debug)]
struct Connection {
    channel: Channel,
    calls: Arc<AtomicUsize>,
}

/// A call of a connection, until its response has been read.
#[derive(Debug)]
struct OpenCall(Arc<AtomicUsize>);

impl UpstreamConnections {
    /// `channel` makes a channel that connects on first use.
    pub(super) fn new(channel: impl Fn() -> Channel) -> Self {
        let connection = || Connection {
            channel: channel(),
            calls: Arc::default(),
        };
        Self {
            connections: iter::repeat_with(connection).take(CONNECTIONS).collect(),
            last: channel(),
        }
    }

    /// Chooses the first connection with room. Later ones become idle, and the service closes them at their maximum age.
    fn choose(&self) -> (Channel, Option<OpenCall>) {
        let with_room = self.connections.iter().find_map(|connection| {
            let call = connection.enter()?;
            Some((connection.channel.clone(), Some(call)))
        });
        with_room.unwrap_or_else(|| (self.last.clone(), None))
    }
}

impl Connection {
    /// Counts a call, if there is room for it.
    fn enter(&self) -> Option<OpenCall> {
        let one_more = |calls| (calls < CALLS_PER_CONNECTION).then_some(calls + 1);
        let entered = self.calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        entered.ok().map(|_| OpenCall(Arc::clone(&self.calls)))
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Service<Request<Body>> for UpstreamConnections {
    type Response = Response<Body>;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response<Body>, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (mut channel, call) = self.choose();
        Box::pin(async move {
            let response = channel.ready().await?.call(request).await?;
            Ok(hold_until_sent(response, call).map(Body::new))
        })
    }
}

#[cfg(test)]
mod tests {
    use tonic::transport::Endpoint;

    use super::*;

    #[tokio::test]
    async fn calls_are_spread_over_as_few_connections_as_have_room() {
        let connections = UpstreamConnections::new(|| Endpoint::from_static("http://localhost").connect_lazy());
        let calls = || {
            let calls = connections.connections.iter();
            calls
                .map(|connection| connection.calls.load(Ordering::Relaxed))
                .collect::<Vec<_>>()
        };
        let mut open: Vec<_> = (0..250).map(|_| connections.choose().1).collect();
        assert_eq!(calls()[..4], [100, 100, 50, 0]);
        open.drain(..30);
        open.extend((0..20).map(|_| connections.choose().1));
        assert_eq!(calls()[..4], [90, 100, 50, 0]);
        open.extend((0..20_000).map(|_| connections.choose().1));
        assert_eq!(calls(), [100; 100]);
        assert!(connections.choose().1.is_none());
        open.clear();
        assert_eq!(calls(), [0; 100]);
    }
}
