//! The numbers of an outcome.

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
    /// Devices that the customer of an assignment owns now.
    pub fn owned(&self) -> usize {
        self.assigned + self.already_assigned
    }
}
