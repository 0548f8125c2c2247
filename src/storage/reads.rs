//! What calls read. The revision is read in the same snapshot, and many reads at once wait for their turn.

use std::sync::Arc;

use sea_orm::{DatabaseConnection, DbErr};

use super::{
    Database, DatabaseError,
    read_pool::POOL_CONNECTIONS,
    shared_look_ups::SharedLookUps,
    statement_kind::StatementKind,
    turns::{Turn, Turns},
};
use crate::{
    domain::{Error, change::Revision, id::OrganizationId},
    telemetry::metrics,
};

/// Something that was read, and the revision of the organization that it was read at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadAt<T> {
    /// What was read.
    pub value: T,
    /// The revision.
    pub revision: Revision,
}

impl<T> ReadAt<T> {
    /// The same revision with another value.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> ReadAt<U> {
        ReadAt {
            value: map(self.value),
            revision: self.revision,
        }
    }
}

/// Reads for calls. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Reads {
    primary: Source,
    replica: Option<Source>,
}

/// A database to read from.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) database: Database,
    /// A turn for each connection of the pool. Waiting here ends when the caller leaves; in the pool, it would end with an error that
    /// looks like an outage.
    turns: Turns,
    pub(super) look_ups: Arc<SharedLookUps>,
}

impl Reads {
    /// Reads from `primary`, or from its replica while that is up to date.
    pub fn new(primary: Database) -> Self {
        Self {
            replica: primary.replica().cloned().map(Source::new),
            primary: Source::new(primary),
        }
    }

    /// Reads at revision `min` or later. A replica that is behind, or fails, is passed over for the primary.
    ///
    /// # Errors
    /// [`Error::RevisionInFuture`] if there is no such revision yet, [`Error::Unavailable`] if the database cannot be read.
    pub(super) async fn read<T, F>(
        &self,
        organization: OrganizationId,
        kind: &'static StatementKind,
        min: Revision,
        query: impl Fn(DatabaseConnection) -> F + Send + Sync + 'static,
    ) -> Result<ReadAt<T>, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<ReadAt<T>, DbErr>> + Send + 'static,
    {
        let query = Arc::new(query);
        self.read_with(min, move |source| {
            let query = Arc::clone(&query);
            async move { source.read_in_turn(organization, kind, move |db| query(db)).await }
        })
        .await
    }

    /// As [`read`](Self::read), with a function that reads from either database.
    pub(super) async fn read_with<T, F>(&self, min: Revision, read: impl Fn(Source) -> F) -> Result<ReadAt<T>, Error>
    where
        F: Future<Output = Result<ReadAt<T>, Error>>,
    {
        if let Some(replica) = self.replica.as_ref().filter(|replica| replica.database.is_usable()) {
            let outcome = match read(replica.clone()).await {
                Ok(read) if read.revision >= min => {
                    metrics::replica_read("used");
                    return Ok(read);
                }
                Ok(_) => "behind",
                Err(_) => "failed",
            };
            metrics::replica_read(outcome);
        }
        let read = read(self.primary.clone()).await?;
        if read.revision < min {
            return Err(Error::RevisionInFuture { current: read.revision });
        }
        Ok(read)
    }

    /// The primary database.
    pub(super) fn primary(&self) -> &Database {
        &self.primary.database
    }

    /// Reads from the primary, at whatever revision it has.
    pub(super) async fn read_in_turn<T, E, F>(
        &self,
        organization: OrganizationId,
        kind: &'static StatementKind,
        query: impl Fn(DatabaseConnection) -> F + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        E: Into<DatabaseError> + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.primary.read_in_turn(organization, kind, query).await
    }
}

impl Source {
    fn new(database: Database) -> Self {
        Self {
            database,
            turns: Turns::new(POOL_CONNECTIONS as usize),
            look_ups: Arc::default(),
        }
    }

    /// Waits for a connection. The turn must be held until the statement is done, even if the caller has left.
    pub(super) async fn turn(&self, organization: OrganizationId) -> Turn {
        self.turns.take(organization).await
    }

    async fn read_in_turn<T, E, F>(
        &self,
        organization: OrganizationId,
        kind: &'static StatementKind,
        query: impl Fn(DatabaseConnection) -> F + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        E: Into<DatabaseError> + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let turn = self.turn(organization).await;
        let query = move |connection| {
            let _ = &turn;
            query(connection)
        };
        Ok(self.database.read_for_call(kind, query).await?)
    }
}
