//! The history that the revisions of a database belong to. After a restore or a failover that lost commits, the same revisions
//! are given to other changes, so the database gets a new history.

use std::time::Duration;

use sea_orm::{
    DbErr, EntityTrait,
    sqlx::{Connection as _, Postgres},
};
use tokio::time::timeout;

use super::{
    Database, DatabaseError,
    any_write_connection::AnyWriteConnection,
    backend::Backend as _,
    citus::adapt,
    entity::history,
    options::Purpose,
    sql::Scalar,
    statement_kind::StatementKind,
    statements::BEGIN_HISTORY,
    timeline::{Timeline, follow_timeline},
};
use crate::domain::id::{HistoryId, new_id};

/// How long a command waits for the comparison of timelines.
const TIMEOUT: Duration = Duration::from_secs(5);

static FIND: StatementKind = StatementKind::new("find_history", "SELECT", "SELECT history");

impl Database {
    /// The history that the revisions belong to.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn history(&self) -> Result<HistoryId, DatabaseError> {
        let row = self.read(&FIND, |db| async move { history::Entity::find().one(&db).await });
        let row = row.await?.ok_or_else(no_history)?;
        Ok(row.id.into())
    }

    /// Begins a new history, and returns its id.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn begin_history(&self) -> Result<HistoryId, DatabaseError> {
        let id = new_id();
        let mut connection = AnyWriteConnection::new(self);
        let written = connection.execute(BEGIN_HISTORY.bind([Scalar::Id(id)], [])).await;
        connection.close().await;
        match written? {
            0 => Err(no_history()),
            _ => Ok(id.into()),
        }
    }

    /// Begins a new history if PostgreSQL is on another timeline than the stored one, and returns the id of the new history.
    /// Every connection for writes does the same before it is used.
    ///
    /// # Errors
    /// When the database cannot be reached or written.
    pub async fn follow_timeline(&self) -> Result<Option<HistoryId>, DatabaseError> {
        if self.url().is_sqlite() {
            return Ok(None);
        }
        let followed = async {
            let mut connection = Postgres::connect(self.url(), Purpose::Writes).await?;
            let dialect = adapt(&mut connection).await?;
            let timeline = follow_timeline(&mut connection, dialect).await?;
            connection.close().await?;
            Ok(match timeline {
                Timeline::Changed(history) => Some(history),
                Timeline::Same | Timeline::Standby => None,
            })
        };
        let followed = timeout(TIMEOUT, followed).await;
        followed.unwrap_or(Err(DatabaseError::Silent(TIMEOUT)))
    }
}

fn no_history() -> DatabaseError {
    DatabaseError::Fault(DbErr::RecordNotFound("the table history is empty".to_owned()))
}
