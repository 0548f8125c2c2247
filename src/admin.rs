//! What operators and their tools ask a running process, on a listener of its own: nothing of it is for callers.

use std::fmt;

use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::sync::watch;

/// Whether a process should be sent work. `Display` prints one line, which tells a stranger nothing of our inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It should.
    Ready,
    /// It is about to stop.
    Draining,
    /// Its database cannot be reached, or does not answer.
    DatabaseOutOfReach,
    /// The schema of its database lacks steps.
    SchemaBehind,
    /// A newer version of the program has changed the schema of its database.
    SchemaAhead,
    /// The service that it is the gateway of cannot be reached, or does not answer.
    UpstreamOutOfReach,
    /// The service that it is the gateway of says that it should not be sent work.
    UpstreamNotReady,
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ok",
            Self::Draining => "draining",
            Self::DatabaseOutOfReach => "database: out of reach",
            Self::SchemaBehind => "schema: behind this version",
            Self::SchemaAhead => "schema: ahead of this version",
            Self::UpstreamOutOfReach => "upstream: out of reach",
            Self::UpstreamNotReady => "upstream: not ready",
        })
    }
}

impl IntoResponse for Readiness {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Ready => StatusCode::OK,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, format!("{self}\n")).into_response()
    }
}

/// The routes of the admin listener.
pub fn router(readiness: watch::Receiver<Readiness>) -> Router {
    let readiness = move || std::future::ready(*readiness.borrow());
    Router::new()
        // Whoever answers is alive: a process that waits for its database needs no restart.
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readiness))
}
