//! The latest changes of an organization in memory, so that its streams share what is read: a change is read once, however many
//! follow it.

use std::{collections::VecDeque, sync::Arc};

use super::{ChangeBatch, Changes, NamedChange, WatchChangesRequest, ids};
use crate::{
    domain::{
        Error,
        change::Revision,
        id::{HistoryId, OrganizationId},
    },
    storage::{ChangePage, ChangeRecord, Followed, PageLimits},
};

/// The most changes that are kept.
const MAX_CHANGES: usize = 256;
/// The most ids in these changes.
const MAX_IDS: usize = 2_000;

/// The latest changes of an organization.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// The history, and the newest revision that was read.
    read_at: Option<(HistoryId, Revision)>,
    /// The revision before the first change.
    start: Revision,
    changes: VecDeque<RecentChange>,
    /// The ids in these changes.
    ids: usize,
}

#[derive(Debug)]
struct RecentChange {
    /// Without names.
    unnamed: NamedChange,
    /// With names, if a stream wanted them.
    named: Option<NamedChange>,
    ids: usize,
}

impl RecentChange {
    fn new(change: ChangeRecord) -> Self {
        let ids = change.ids().count();
        Self {
            unnamed: NamedChange::new(Arc::new(change), Arc::default()),
            named: None,
            ids,
        }
    }
}

impl Recent {
    /// The revision of the last change, or before the first one.
    fn end(&self) -> Revision {
        self.start.after(self.changes.len())
    }

    /// Adds what was read after `after`.
    fn add(&mut self, after: Revision, page: ChangePage) {
        let is_next = self.read_at.is_some_and(|(history, _)| history == page.history) && after == self.end();
        if !is_next {
            *self = Self {
                start: after,
                ..Self::default()
            };
        }
        self.read_at = Some((page.history, page.head));
        for change in page.changes {
            if !(change.customers_updated.is_empty()
                && change.customers_deleted.is_empty()
                && change.devices_updated.is_empty()
                && change.devices_deleted.is_empty())
            {
                // The names may be others now, or erased.
                for recent in &mut self.changes {
                    recent.named = None;
                }
            }
            let change = RecentChange::new(change);
            self.ids += change.ids;
            self.changes.push_back(change);
        }
    }

    /// Drops the oldest changes, beyond what is kept.
    fn shrink(&mut self) {
        while self.changes.len() > MAX_CHANGES || self.ids > MAX_IDS {
            let Some(oldest) = self.changes.pop_front() else {
                break;
            };
            self.ids -= oldest.ids;
            self.start = self.start.after(1);
        }
    }

    /// The changes after `after`, as many as are allowed.
    fn after(&mut self, after: Revision, limits: PageLimits) -> impl Iterator<Item = &mut RecentChange> {
        let skipped = after.number().saturating_sub(self.start.number());
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let fits = move |change: &&mut RecentChange| {
            let is_first = bytes == 0;
            bytes += change.unnamed.bytes();
            is_first || bytes <= limits.bytes
        };
        self.changes
            .iter_mut()
            .skip(skipped)
            .take(limits.changes)
            .take_while(fits)
    }
}

impl Changes {
    /// The first changes for a stream, and none if it has all. Only the first of many streams of an organization reads where the
    /// log ends.
    pub(super) async fn first(
        &self,
        organization: OrganizationId,
        followed: &Followed,
        request: &WatchChangesRequest,
        limits: PageLimits,
    ) -> Result<ChangeBatch, Error> {
        let WatchChangesRequest {
            after,
            ref history,
            include_names,
        } = *request;
        let turn = followed.turn().await;
        let head = followed.head();
        let is_of = |known: &HistoryId| history.is_empty() || known.to_string() == *history;
        let Some(history) = head.history.filter(is_of).filter(|_| after <= head.revision) else {
            let page = self.page_for_stream(organization, after, history, limits).await?;
            followed.found(page.history, page.head);
            drop(turn);
            return self.named(organization, page, include_names).await;
        };
        drop(turn);
        if after < head.revision {
            return self.next(organization, after, history, limits, include_names).await;
        }
        // Whether it is up to date cannot be known otherwise.
        self.database.check_reach()?;
        Ok(ChangeBatch {
            history,
            head: after,
            changes: Vec::new(),
        })
    }

    /// The changes after `after` for a stream. Streams at the newest change share one read.
    pub(super) async fn next(
        &self,
        organization: OrganizationId,
        after: Revision,
        history: HistoryId,
        limits: PageLimits,
        include_names: bool,
    ) -> Result<ChangeBatch, Error> {
        let recent = self.recent.get_with(organization, Arc::default);
        let mut recent = recent.lock().await;
        let is_older = recent.read_at.is_some() && after < recent.start;
        if is_older {
            // So far behind that others do not need it.
            drop(recent);
            let page = self
                .page_for_stream(organization, after, &history.to_string(), limits)
                .await?;
            return self.named(organization, page, include_names).await;
        }
        let is_there = recent.read_at.is_some_and(|(known, _)| known == history) && after < recent.end();
        if !is_there {
            let page = self
                .page_for_stream(organization, after, &history.to_string(), limits)
                .await?;
            recent.add(after, page);
        }
        let head = recent.read_at.map_or(after, |(_, head)| head);
        let mut wanted: Vec<_> = recent.after(after, limits).collect();
        if include_names {
            let without: Vec<_> = wanted.iter_mut().filter(|recent| recent.named.is_none()).collect();
            let missing = ids(without.iter().map(|recent| &*recent.unnamed.change));
            let names = Arc::new(self.reads.names(organization, missing).await?);
            for recent in without {
                let change = Arc::clone(&recent.unnamed.change);
                recent.named = Some(NamedChange::new(change, Arc::clone(&names)));
            }
        }
        let named = |recent: &mut RecentChange| match &recent.named {
            Some(named) if include_names => named.clone(),
            _ => recent.unnamed.clone(),
        };
        let changes = wanted.into_iter().map(named).collect();
        recent.shrink();
        Ok(ChangeBatch { history, head, changes })
    }
}
