//! Erases personal data that is no longer needed from the change log. A task does so once an hour.

use std::time::Duration;

use time::OffsetDateTime;

use crate::{
    storage::Database,
    supervision::{Supervisor, Tasks},
};

/// How long the log keeps the names of operators and the ids of requests.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);
/// The time between two passes.
const INTERVAL: Duration = Duration::from_secs(3_600);

/// The task that erases personal data.
#[derive(Debug)]
pub(super) struct PersonalData {
    /// The task ends when this is dropped.
    _erasing: Tasks,
}

impl PersonalData {
    pub(super) fn start(database: Database, supervisor: &Supervisor) -> Self {
        let mut erasing = Tasks::new(supervisor);
        erasing.keep_running("personal_data", move || keep_erasing(database.clone()));
        Self { _erasing: erasing }
    }
}

async fn keep_erasing(database: Database) {
    loop {
        match database.erase_origins(OffsetDateTime::now_utc() - RETENTION).await {
            Ok(0) => {}
            Ok(changes) => tracing::info!(changes, "operators and request IDs of old changes are erased"),
            Err(error) => tracing::warn!(
                %error,
                "operators and request IDs of old changes could not be erased; it is tried again in an hour"
            ),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
