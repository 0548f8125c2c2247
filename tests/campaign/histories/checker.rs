//! Searches an order of calls that explains their answers and agrees with their times (Wing and Gong's search, with Lowe's memory
//! of what has been tried).

use std::collections::HashSet;

pub const CUSTOMERS: usize = 3;
pub const DEVICES: usize = 4;

/// A set of customers or devices: one bit each.
pub type Set = u8;

/// A call and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Existing devices are assigned; the answer says which are new to the customer.
    Assign {
        customer: usize,
        devices: Set,
        created_customer: bool,
        assigned: Set,
    },
    /// Devices are unassigned; the answer says which were, and which are left.
    Unassign {
        customer: usize,
        devices: Set,
        unassigned: Set,
        remaining: Set,
    },
    /// An unassignment was rejected, because there is no such customer.
    UnassignUnknown { customer: usize },
    /// The owners of all devices are read: the devices of each customer.
    Owners { owned: [Set; CUSTOMERS] },
}

/// An operation, when it began and ended, and the revision that it was answered with, if it was.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    pub operation: Operation,
    pub began: u64,
    pub ended: u64,
    pub revision: Option<u64>,
}

/// Who owns what, at a revision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct State {
    pub revision: u64,
    pub customers: Set,
    pub owned: [Set; CUSTOMERS],
}

impl State {
    /// The state after `event`; none if it would have been answered differently.
    fn after(mut self, event: &Event) -> Option<Self> {
        let before = self;
        let is_answer = match event.operation {
            Operation::Assign {
                customer,
                devices,
                created_customer,
                assigned,
            } => {
                let is_new = self.customers & (1 << customer) == 0;
                let newly = devices & !self.owned[customer];
                self.customers |= 1 << customer;
                self.owned[customer] |= devices;
                is_new == created_customer && newly == assigned
            }
            Operation::Unassign {
                customer,
                devices,
                unassigned,
                remaining,
            } => {
                let exists = self.customers & (1 << customer) != 0;
                let owned = self.owned[customer];
                self.owned[customer] &= !devices;
                exists && owned & devices == unassigned && self.owned[customer] == remaining
            }
            Operation::UnassignUnknown { customer } => self.customers & (1 << customer) == 0,
            Operation::Owners { owned } => owned == self.owned,
        };
        self.revision += u64::from(self != before);
        let is_at = event.revision.is_none_or(|revision| revision == self.revision);
        (is_answer && is_at).then_some(self)
    }
}

/// Whether some order of the events, all of them from `first` on, explains them: each answer is the one that the order gives, and
/// an event that ended before another one began comes first.
pub fn is_explained(events: &[Event], first: State) -> bool {
    assert!(events.len() <= 64, "a bit for each event");
    let all = u64::MAX >> (64 - events.len());
    let mut tried = HashSet::new();
    let mut open = vec![(0_u64, first)];
    while let Some((done, state)) = open.pop() {
        if done == all {
            return true;
        }
        let left = || (0..events.len()).filter(|at| done & (1 << at) == 0);
        // Whatever began after this time comes after the event that ended then.
        let first_end = left().map(|at| events[at].ended).min().unwrap_or_default();
        for at in left().filter(|at| events[*at].began <= first_end) {
            if let Some(after) = state.after(&events[at]) {
                let next = (done | 1 << at, after);
                if tried.insert(next) {
                    open.push(next);
                }
            }
        }
    }
    false
}

/// Histories with an anomaly each, which have no explanation, and one beside each that has.
pub fn planted() {
    const ANN: usize = 0;
    const BOB: usize = 1;
    let event = |began, ended, operation| Event {
        operation,
        began,
        ended,
        revision: None,
    };
    let assign = |customer, devices, assigned| Operation::Assign {
        customer,
        devices,
        created_customer: false,
        assigned,
    };
    let unassign = |customer, devices, unassigned, remaining| Operation::Unassign {
        customer,
        devices,
        unassigned,
        remaining,
    };
    let owners = |owned| Operation::Owners { owned };
    // Ann has device 0.
    let first = State {
        revision: 1,
        customers: 0b11,
        owned: [0b01, 0, 0],
    };

    // Both take the state before: the assignment finds that Ann has device 0, and the removal that she does not have device 1.
    let write_skew = [
        event(0, 10, assign(ANN, 0b11, 0b10)),
        event(0, 10, unassign(ANN, 0b11, 0b01, 0)),
    ];
    assert!(!is_explained(&write_skew, first), "a write skew");
    let one_after_the_other = [
        event(0, 10, assign(ANN, 0b11, 0b10)),
        event(0, 10, unassign(ANN, 0b11, 0b11, 0)),
    ];
    assert!(is_explained(&one_after_the_other, first));

    let stale_read = [
        event(0, 10, assign(BOB, 0b01, 0b01)),
        event(11, 20, owners(first.owned)),
    ];
    assert!(!is_explained(&stale_read, first), "a stale read");
    let read_meanwhile = [event(0, 10, assign(BOB, 0b01, 0b01)), event(9, 20, owners(first.owned))];
    assert!(is_explained(&read_meanwhile, first));

    let lost_removal = [
        event(0, 10, unassign(ANN, 0b01, 0b01, 0)),
        event(0, 30, assign(BOB, 0b10, 0b10)),
        event(11, 20, assign(ANN, 0b01, 0)),
    ];
    assert!(!is_explained(&lost_removal, first), "a lost removal");
    let removed = [
        event(0, 10, unassign(ANN, 0b01, 0b01, 0)),
        event(0, 30, assign(BOB, 0b10, 0b10)),
        event(11, 20, assign(ANN, 0b01, 0b01)),
    ];
    assert!(is_explained(&removed, first));

    // Two reads see two independent changes in different orders.
    let changes = [
        event(0, 40, assign(BOB, 0b01, 0b01)),
        event(0, 40, unassign(ANN, 0b01, 0b01, 0)),
    ];
    let [assigned, removed, both] = [[0b01, 0b01, 0], [0, 0, 0], [0, 0b01, 0]];
    let fork = [
        changes[0],
        changes[1],
        event(1, 9, owners(assigned)),
        event(10, 20, owners(removed)),
    ];
    assert!(!is_explained(&fork, first), "two reads that contradict each other");
    let in_turn = [
        changes[0],
        changes[1],
        event(1, 9, owners(assigned)),
        event(10, 20, owners(both)),
    ];
    assert!(is_explained(&in_turn, first));

    // A change that is answered with the revision of another one.
    let at = |revision, event| Event {
        revision: Some(revision),
        ..event
    };
    let [assigned, removed] = [
        event(0, 10, assign(BOB, 0b01, 0b01)),
        event(11, 20, unassign(ANN, 0b01, 0b01, 0)),
    ];
    assert!(is_explained(&[at(2, assigned), at(3, removed)], first));
    assert!(
        !is_explained(&[at(3, assigned), at(2, removed)], first),
        "revisions against the time"
    );
    assert!(!is_explained(&[at(2, assigned), at(4, removed)], first), "a gap");
}
