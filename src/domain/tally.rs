//! The effects of commands, counted.

/// How much a command changed: for metrics, the log and the audit log.
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
    /// Customers that were created.
    pub customers_created: usize,
}
