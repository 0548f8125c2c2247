//! The organizations that a worker has taken.

use std::sync::Arc;

use super::queue::{Batch, Queue};
use crate::domain::id::OrganizationId;

/// Organizations that a worker has taken from its queue. They go back when this is dropped, also by a panic.
pub(super) struct TakenOrganizations {
    queue: Arc<Queue>,
    organizations: Vec<OrganizationId>,
}

impl TakenOrganizations {
    pub(super) fn new(queue: &Arc<Queue>, batch: &Batch) -> Self {
        Self {
            queue: Arc::clone(queue),
            organizations: batch.iter().map(|group| group.organization).collect(),
        }
    }

    /// Gives back the organizations that are done.
    pub(super) fn give_back(&mut self, is_done: impl Fn(OrganizationId) -> bool) {
        let organizations = std::mem::take(&mut self.organizations);
        let (done, rest) = organizations
            .into_iter()
            .partition::<Vec<_>, _>(|organization| is_done(*organization));
        self.organizations = rest;
        self.queue.done(&done);
    }
}

impl Drop for TakenOrganizations {
    fn drop(&mut self) {
        self.queue.done(&self.organizations);
    }
}
