//! Keeps the rows of one device in the order of the list, although calls are sent side by side.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
};

use super::rows::Row;

/// The most devices that a run remembers: about 10 MiB.
pub(super) const MAX_DEVICES: usize = 250_000;

/// The devices of the calls that may still run, each with the customer of its rows, as hashes. An equal hash of other devices is
/// taken for the same device: that only makes a row wait.
#[derive(Debug)]
pub(super) struct DeviceOrder {
    customers: HashMap<u64, u64>,
    hasher: RandomState,
    max: usize,
}

impl DeviceOrder {
    /// Remembers up to `max` devices. The row of one more waits for the rows before it.
    pub(super) fn new(max: usize) -> Self {
        Self {
            customers: HashMap::new(),
            hasher: RandomState::new(),
            max,
        }
    }

    /// Whether a row can be sent beside the rows before it. If not, because they may name its device for another customer, it must
    /// wait until their calls are done; call [`restart`](Self::restart) then.
    pub(super) fn allows(&mut self, row: &Row) -> bool {
        let customer = self.hasher.hash_one(&row.key);
        let is_full = self.customers.len() >= self.max;
        match self.customers.entry(self.hasher.hash_one(&row.identifier)) {
            Entry::Occupied(entry) => *entry.get() == customer,
            Entry::Vacant(_) if is_full => false,
            Entry::Vacant(entry) => {
                entry.insert(customer);
                true
            }
        }
    }

    /// Forgets all devices: no call runs, and no row waits for one.
    pub(super) fn restart(&mut self) {
        self.customers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{super::rows::GroupKey, *};

    fn row(customer: &str, identifier: &str) -> Row {
        Row {
            line: 1,
            key: GroupKey {
                customer: customer.into(),
                device_type: None,
            },
            identifier: identifier.into(),
        }
    }

    #[test]
    fn a_device_waits_for_its_rows_of_other_customers() {
        let mut order = DeviceOrder::new(10);
        assert!(order.allows(&row("ann", "SN-1")));
        assert!(order.allows(&row("ann", "SN-1")), "the same again");
        assert!(order.allows(&row("bob", "SN-2")));
        assert!(!order.allows(&row("bob", "SN-1")));
        assert!(!order.allows(&row("bob", "SN-1")), "still");
        order.restart();
        assert!(order.allows(&row("bob", "SN-1")));
        assert!(!order.allows(&row("ann", "SN-1")));
    }

    #[test]
    fn it_is_bounded() {
        let mut order = DeviceOrder::new(2);
        let allowed = ["SN-1", "SN-2", "SN-3", "SN-1"].map(|identifier| order.allows(&row("ann", identifier)));
        assert_eq!(allowed, [true, true, false, true], "a known device needs no room");
        order.restart();
        assert!(order.allows(&row("ann", "SN-3")));
    }
}
