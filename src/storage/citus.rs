//! Citus, an extension of PostgreSQL: it keeps the rows of an organization together on one of several servers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use sea_orm::sqlx::{self, PgConnection};

/// Finds the extension. Citus chooses the server by the value of a parameter, so it cannot plan most statements before it knows
/// the values.
const ADAPT: &str = "\
    SELECT set_config('plan_cache_mode', 'force_custom_plan', false) FROM pg_extension WHERE extname = 'citus'";

/// Which statements a database takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Those of PostgreSQL or SQLite.
    Plain,
    /// Those that Citus can send to one server.
    Citus,
}

/// The dialect of a database, as its newest connection has found.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownDialect(Arc<AtomicBool>);

impl KnownDialect {
    pub(super) fn get(&self) -> Dialect {
        if self.0.load(Ordering::Relaxed) {
            Dialect::Citus
        } else {
            Dialect::Plain
        }
    }

    pub(super) fn set(&self, dialect: Dialect) {
        self.0.store(dialect == Dialect::Citus, Ordering::Relaxed);
    }
}

/// Finds the dialect of a database, and prepares a new connection for it.
pub(super) async fn adapt(connection: &mut PgConnection) -> Result<Dialect, sqlx::Error> {
    let found = sqlx::raw_sql(ADAPT).fetch_optional(connection).await?;
    Ok(found.map_or(Dialect::Plain, |_| Dialect::Citus))
}
