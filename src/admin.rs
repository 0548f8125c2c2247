//! What operators and their tools ask a running process, on a listener of its own: nothing of it is for callers.

use axum::{Router, routing::get};

/// The routes of the admin listener.
pub fn router() -> Router {
    Router::new().route("/livez", get(async || "ok\n"))
}
