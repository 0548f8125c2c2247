//! Statements in metrics and traces: counted and traced by what they do, never with their parameters.

use std::sync::OnceLock;

use tracing::{Instrument, Span};

use crate::telemetry::{
    metrics::{Counter, statements},
    trace,
};

/// Statements that do the same.
#[derive(Debug)]
pub(super) struct StatementKind {
    /// The name in metrics.
    name: &'static str,
    /// The SQL command.
    operation: &'static str,
    /// The SQL command and the tables.
    summary: &'static str,
    count: OnceLock<Counter>,
}

/// The name of a database in OpenTelemetry's conventions.
pub(super) type System = &'static str;

pub(super) const POSTGRES: System = "postgresql";
pub(super) const SQLITE: System = "sqlite";

pub(super) static BEGIN: StatementKind = StatementKind::new("begin", "BEGIN", "BEGIN");
pub(super) static COMMIT: StatementKind = StatementKind::new("commit", "COMMIT", "COMMIT");

impl StatementKind {
    pub(super) const fn new(name: &'static str, operation: &'static str, summary: &'static str) -> Self {
        Self {
            name,
            operation,
            summary,
            count: OnceLock::new(),
        }
    }

    /// The name in metrics.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Runs a statement, with a count and a span.
    pub(super) async fn observe<T, E>(
        &self,
        system: System,
        statement: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.observe_in(self.span(system), statement).await
    }

    /// As [`observe`](Self::observe), in a given span: a new task does not know the span of the caller.
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
