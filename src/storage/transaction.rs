//! Transactions that write: begun so that they cannot fail for having read first, and run again when another writer
//! came first.

use std::time::Duration;

use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbErr, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

use super::Failure;

/// How often a transaction is tried. Each rerun means that another writer has committed rows that this one wanted to
/// create, so that there are fewer left to collide on.
const ATTEMPTS: u32 = 16;
/// The longest pause before a rerun; the actual one is random, so that two that collided do not collide again.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// Begins a transaction that is going to write.
pub(super) async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    db.begin_with_options(TransactionOptions {
        // A SQLite transaction that reads first and then wants to write fails at once when another has written.
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    })
    .await
}

/// What is done in a transaction. It may be run several times, and must leave nothing behind but in the database.
///
/// A trait and not a closure, because the compiler cannot yet see that the future of an `async` closure is `Send` when
/// the closure borrows.
pub(super) trait Work: Sync {
    type Output: Send;

    fn run(&self, transaction: &DatabaseTransaction) -> impl Future<Output = Result<Self::Output, Failure>> + Send;
}

/// Does `work` in a transaction and commits it; again, when another writer came first.
///
/// # Errors
/// Whatever `work`, the begin or the commit fails with. Nothing has happened then, with one exception: when the
/// database became unreachable during the commit, the outcome is unknown.
pub(super) async fn transact<W: Work>(db: &DatabaseConnection, work: &W) -> Result<W::Output, Failure> {
    let mut attempt = 1;
    loop {
        match once(db, work).await {
            Err(failure @ (Failure::Conflict(_) | Failure::Overtaken)) if attempt < ATTEMPTS => {
                tracing::debug!(attempt, %failure, "running a transaction again");
            }
            result => return result,
        }
        attempt += 1;
        tokio::time::sleep(rand::random_range(Duration::ZERO..LONGEST_PAUSE)).await;
    }
}

async fn once<W: Work>(db: &DatabaseConnection, work: &W) -> Result<W::Output, Failure> {
    let transaction = begin(db).await?;
    match work.run(&transaction).await {
        Ok(output) => {
            transaction.commit().await?;
            Ok(output)
        }
        Err(failure) => {
            if let Err(error) = transaction.rollback().await {
                tracing::debug!(%error, "a rollback failed; the connection is dropped");
            }
            Err(failure)
        }
    }
}
