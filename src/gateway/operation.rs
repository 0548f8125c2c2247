//! What the gateway knows of an operation before it calls the service.

use super::problem::Problem;

/// An operation whose request is the JSON of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    /// The name of its RPC.
    pub(super) name: &'static str,
    /// The list in its request, if there is one.
    pub(super) list: Option<BoundedList>,
    /// What is reserved for a list in its answer whose length does not follow from the request, in bytes.
    pub(super) answer_list_bytes: usize,
}

impl Operation {
    /// An operation without lists.
    pub(super) fn without_lists(name: &'static str) -> Self {
        Self {
            name,
            list: None,
            answer_list_bytes: 0,
        }
    }
}

/// What is reserved for a stored JSON object in an answer, in bytes: the largest one.
pub(super) const JSON_OBJECT_BYTES: usize = 64 * 1024;

/// What is reserved for the list of a customer's devices, in bytes: the largest one that the service returns, with quotation marks
/// and commas. Escaped characters beyond that are accounted for when they exist.
pub(super) const DEVICE_LIST_BYTES: usize = 300 * 1024;

/// What is reserved for a page of a list, in bytes: one of usual size. What is returned beyond it is accounted for when it exists.
pub(super) const PAGE_BYTES: usize = 128 * 1024;

/// A list in the JSON of a request. A list that is too long is rejected while it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct BoundedList {
    /// The member that holds the list.
    pub(super) member: &'static str,
    /// The maximum number of elements.
    pub(super) max: usize,
}

/// A request that the gateway itself rejects.
#[derive(Debug)]
pub(super) struct RejectedRequest {
    pub(super) problem: Problem,
    /// The number of identifiers in the request. They count toward the limits of the key.
    pub(super) devices: usize,
}

impl From<Problem> for RejectedRequest {
    fn from(problem: Problem) -> Self {
        Self { problem, devices: 0 }
    }
}
