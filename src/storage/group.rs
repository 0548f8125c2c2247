//! The commands of one organization that are committed together.

use super::job::Job;
use crate::domain::{
    change::{ChangeSet, Erasure, Revision},
    command::Touches,
    id::{OrganizationId, new_ids},
    state::{Existing, State},
};

/// Commands of one organization that are committed together, as if one after the other.
pub(super) struct Group<'j> {
    pub(super) organization: OrganizationId,
    pub(super) jobs: Vec<&'j mut dyn Job>,
    /// When what its commands delete has to be gone, as far as they were applied.
    pub(super) erasure: Erasure,
}

/// What became of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Committed {
    /// It is durable. This is the revision that it was applied to.
    At(Revision),
    /// Another instance holds the lock of the organization. Nothing happened, and the group can run later.
    Held,
}

impl Group<'_> {
    /// How much work it is, in device identifiers.
    pub(super) fn weight(&self) -> usize {
        self.jobs.iter().map(|job| job.weight()).sum()
    }

    /// What its commands touch.
    pub(super) fn touches(&self) -> Touches<'_> {
        let mut touches = Touches::default();
        for job in &self.jobs {
            job.touch(&mut touches);
        }
        touches
    }

    /// Applies its commands, one after the other, to what exists.
    pub(super) fn apply(&mut self, existing: &Existing) -> ChangeSet {
        let mut new_id = new_ids();
        let mut state = State::new(existing, &mut new_id);
        for job in &mut self.jobs {
            job.apply(&mut state);
        }
        let changes = state.into_changes();
        self.erasure = changes.erasure();
        changes
    }
}
