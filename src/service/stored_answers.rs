//! Deletes stored answers of calls with an idempotency key when they have expired.

use std::time::Duration;

use crate::{
    storage::Database,
    supervision::{Supervisor, Tasks},
};

/// How often expired answers are deleted.
const INTERVAL: Duration = Duration::from_secs(60);
/// The most answers in one statement: it must not keep a writer of SQLite waiting.
const BATCH: u32 = 500;
/// The most statements in a row: the rest is left for the next time.
const MAX_BATCHES: u32 = 100;
/// The pause between two statements.
const PAUSE: Duration = Duration::from_millis(50);
/// The timeout of a statement. What is not deleted is tried again later.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The task. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct StoredAnswers {
    _deleting: Tasks,
}

impl StoredAnswers {
    pub(super) fn start(database: &Database, supervisor: &Supervisor) -> Self {
        let mut deleting = Tasks::new(supervisor);
        let database = database.clone();
        deleting.keep_running("stored_answers", move || keep_deleting(database.clone()));
        Self { _deleting: deleting }
    }
}

async fn keep_deleting(database: Database) {
    loop {
        delete(&database).await;
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Deletes expired answers. An expired answer counts as absent, so it is no problem if some are left.
async fn delete(database: &Database) {
    for _ in 0..MAX_BATCHES {
        let problem = match tokio::time::timeout(TIMEOUT, database.delete_expired_answers(BATCH)).await {
            Ok(Ok(deleted)) if deleted < u64::from(BATCH) => return,
            Ok(Ok(_)) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Ok(Err(failure)) => failure.to_string(),
            Err(_elapsed) => "the database did not answer in time".to_owned(),
        };
        tracing::warn!(problem, "expired answers could not be deleted; it is tried again");
        return;
    }
}
