//! The numbers of an outcome.

use super::assign_devices::Fate;

/// The numbers of an outcome, for people: in the answer, the log, the audit log and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Devices that were assigned.
    pub assigned: usize,
    /// Devices that were assigned before.
    pub already_assigned: usize,
    /// Devices that were unassigned.
    pub unassigned: usize,
    /// Identifiers that were skipped.
    pub skipped: usize,
    /// Devices that were created.
    pub devices_created: usize,
    /// Devices that were changed.
    pub devices_updated: usize,
    /// Devices that were deleted.
    pub devices_deleted: usize,
    /// Customers that were created.
    pub customers_created: usize,
    /// Customers that were changed.
    pub customers_updated: usize,
    /// Customers that were deleted.
    pub customers_deleted: usize,
}

impl Tally {
    /// Counts what happened to a device that was to be assigned.
    pub(super) fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Assigned { was_created, .. } => {
                self.assigned += 1;
                self.devices_created += usize::from(was_created);
            }
            Fate::AlreadyAssigned { .. } => self.already_assigned += 1,
            Fate::Skipped => self.skipped += 1,
        }
    }

    /// Devices that the customer of an assignment owns now.
    pub fn owned(&self) -> usize {
        self.assigned + self.already_assigned
    }
}
