//! Erasing what was deleted. SQLite overwrites deleted rows in the database file (`secure_delete`), but the write-ahead log keeps
//! earlier versions of the pages until others overwrite them. So the log is emptied after a deletion, before the call is answered.
//! PostgreSQL keeps deleted rows until the next vacuum.

use std::time::{Duration, Instant};

use super::{backend::Backend, write_connection::WriteConnection};
use crate::domain::change::Erasure;

/// A reader that holds an old version of the database keeps the log from being emptied. How long until it is tried again, and how long
/// deleted data may stay that need not be erased at once.
const PAUSE: Duration = Duration::from_secs(1);

impl<B: Backend> WriteConnection<B> {
    /// Erases what the last transaction deleted, and what earlier ones deleted, if that is due.
    pub(super) async fn erase(&mut self, connection: &mut B::Connection, erasure: Erasure) {
        if !B::IS_EMBEDDED {
            return;
        }
        let is_due = self.erasure_due().is_some_and(|due| due <= Instant::now());
        if erasure < Erasure::BeforeTheAnswer && !is_due {
            if erasure == Erasure::Soon {
                self.unerased.get_or_insert_with(Instant::now);
            }
            return;
        }
        self.unerased = match B::erase(connection).await {
            Ok(true) => None,
            Ok(false) => Some(Instant::now()),
            Err(error) => {
                let problem = "the write-ahead log cannot be emptied, and may still contain what was deleted";
                if erasure == Erasure::BeforeTheAnswer {
                    tracing::warn!(%error, "{problem}");
                } else {
                    tracing::debug!(%error, "{problem}");
                }
                Some(Instant::now())
            }
        };
    }

    /// When to [erase again](Self::erase_again), if nothing is written until then.
    pub(super) fn erasure_due(&self) -> Option<Instant> {
        self.unerased.map(|since| since + PAUSE)
    }

    /// Erases what could not be erased before.
    pub(super) async fn erase_again(&mut self) {
        match self.take().await {
            Ok(mut connection) => {
                self.erase(&mut connection, Erasure::Unneeded).await;
                self.keep(connection);
            }
            Err(error) => {
                tracing::debug!(%error, "nothing can be erased without a connection");
                self.unerased = Some(Instant::now());
            }
        }
    }
}
