//! Empties the operators and the request ids of old changes. Both may be personal data.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    Database, DatabaseError,
    any_write_connection::AnyWriteConnection,
    sql::Scalar,
    statements::{ERASE_ORIGINS, FIND_ERASABLE, NOTE_ERASED_ORIGINS},
};

/// The most changes that one statement empties: a few milliseconds, for which it may keep SQLite's only writer waiting.
const CHUNK: i64 = 1_000;
/// The pause after each chunk, so that calls come first.
const PAUSE: Duration = Duration::from_millis(20);

impl Database {
    /// Empties the operators and the request ids of all changes made before `before`, and returns how many had one. Several
    /// instances can do so at the same time, and what was interrupted goes on where it was. Uses its own connection, so that no
    /// call waits for it.
    ///
    /// # Errors
    /// When the database cannot be written; the rest is emptied the next time.
    pub async fn erase_origins(&self, before: OffsetDateTime) -> Result<u64, DatabaseError> {
        let mut connection = AnyWriteConnection::new(self);
        let erased = erase_all(&mut connection, before).await;
        connection.close().await;
        erased
    }
}

async fn erase_all(connection: &mut AnyWriteConnection, before: OffsetDateTime) -> Result<u64, DatabaseError> {
    let mut erased = 0;
    let mut from = Uuid::nil();
    loop {
        let find = FIND_ERASABLE.bind([Scalar::Id(from), Scalar::Time(before), Scalar::Number(CHUNK)], []);
        let chunk: Vec<(Uuid, i64, i64)> = connection.rows(find).await?;
        let Some((organization, after, through)) = chunk.into_iter().next() else {
            return Ok(erased);
        };
        let id = Scalar::Id(organization);
        let erase = ERASE_ORIGINS.bind([id, Scalar::Number(after), Scalar::Number(through)], []);
        erased += connection.execute(erase).await?;
        let note = NOTE_ERASED_ORIGINS.bind([id, Scalar::Number(through)], []);
        connection.execute(note).await?;
        from = organization;
        sleep(PAUSE).await;
    }
}
