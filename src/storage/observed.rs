//! Statements as operators see them: counted and traced by what they do, never with what they are about.

use std::sync::OnceLock;

use tracing::{Instrument, Span};

use crate::telemetry::{
    metrics::{Counter, statements},
    trace,
};

/// Statements that do the same.
#[derive(Debug)]
pub(super) struct Kind {
    /// What they do, in one word.
    name: &'static str,
    /// The SQL command.
    operation: &'static str,
    /// The SQL command and what it is about.
    summary: &'static str,
    count: OnceLock<Counter>,
}

/// Which database a statement goes to, as OpenTelemetry's conventions call it.
pub(super) type System = &'static str;

pub(super) const POSTGRES: System = "postgresql";
pub(super) const SQLITE: System = "sqlite";

pub(super) static BEGIN: Kind = Kind::new("begin", "BEGIN", "BEGIN");
pub(super) static COMMIT: Kind = Kind::new("commit", "COMMIT", "COMMIT");

impl Kind {
    pub(super) const fn new(name: &'static str, operation: &'static str, summary: &'static str) -> Self {
        Self {
            name,
            operation,
            summary,
            count: OnceLock::new(),
        }
    }

    /// Carries a statement out where operators see it.
    pub(super) async fn observe<T, E>(
        &self,
        system: System,
        statement: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.observe_in(self.span(system), statement).await
    }

    /// As [`observe`](Self::observe), in a span that was begun before: what is carried out by a task of its own does not
    /// know whose it is.
    pub(super) async fn observe_in<T, E>(
        &self,
        span: Span,
        statement: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.count.get_or_init(|| statements(self.name)).increment(1);
        let result = statement.instrument(span.clone()).await;
        if result.is_err() {
            trace::failed(&span);
        }
        result
    }

    pub(super) fn span(&self, system: System) -> Span {
        trace::statement(system, self.operation, self.summary)
    }
}
