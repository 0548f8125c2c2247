//! What operators and their tools ask a running process, on a listener of its own: nothing of it is for callers.

use axum::{
    Router,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::get,
};

use crate::telemetry::Exposition;

/// Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes of the admin listener; `/metrics` among them where figures are collected.
pub fn router(figures: Option<Exposition>) -> Router {
    let router = Router::new().route("/livez", get(async || "ok\n"));
    match figures {
        Some(figures) => router.merge(Router::new().route("/metrics", get(metrics)).with_state(figures)),
        None => router,
    }
}

async fn metrics(State(figures): State<Exposition>) -> Response {
    ([(CONTENT_TYPE, TEXT_FORMAT)], figures.render()).into_response()
}
