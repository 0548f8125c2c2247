//! The admin listener: liveness, readiness and metrics, for operators only.

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

/// Whether a process is ready for requests. `Display` prints one line without internal details.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It is ready.
    Ready,
    /// It is stopping.
    Draining,
    /// The database cannot be reached or does not answer.
    DatabaseOutOfReach,
    /// The database can be read but not written.
    DatabaseNotWritable,
    /// Schema migrations are missing.
    SchemaBehind,
    /// The upstream service of a gateway cannot be reached or does not answer.
    UpstreamOutOfReach,
    /// The upstream service of a gateway is not ready.
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

/// The routes of the admin listener. `/metrics` exists only if metrics are collected.
pub fn router(readiness: watch::Receiver<Readiness>, exposition: Option<Exposition>) -> Router {
    let readiness = move || std::future::ready(*readiness.borrow());
    let router = Router::new()
        // Alive as long as it answers: a restart does not help while the database is away.
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readiness));
    match exposition {
        Some(exposition) => router.merge(Router::new().route("/metrics", get(metrics)).with_state(exposition)),
        None => router,
    }
}

async fn metrics(State(exposition): State<Exposition>) -> Response {
    ([(CONTENT_TYPE, TEXT_FORMAT)], exposition.render()).into_response()
}
