//! Commits groups of commands: reads what they touch, applies them, and writes what they change together with its entries in
//! the change log.
//!
//! The primary key of the log keeps the writers of an organization serial: a group numbers its changes from the revision that
//! it read, and if somebody else has committed a change since, the key refuses them, nothing is written, and the group runs
//! again. On PostgreSQL a lock of the organization makes the next attempt succeed.

use std::{
    iter,
    time::{Duration, Instant},
};

use rand::random_range;
use sea_orm::{DbErr, sqlx};
use tokio::time::sleep;

use super::{
    DatabaseError,
    backend::Backend,
    citus::Dialect,
    embedded,
    error::BatchError,
    find::Found,
    group::{Committed, Group},
    locking::{LockWait, Locking},
    sql::{Column, Scalar},
    statements::{LOCK_ORGANIZATION, TRY_LOCK_ORGANIZATIONS},
    write_changes::write_changes,
    write_connection::{WriteConnection, begin, end, rows},
};
use crate::{
    domain::{
        change::{ChangeSet, Erasure},
        id::OrganizationId,
    },
    telemetry::metrics::BATCHES,
};

/// How often a batch is tried. From the second time on it holds the lock of its organization, so that only a writer that
/// does not respect the lock can come first again.
const ATTEMPTS: u32 = 16;
/// The longest pause before a rerun. The pause is random, so that two that collided do not collide again.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);
impl<B: Backend> WriteConnection<B> {
    /// Commits `groups` in one transaction, and runs it again while other writers come first. A single group waits for the
    /// lock of its organization as `lock_wait` says; of several groups, those whose organization is locked are left out.
    ///
    /// # Errors
    /// When nothing happened, with one exception: if the connection broke during the commit, the outcome is unknown.
    pub(super) async fn commit(
        &mut self,
        groups: &mut [Group<'_>],
        locking: Locking,
        lock_wait: &mut LockWait,
    ) -> Result<Vec<Committed>, BatchError> {
        let mut locking = locking;
        for attempt in 1.. {
            let mut connection = self.take().await?;
            let result = attempt_commit::<B>(&mut connection, self.dialect(), groups, locking, lock_wait).await;
            let conflict = match &result {
                Err(error) => error.conflict(),
                Ok(_) => None,
            };
            if result.is_ok() {
                let erasure = groups.iter().map(|group| group.erasure).max();
                self.erase(&mut connection, erasure.unwrap_or(Erasure::Unneeded)).await;
            }
            if result.is_ok() || conflict.is_some() {
                self.keep(connection);
            }
            // After any other error the connection is closed: driver and database may disagree on whether there is a
            // transaction.
            let Some(conflict) = conflict else {
                return result;
            };
            if attempt >= ATTEMPTS {
                break;
            }
            tracing::debug!(attempt, error = %conflict, "running a transaction again");
            BATCHES.reruns_after_conflict.increment(1);
            locking = Locking::Exclusive;
            sleep(random_range(Duration::ZERO..LONGEST_PAUSE)).await;
        }
        Err(DatabaseError::TooMuchContention.into())
    }
}

async fn attempt_commit<B: Backend>(
    connection: &mut B::Connection,
    dialect: Dialect,
    groups: &mut [Group<'_>],
    locking: Locking,
    lock_wait: &mut LockWait,
) -> Result<Vec<Committed>, BatchError> {
    if B::IS_EMBEDDED {
        return embedded::commit::<B>(connection, groups, locking).await;
    }
    // On Citus, each organization may be on another server. The dialect is not known before the first connection.
    let only_first = dialect == Dialect::Citus;
    let (group, held) = match groups {
        [group] => (group, 0),
        [group, rest @ ..] if only_first => (group, rest.len()),
        _ => return together::<B>(connection, groups).await,
    };
    let committed = alone::<B>(connection, dialect, group, locking, lock_wait).await;
    let committed = committed.map_err(|error| BatchError { index: Some(0), error })?;
    Ok(iter::once(committed)
        .chain(iter::repeat_n(Committed::Held, held))
        .collect())
}

/// Commits one group: in a single statement, if nothing has to be created or removed, and otherwise under the lock of its
/// organization.
async fn alone<B: Backend>(
    connection: &mut B::Connection,
    dialect: Dialect,
    group: &mut Group<'_>,
    locking: Locking,
    lock_wait: &mut LockWait,
) -> Result<Committed, DatabaseError> {
    // Citus runs the parts of a statement that writes one after the other, each with a snapshot of its own.
    if dialect == Dialect::Plain && locking == Locking::Optimistic && group.touches().only_assign() {
        match group.find_and_assign::<B>(connection).await {
            Ok(found) => {
                let changes = group.apply(&found.existing);
                if found.is_complete(&changes)? {
                    return Ok(Committed::At(found.revision));
                }
            }
            // A standby runs no statement that could write. Calls that change nothing do not need one.
            Err(error) if error.is_read_only() => {}
            Err(error) => return Err(error),
        }
    }
    let mut transaction = begin::<B>(connection).await?;
    let written = async {
        if !lock::<B>(&mut transaction, group.organization, lock_wait).await? {
            return Ok(Committed::Held);
        }
        let found = group.find::<B>(&mut transaction).await?;
        let changes = group.apply(&found.existing);
        write_changes::<B>(&mut transaction, dialect, group.organization, &changes, found.revision).await?;
        Ok(Committed::At(found.revision))
    };
    let written = written.await;
    end(transaction, written).await
}

/// Commits several groups in one transaction. It never waits for one organization while it holds the lock of another.
async fn together<B: Backend>(
    connection: &mut B::Connection,
    groups: &mut [Group<'_>],
) -> Result<Vec<Committed>, BatchError> {
    let mut transaction = begin::<B>(connection).await?;
    let mut index = None;
    let written = async {
        let organizations = groups.iter().map(|group| group.organization.uuid()).collect();
        let try_locks = TRY_LOCK_ORGANIZATIONS.bind([], [Column::Ids(organizations)]);
        let locked: Vec<(bool,)> = rows::<B, _>(&mut transaction, &try_locks).await?;
        let mut committed = Vec::with_capacity(groups.len());
        for ((at, group), (is_locked,)) in groups.iter_mut().enumerate().zip(locked) {
            if !is_locked {
                committed.push(Committed::Held);
                continue;
            }
            index = Some(at);
            let found = if group.touches().only_assign() {
                group.find_and_assign::<B>(&mut transaction).await?
            } else {
                group.find::<B>(&mut transaction).await?
            };
            let changes = group.apply(&found.existing);
            if !found.is_complete(&changes)? {
                write_changes::<B>(
                    &mut transaction,
                    Dialect::Plain,
                    group.organization,
                    &changes,
                    found.revision,
                )
                .await?;
            }
            committed.push(Committed::At(found.revision));
        }
        index = None;
        Ok(committed)
    };
    let written = written.await;
    end(transaction, written)
        .await
        .map_err(|error| BatchError { index, error })
}

/// Waits for the lock of an organization. Returns false if another instance still has it; the transaction has failed then.
async fn lock<B: Backend>(
    transaction: &mut sqlx::Transaction<'_, B>,
    organization: OrganizationId,
    lock_wait: &mut LockWait,
) -> Result<bool, DatabaseError> {
    // 0 would mean to wait without end.
    let milliseconds = i64::try_from(lock_wait.longest.as_millis()).unwrap_or(i64::MAX).max(1);
    let statement = LOCK_ORGANIZATION.bind([Scalar::Id(organization.uuid()), Scalar::Number(milliseconds)], []);
    let start = Instant::now();
    let locked = rows::<B, (bool, bool, bool)>(transaction, &statement).await;
    lock_wait.waited += start.elapsed();
    match locked {
        Ok(_) => Ok(true),
        Err(DatabaseError::Busy(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

impl Found {
    /// Whether nothing is left to write.
    ///
    /// # Errors
    /// When the statement that read it has written something else than the plan says.
    fn is_complete(&self, changes: &ChangeSet) -> Result<bool, DatabaseError> {
        if self.is_carried_out && !changes.only_assigns() {
            let problem = "a statement carried out a group that creates or removes something";
            return Err(DatabaseError::Fault(DbErr::Custom(problem.to_owned())));
        }
        Ok(self.is_carried_out || changes.is_empty())
    }
}
