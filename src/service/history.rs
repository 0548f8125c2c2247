//! The history that the revisions of a database belong to.

use super::audit;
use crate::{
    domain::{Error, id::HistoryId},
    storage::Database,
};

/// Begins a new history, and returns its id: revisions of the previous one no longer mean the same changes.
///
/// # Errors
/// When the database cannot be written.
pub async fn begin_history(database: &Database) -> Result<HistoryId, Error> {
    let history = database.begin_history().await?;
    audit::history_begun(history);
    Ok(history)
}
