//! Commits groups on SQLite.

use sea_orm::DbErr;

use super::{
    DatabaseError,
    backend::Backend,
    citus::Dialect,
    error::BatchError,
    find::read_revision,
    group::{Committed, Group},
    locking::Locking,
    write_changes::{log_and_assign, write_changes},
    write_connection::{begin, end},
};
use crate::domain::change::{ChangeSet, Revision};

/// The most devices of a batch of which an embedded database keeps the journals of statements in memory: each assignment changes
/// two pages of 4 KiB, so they take 2 MiB.
const SMALL_BATCH: usize = 256;

/// Commits groups on SQLite, which has one writer at a time: nothing has to be locked, and a transaction begins only when there is
/// something to write.
pub(super) async fn commit<B: Backend>(
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
        if locking == Locking::Optimistic && plans.iter().all(|(_, changes)| changes.only_assigns()) {
            let planned = groups.iter().zip(&plans);
            let changes: Vec<_> = planned
                .map(|(group, (head, changes))| (group.organization, *head, changes))
                .collect();
            log_and_assign::<B>(connection, &changes).await?;
            return Ok(committed(&plans));
        }
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
/// [`DatabaseError::Conflict`] if another process has committed a change between two statements and the group changes nothing, whether
/// or not it has answers to store. For a group with changes, the log checks that when they are written.
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
        && changes.log.is_empty()
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
