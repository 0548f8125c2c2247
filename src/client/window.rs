//! Rows that have been read and wait for a call, in groups that fit in one call.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::rows::{GroupKey, Row};

/// The most that waits, in bytes.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// About what a row takes besides its text.
const ROW: usize = 64;
/// The most identifiers of a call, unless the service is set to another limit.
const MAX_ROWS_OF_GROUP: usize = 10_000;
/// The most text of a call, in bytes: a quarter of the service's default limit.
const MAX_BYTES_OF_GROUP: usize = 2 * 1024 * 1024;

/// The identifiers for one call, each with its line.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) key: Arc<GroupKey>,
    pub(super) rows: Vec<(u64, String)>,
    bytes: usize,
}

/// Rows that wait, by what they have in common; the group that has waited longest is first.
#[derive(Debug, Default)]
pub(super) struct Window {
    groups: VecDeque<Group>,
    /// How many groups have been taken out: the number of the first one.
    first: usize,
    /// The number of the group that takes further rows of a key.
    open: HashMap<Arc<GroupKey>, usize>,
    bytes: usize,
}

impl Window {
    pub(super) fn push(&mut self, row: Row) {
        let bytes = row.identifier.len() + ROW;
        self.bytes += bytes;
        let entry = (row.line, row.identifier);
        let open = self
            .open
            .get(&row.key)
            .and_then(|number| number.checked_sub(self.first));
        if let Some(group) = open.and_then(|index| self.groups.get_mut(index)) {
            group.rows.push(entry);
            group.bytes += bytes;
            if group.rows.len() >= MAX_ROWS_OF_GROUP || group.bytes >= MAX_BYTES_OF_GROUP {
                self.open.remove(&row.key);
            }
            return;
        }
        let key = Arc::new(row.key);
        let bytes_of_key = key.customer.len() + key.device_type.as_ref().map_or(0, String::len) + 4 * ROW;
        self.bytes += bytes_of_key;
        self.open.insert(Arc::clone(&key), self.first + self.groups.len());
        self.groups.push_back(Group {
            key,
            rows: vec![entry],
            bytes: bytes + bytes_of_key,
        });
    }

    /// Takes out the group that has waited longest.
    pub(super) fn pop(&mut self) -> Option<Group> {
        let group = self.groups.pop_front()?;
        if self.open.get(&group.key) == Some(&self.first) {
            self.open.remove(&group.key);
        }
        self.first += 1;
        self.bytes -= group.bytes;
        Some(group)
    }

    /// Whether no row waits.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether no more rows should be read for now.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: u64, customer: &str, identifier: &str) -> Row {
        Row {
            line,
            key: GroupKey {
                customer: customer.into(),
                device_type: None,
            },
            identifier: identifier.into(),
        }
    }

    fn drain(window: &mut Window) -> Vec<(String, usize)> {
        std::iter::from_fn(|| window.pop())
            .map(|group| (group.key.customer.clone(), group.rows.len()))
            .collect()
    }

    #[test]
    fn rows_of_one_customer_find_each_other() {
        let mut window = Window::default();
        for line in 0..30 {
            let customer = ["ann", "bob", "eve"][usize::try_from(line % 3).expect("small")];
            window.push(row(line, customer, "SN-1"));
        }
        let first = window.pop().expect("a group");
        let lines: Vec<u64> = first.rows.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [0, 3, 6, 9, 12, 15, 18, 21, 24, 27]);
        // What comes after a group was taken waits behind the others.
        window.push(row(30, "ann", "SN-2"));
        let rest = [("bob", 10), ("eve", 10), ("ann", 1)].map(|(customer, count)| (customer.to_owned(), count));
        assert_eq!(drain(&mut window), rest);
        assert_eq!(window.bytes, 0);
        assert!(window.open.is_empty());
    }

    #[test]
    fn a_call_and_the_window_are_bounded() {
        let mut window = Window::default();
        for line in 0..25_000 {
            window.push(row(line, "ann", "SN-1"));
        }
        let counts = [10_000, 10_000, 5_000].map(|count| ("ann".to_owned(), count));
        assert_eq!(drain(&mut window), counts);

        let long = "x".repeat(60_000);
        let mut pushed = 0;
        while !window.is_full() {
            window.push(row(pushed, "ann", &long));
            pushed += 1;
        }
        assert!(pushed < 300, "{pushed}");
        assert!(drain(&mut window).iter().all(|(_, count)| *count <= 35));
        assert_eq!(window.bytes, 0);
    }
}
