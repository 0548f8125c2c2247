//! Erasing what was deleted. SQLite overwrites deleted rows in the database file (`secure_delete`), but the write-ahead log keeps
//! earlier versions of the pages until others overwrite them. So the log is emptied after a deletion, before the call is answered.
//! PostgreSQL keeps deleted rows until the next vacuum.

use std::time::{Duration, Instant};

use super::{backend::Backend, write_connection::WriteConnection};

/// A reader that holds an old version of the database keeps the log from being emptied. How long until it is tried again, with the
/// next batch.
const PAUSE: Duration = Duration::from_secs(1);

impl<B: Backend> WriteConnection<B> {
    /// Erases what the last transaction deleted, if `has_deleted`, and what earlier ones deleted, if that was not possible then.
    pub(super) async fn erase(&mut self, connection: &mut B::Connection, has_deleted: bool) {
        let is_due = self.unerased.is_some_and(|last| last.elapsed() >= PAUSE);
        if !has_deleted && !is_due {
            return;
        }
        self.unerased = match B::erase(connection).await {
            Ok(true) => None,
            Ok(false) => Some(Instant::now()),
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log cannot be emptied, and still contains what was deleted");
                Some(Instant::now())
            }
        };
    }
}
