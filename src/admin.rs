//! What operators and their tools ask a running process, on a listener of its own: nothing of it is for callers.

use std::fmt;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::sync::watch;

use crate::telemetry::Exposition;

/// Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether a process should be sent work. `Display` prints one line, which tells a stranger nothing of our inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It should.
    Ready,
    /// It is about to stop.
    Draining,
    /// Its database cannot be reached, or does not answer.
    DatabaseOutOfReach,
    /// Its database can be read and not written.
    DatabaseNotWritable,
    /// The schema of its database lacks steps.
    SchemaBehind,
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
            Self::DatabaseNotWritable => "database: not writable",
            Self::SchemaBehind => "schema: behind this version",
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

/// The routes of the admin listener; `/metrics` among them where figures are collected.
pub fn router(readiness: watch::Receiver<Readiness>, figures: Option<Exposition>) -> Router {
    let readiness = move || std::future::ready(*readiness.borrow());
    let router = Router::new()
        // Whoever answers is alive: a process that waits for its database needs no restart.
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readiness));
    match figures {
        Some(figures) => router.merge(Router::new().route("/metrics", get(metrics)).with_state(figures)),
        None => router,
    }
}

async fn metrics(State(figures): State<Exposition>) -> Response {
    ([(CONTENT_TYPE, TEXT_FORMAT)], figures.render()).into_response()
}
