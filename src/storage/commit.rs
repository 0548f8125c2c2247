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
    error::BatchError,
    find::{Found, read_revision},
    group::Group,
    sql::{Column, Scalar},
    statements::{LOCK_ORGANIZATION, TRY_LOCK_ORGANIZATIONS},
    write_changes::write_changes,
    write_connection::{WriteConnection, begin, commit, roll_back, rows},
};
use crate::{
    domain::{
        change::{ChangeSet, Revision},
        id::OrganizationId,
    },
    telemetry::metrics::BATCHES,
};

/// How often a batch is tried. From the second time on it holds the lock of its organization, so that only a writer that
/// does not respect the lock can come first again.
const ATTEMPTS: u32 = 16;
/// The longest pause before a rerun. The pause is random, so that two that collided do not collide again.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);
/// The most devices of a batch of which an embedded database keeps the journals of statements in memory: each assignment changes
/// two pages of 4 KiB, so they take 2 MiB.
const SMALL_BATCH: usize = 256;
/// The longest wait of one statement for a lock: less than the statement's own time-out.
pub(super) const LONGEST_LOCK_WAIT: Duration = Duration::from_secs(4);

/// How the first attempt of a batch treats other instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locking {
    /// It hopes that none comes first.
    Optimistic,
    /// It locks its organization first: a large group would lose against small ones for ever.
    Exclusive,
}

/// How long an attempt to commit a group may wait for the lock of its organization, and how long all attempts have waited.
#[derive(Debug)]
pub(super) struct LockWait {
    longest: Duration,
    waited: Duration,
}

impl LockWait {
    /// A wait of at most `longest`, and of at most [`LONGEST_LOCK_WAIT`].
    pub(super) fn up_to(longest: Duration) -> Self {
        Self {
            longest: longest.min(LONGEST_LOCK_WAIT),
            waited: Duration::ZERO,
        }
    }

    /// How long all attempts have waited.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }
}

/// What became of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Committed {
    /// It is durable. This is the revision that it was applied to.
    At(Revision),
    /// Another instance holds the lock of the organization. Nothing happened, and the group can run later.
    Held,
}

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
                self.erase(&mut connection, groups.iter().any(|group| group.erases))
                    .await;
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
        return embedded::<B>(connection, groups, locking).await;
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

/// Commits groups on SQLite, which has one writer at a time: nothing has to be locked, and a transaction begins only when there is
/// something to write.
async fn embedded<B: Backend>(
    connection: &mut B::Connection,
    groups: &mut [Group<'_>],
    locking: Locking,
) -> Result<Vec<Committed>, BatchError> {
    let mut plans = Vec::new();
    if locking == Locking::Optimistic {
        plans = plan_all::<B>(connection, groups, Snapshot::OfEachStatement).await?;
        if plans.iter().all(|(_, changes)| changes.is_empty()) {
            return Ok(committed(&plans));
        }
    }
    let weight: usize = groups.iter().map(Group::weight).sum();
    if weight <= SMALL_BATCH {
        return write_all::<B>(connection, groups, plans, locking).await;
    }
    B::keep_journals_in_memory(connection, false)
        .await
        .map_err(DatabaseError::from)?;
    let written = write_all::<B>(connection, groups, plans, locking).await;
    if let Err(error) = B::keep_journals_in_memory(connection, true).await {
        tracing::debug!(%error, "a connection keeps its journals in files");
    }
    written
}

/// Writes what was planned in one transaction; plans first if that is not done.
async fn write_all<B: Backend>(
    connection: &mut B::Connection,
    groups: &mut [Group<'_>],
    mut plans: Vec<(Revision, ChangeSet)>,
    locking: Locking,
) -> Result<Vec<Committed>, BatchError> {
    let mut transaction = begin::<B>(connection).await?;
    let mut index = None;
    let written = async {
        if locking == Locking::Exclusive {
            let planned = plan_all::<B>(&mut transaction, groups, Snapshot::OfTransaction).await;
            plans = planned.map_err(|error| {
                index = error.index;
                error.error
            })?;
        }
        for ((at, group), (revision, changes)) in groups.iter().enumerate().zip(&plans) {
            index = Some(at);
            write_changes::<B>(&mut transaction, Dialect::Plain, group.organization, changes, *revision).await?;
        }
        index = None;
        Ok(committed(&plans))
    };
    let written = written.await;
    end(transaction, written)
        .await
        .map_err(|error| BatchError { index, error })
}

/// What the statements that plan see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Snapshot {
    /// The same: nobody else writes meanwhile.
    OfTransaction,
    /// Each sees what was committed before it.
    OfEachStatement,
}

/// Reads what each group touches, and applies it: the revisions that were read, and the changes.
///
/// # Errors
/// [`DatabaseError::Conflict`] if another process has committed a change between two statements and the group changes nothing.
/// For a group with changes, the log checks that when they are written.
async fn plan_all<B: Backend>(
    connection: &mut B::Connection,
    groups: &mut [Group<'_>],
    snapshot: Snapshot,
) -> Result<Vec<(Revision, ChangeSet)>, BatchError> {
    let mut plans = Vec::with_capacity(groups.len());
    for (index, group) in groups.iter_mut().enumerate() {
        let plan = plan::<B>(connection, group, snapshot).await;
        plans.push(plan.map_err(|error| BatchError {
            index: Some(index),
            error,
        })?);
    }
    Ok(plans)
}

async fn plan<B: Backend>(
    connection: &mut B::Connection,
    group: &mut Group<'_>,
    snapshot: Snapshot,
) -> Result<(Revision, ChangeSet), DatabaseError> {
    let found = group.find::<B>(connection).await?;
    let changes = group.apply(&found.existing);
    if snapshot == Snapshot::OfEachStatement
        && changes.is_empty()
        && !found.is_of_one_statement
        && read_revision::<B>(connection, group.organization).await? != found.revision
    {
        let problem = "another process has changed something between two statements";
        return Err(DatabaseError::Conflict(DbErr::Custom(problem.to_owned())));
    }
    Ok((found.revision, changes))
}

fn committed(plans: &[(Revision, ChangeSet)]) -> Vec<Committed> {
    plans.iter().map(|(revision, _)| Committed::At(*revision)).collect()
}

/// Commits a transaction, or rolls it back after an error. If that fails, too, the connection must not be used again.
async fn end<B: Backend, T>(
    transaction: sqlx::Transaction<'_, B>,
    result: Result<T, DatabaseError>,
) -> Result<T, DatabaseError> {
    match result {
        Ok(value) => {
            commit(transaction).await?;
            Ok(value)
        }
        Err(error) => {
            roll_back(transaction).await?;
            Err(error)
        }
    }
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
