//! PostgreSQL's timeline: a server that was promoted or restored is on another one, and changes may have been lost.

use std::borrow::Cow;

use sea_orm::sqlx::{self, PgConnection};
use uuid::Uuid;

use super::citus::Dialect;
use crate::domain::id::{HistoryId, new_id};

/// The stored timeline and the timeline of the server. The second is null on a standby. The first 8 digits of the name of a
/// WAL file are the timeline; reading them needs no privilege.
const TIMELINES: &str = "\
    SELECT \
        timeline, \
        CASE WHEN NOT pg_is_in_recovery() \
        THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer END \
    FROM history";

/// The same on Citus. Its servers have a timeline each, and a statement that names a table may run on any of them: without a table
/// it runs on the coordinator.
const STORED_TIMELINE: &str = "SELECT timeline FROM history";
const COORDINATOR_TIMELINE: &str = "\
    SELECT \
        CASE WHEN NOT pg_is_in_recovery() \
        THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::integer END";

/// Stores the timeline $1. If another one was stored, history $2 begins. Of several instances that do so at the same time, one
/// finds a row to change.
const STORE_TIMELINE: &str = "\
    UPDATE history \
    SET id = CASE WHEN timeline IS NULL THEN id ELSE $2 END, timeline = $1 \
    WHERE timeline IS DISTINCT FROM $1 \
    RETURNING id";

/// What a comparison of timelines found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timeline {
    /// The server is still on the stored timeline, or has none that can be read.
    Same,
    /// It is on another timeline, and this history has begun.
    Changed(HistoryId),
    /// The server is a standby, and may leave its timeline while the connection is open.
    Standby,
}

/// Begins a new history if the server is on another timeline than the stored one.
pub(super) async fn follow_timeline(connection: &mut PgConnection, dialect: Dialect) -> Result<Timeline, sqlx::Error> {
    let (stored, current) = match timelines(connection, dialect).await {
        Ok(timelines) => timelines,
        Err(error) if cannot_tell(&error) => {
            tracing::warn!(
                %error,
                "the timeline of PostgreSQL cannot be read; after a failover that lost changes, run `device-assignment new-history`"
            );
            return Ok(Timeline::Same);
        }
        Err(error) => return Err(error),
    };
    let Some(current) = current else {
        return Ok(Timeline::Standby);
    };
    if stored == Some(current) {
        return Ok(Timeline::Same);
    }
    let begun = sqlx::query_scalar(STORE_TIMELINE)
        .bind(current)
        .bind(new_id())
        .fetch_optional(connection)
        .await;
    let begun: Option<Uuid> = match begun {
        Ok(begun) => begun,
        // Its transactions are read-only, so no change can be written either.
        Err(error) if code(&error) == Some("25006".into()) => return Ok(Timeline::Standby),
        Err(error) => return Err(error),
    };
    match begun {
        Some(history) if stored.is_some() => {
            let history = HistoryId::from(history);
            tracing::warn!(
                %history,
                from = stored,
                to = current,
                "PostgreSQL is on another timeline; a new history has begun, because changes may have been lost"
            );
            Ok(Timeline::Changed(history))
        }
        _ => Ok(Timeline::Same),
    }
}

/// The stored timeline and that of the server.
async fn timelines(connection: &mut PgConnection, dialect: Dialect) -> Result<(Option<i32>, Option<i32>), sqlx::Error> {
    if dialect == Dialect::Plain {
        return sqlx::query_as(TIMELINES).fetch_one(connection).await;
    }
    let stored = sqlx::query_scalar(STORED_TIMELINE).fetch_one(&mut *connection).await?;
    let current = sqlx::query_scalar(COORDINATOR_TIMELINE).fetch_one(connection).await?;
    Ok((stored, current))
}

/// Whether this server does not know timelines, or keeps them from this user: syntax error or access rule violation, feature not
/// supported.
fn cannot_tell(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code.starts_with("42") || code == "0A000")
}

/// The SQLSTATE.
fn code(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    error.as_database_error()?.code()
}
