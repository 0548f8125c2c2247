//! The newest revision of each organization that somebody follows, so that followers wait without a query of their own.
//!
//! Within the instance, a writer worker says what it has committed. What other instances commit is found by one query for all
//! followed organizations, again and again. PostgreSQL's NOTIFY would take a lock at every commit, which makes all writers wait
//! for each other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::watch;
use uuid::Uuid;

use super::{
    Database, DatabaseError,
    citus::Dialect,
    sql::{Column, Scalar},
    statements::FIND_HEADS,
};
use crate::domain::{
    change::Revision,
    id::{HistoryId, OrganizationId},
};

/// The newest known revision of an organization.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// The history that it belongs to, once that is known.
    pub history: Option<HistoryId>,
    /// The revision; 0 before it is known.
    pub revision: Revision,
}

/// The organizations that somebody follows.
#[derive(Debug, Default)]
pub(super) struct Heads(Mutex<HashMap<OrganizationId, Weak<Followed>>>);

/// An organization that somebody follows. It is followed until this is dropped.
#[derive(Debug)]
pub struct Followed {
    organization: OrganizationId,
    head: watch::Sender<Head>,
    turn: tokio::sync::Mutex<()>,
    heads: Arc<Heads>,
}

impl Followed {
    /// The newest revision that is known.
    pub fn head(&self) -> Head {
        *self.head.borrow()
    }

    /// Waits until no other follower reads the newest revision.
    pub async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Tells the followers what was read.
    pub fn found(&self, history: HistoryId, revision: Revision) {
        self.head.send_if_modified(|head| {
            let is_same = head.history.is_none_or(|known| known == history);
            // A writer may have committed since it was read. In another history, revisions start where they start.
            let revision = if is_same { head.revision.max(revision) } else { revision };
            let found = Head {
                history: Some(history),
                revision,
            };
            std::mem::replace(head, found) != found
        });
    }

    /// Waits until there may be changes after `revision` of `history`.
    pub async fn changed_since(&self, history: HistoryId, revision: Revision) {
        let is_new = |head: &Head| head.revision > revision || head.history.is_some_and(|known| known != history);
        // The sender is ours, so it is not gone.
        let _ = self.head.subscribe().wait_for(is_new).await;
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let mut followed = self.heads.followed();
        // Somebody may have begun to follow it again.
        if followed
            .get(&self.organization)
            .is_some_and(|known| known.strong_count() == 0)
        {
            followed.remove(&self.organization);
        }
    }
}

impl Heads {
    fn follow(self: &Arc<Self>, organization: OrganizationId) -> Arc<Followed> {
        let mut followed = self.followed();
        if let Some(known) = followed.get(&organization).and_then(Weak::upgrade) {
            return known;
        }
        let new = Arc::new(Followed {
            organization,
            head: watch::Sender::default(),
            turn: tokio::sync::Mutex::default(),
            heads: Arc::clone(self),
        });
        followed.insert(organization, Arc::downgrade(&new));
        new
    }

    /// Tells the followers of an organization that a writer of this instance has committed up to this revision.
    pub(super) fn committed(&self, organization: OrganizationId, revision: Revision) {
        let known = self.followed().get(&organization).and_then(Weak::upgrade);
        if let Some(followed) = known {
            followed.head.send_if_modified(|head| {
                let is_new = revision > head.revision;
                head.revision = head.revision.max(revision);
                is_new
            });
        }
    }

    /// Tells the followers of an organization what was read.
    fn found(&self, organization: OrganizationId, history: HistoryId, revision: Revision) {
        let known = self.followed().get(&organization).and_then(Weak::upgrade);
        if let Some(followed) = known {
            followed.found(history, revision);
        }
    }

    fn organizations(&self) -> Vec<Uuid> {
        self.followed().keys().map(|organization| organization.uuid()).collect()
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<OrganizationId, Weak<Followed>>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Database {
    /// Follows an organization.
    pub fn follow(&self, organization: OrganizationId) -> Arc<Followed> {
        self.heads.follow(organization)
    }

    /// Reads the newest revisions of all followed organizations, and tells their followers. Without any, reads nothing.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn read_heads(&self) -> Result<(), DatabaseError> {
        let organizations = self.heads.organizations();
        if organizations.is_empty() {
            return Ok(());
        }
        let statements = match self.dialect() {
            Dialect::Plain => vec![FIND_HEADS.bind([], [Column::Ids(organizations)])],
            // Each may be on another server.
            Dialect::Citus => {
                let one = |organization| FIND_HEADS.bind([Scalar::Id(organization)], []);
                organizations.into_iter().map(one).collect()
            }
        };
        for statement in statements {
            let rows: Vec<(Uuid, Uuid, i64)> = self.rows_of(&FIND_HEADS, statement).await?;
            for (history, organization, revision) in rows {
                let revision = Revision::from_stored(revision);
                self.heads
                    .found(OrganizationId::from(organization), history.into(), revision);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[tokio::test]
    async fn followers_learn_of_commits_and_of_another_history() {
        let heads = Arc::<Heads>::default();
        let (organization, history) = (OrganizationId::from(id(1)), HistoryId::from(id(2)));
        let followed = heads.follow(organization);
        let has_changed = |revision: u64| {
            followed
                .changed_since(history, revision.into())
                .now_or_never()
                .is_some()
        };
        assert!(!has_changed(0));
        heads.committed(organization, 3.into());
        assert!(has_changed(2) && !has_changed(3));
        heads.committed(organization, 2.into());
        assert!(!has_changed(3), "an older commit that is told later changes nothing");
        heads.found(organization, history, 1.into());
        assert!(has_changed(2), "nor does a read that was overtaken");
        heads.committed(OrganizationId::from(id(9)), 10.into());
        assert!(!has_changed(3), "nor another organization");
        heads.found(organization, id(7).into(), 1.into());
        assert!(has_changed(3), "another history is told whatever its revision");
    }

    #[test]
    fn an_organization_is_forgotten_with_its_last_follower() {
        let heads = Arc::<Heads>::default();
        let organization = OrganizationId::from(id(1));
        let first = heads.follow(organization);
        let second = heads.follow(organization);
        drop(first);
        assert_eq!(heads.organizations(), [id(1)]);
        drop(second);
        assert!(heads.organizations().is_empty());
    }
}
