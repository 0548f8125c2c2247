//! Statements as operators see them: counted by what they do, never with what they are about.

use std::sync::OnceLock;

use crate::telemetry::metrics::{Counter, statements};

/// Statements that do the same.
#[derive(Debug)]
pub(super) struct Kind {
    /// What they do.
    name: &'static str,
    count: OnceLock<Counter>,
}

pub(super) static BEGIN: Kind = Kind::new("begin");
pub(super) static COMMIT: Kind = Kind::new("commit");

impl Kind {
    pub(super) const fn new(name: &'static str) -> Self {
        Self {
            name,
            count: OnceLock::new(),
        }
    }

    /// Carries a statement out where operators see it.
    pub(super) async fn observe<F: Future>(&self, statement: F) -> F::Output {
        self.count.get_or_init(|| statements(self.name)).increment(1);
        statement.await
    }
}
