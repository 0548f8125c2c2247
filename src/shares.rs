//! Fair shares of a limited resource: connections, calls in flight, bytes.
//!
//! A holder may have no more than is left for all others. So one holder can take half, two can take two thirds together, and
//! there is always room for a new one (dynamic thresholds, Choudhury and Hahne, 1998). The number of holders need not be
//! known.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Debug,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

/// Who holds a share: a network until the API key is checked, then an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A client network, if it is known: an IPv4 address or an IPv6 /64 network.
    Network(Option<IpAddr>),
    /// The organization of the API key.
    Organization(Uuid),
}

/// A number of units, shared among holders. Clones share the same units.
#[derive(Debug)]
pub struct Shares<K> {
    max: usize,
    taken: Arc<Mutex<Taken<K>>>,
}

#[derive(Debug)]
struct Taken<K> {
    total: usize,
    /// Only holders with units, so its size is limited, too.
    by_holder: HashMap<K, usize>,
}

impl<K> Clone for Shares<K> {
    fn clone(&self) -> Self {
        Self {
            max: self.max,
            taken: Arc::clone(&self.taken),
        }
    }
}

impl<K: Copy + Eq + Hash + Debug> Shares<K> {
    /// `max` units; `usize::MAX` means no limit.
    pub fn new(max: usize) -> Self {
        let taken = Taken {
            total: 0,
            by_holder: HashMap::new(),
        };
        Self {
            max,
            taken: Arc::new(Mutex::new(taken)),
        }
    }

    /// Takes `units` for `holder`; `None` if there is no room for them.
    pub fn take(&self, holder: K, units: usize) -> Option<Share<K>> {
        let mut share = self.empty(holder);
        share.grow(units).then_some(share)
    }

    /// A share of `holder` with no units yet.
    pub fn empty(&self, holder: K) -> Share<K> {
        Share {
            shares: self.clone(),
            holder,
            units: 0,
        }
    }

    /// How many units are taken.
    pub fn total(&self) -> usize {
        self.taken().total
    }

    fn add(&self, holder: K, units: usize, is_limited: bool) -> bool {
        let mut taken = self.taken();
        let own = taken.by_holder.get(&holder).copied().unwrap_or_default();
        let total = taken.total.saturating_add(units);
        // The units of the holder and the units of all must fit together. Without other units, the limit alone counts.
        let needed = match taken.total {
            0 => units,
            _ => own.saturating_add(units).saturating_add(total),
        };
        if is_limited && needed > self.max {
            return false;
        }
        if units > 0 {
            taken.total = total;
            taken.by_holder.insert(holder, own.saturating_add(units));
        }
        true
    }

    fn remove(&self, holder: K, units: usize) {
        let mut taken = self.taken();
        taken.total = taken.total.saturating_sub(units);
        if let Entry::Occupied(mut own) = taken.by_holder.entry(holder) {
            let left = own.get().saturating_sub(units);
            if left == 0 {
                own.remove();
            } else {
                *own.get_mut() = left;
            }
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken<K>> {
        // Nothing panics while it holds the lock.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The units that a holder has taken. Dropping it returns them.
#[derive(Debug)]
pub struct Share<K: Copy + Eq + Hash + Debug> {
    shares: Shares<K>,
    holder: K,
    units: usize,
}

impl<K: Copy + Eq + Hash + Debug> Share<K> {
    /// Takes `more` units if there is room for all of them, and returns whether there was.
    pub fn grow(&mut self, more: usize) -> bool {
        let has_room = self.shares.add(self.holder, more, true);
        if has_room {
            self.units += more;
        }
        has_room
    }

    /// Changes the number of units if there is room, and returns whether there was.
    pub fn resize(&mut self, units: usize) -> bool {
        match self.units.checked_sub(units) {
            None => self.grow(units - self.units),
            Some(fewer) => {
                self.shares.remove(self.holder, fewer);
                self.units = units;
                true
            }
        }
    }

    /// Takes `more` units even without room, for what already exists and cannot be rejected.
    pub fn grow_unchecked(&mut self, more: usize) {
        self.shares.add(self.holder, more, false);
        self.units += more;
    }

    /// Takes at least so many units in all, even without room.
    pub fn cover(&mut self, units: usize) {
        self.grow_unchecked(units.saturating_sub(self.units));
    }

    /// Moves the units to another holder if there is room in its share.
    pub fn hand_over(self, holder: K) -> Option<Self> {
        // Returned first, so that they are not counted twice.
        let (shares, units) = (self.shares.clone(), self.units);
        drop(self);
        shares.take(holder, units)
    }
}

impl<K: Copy + Eq + Hash + Debug> Drop for Share<K> {
    fn drop(&mut self) {
        if self.units > 0 {
            self.shares.remove(self.holder, self.units);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_holder_alone_has_half_and_leaves_room_for_others() {
        let shares = Shares::new(8);
        let first: Vec<_> = (0..8).map_while(|_| shares.take("first", 1)).collect();
        assert_eq!(first.len(), 4);
        let second: Vec<_> = (0..8).map_while(|_| shares.take("second", 1)).collect();
        assert_eq!(second.len(), 2);
        assert!(shares.take("third", 1).is_some());
        drop(second);
        assert_eq!(shares.total(), 4);
    }

    #[test]
    fn one_unit_fits_if_nothing_is_taken() {
        assert!(Shares::new(1).take((), 1).is_some());
        assert!(Shares::new(0).take((), 1).is_none());
        assert!(Shares::new(usize::MAX).take((), 1 << 40).is_some());
    }

    #[test]
    fn units_change_hands() {
        let shares = Shares::new(4);
        let share = shares.take("stranger", 2).expect("room");
        let share = share.hand_over("known").expect("room");
        assert!(shares.take("stranger", 1).is_some());
        assert!(shares.take("known", 1).is_none());
        drop(share);
        assert_eq!(shares.total(), 0);
    }

    #[test]
    fn a_share_gets_another_size() {
        let shares = Shares::new(10);
        let mut share = shares.take("one", 4).expect("room");
        let other = shares.take("other", 3).expect("room");
        assert!(!share.resize(6), "there is no room for two more");
        assert!(share.resize(1));
        assert_eq!(shares.total(), 4);
        drop(other);
        assert!(share.resize(5));
        drop(share);
        assert_eq!(shares.total(), 0);
    }

    #[test]
    fn units_taken_without_room_leave_less_room() {
        let shares = Shares::new(10);
        let mut share = shares.empty("one");
        share.grow_unchecked(20);
        assert!(shares.take("other", 1).is_none());
        drop(share);
        assert!(shares.take("other", 1).is_some());
    }

    proptest! {
        /// Against a model that adds up the held units.
        #[test]
        fn units_are_never_lost(
            max in 1_usize..60,
            steps in proptest::collection::vec((0_u8..4, 1_usize..9, any::<bool>()), 0..120),
        ) {
            let shares = Shares::new(max);
            let mut held: Vec<(u8, usize, Share<u8>)> = Vec::new();
            for (holder, units, takes) in steps {
                if takes {
                    let own: usize = held.iter().filter(|held| held.0 == holder).map(|held| held.1).sum();
                    let total: usize = held.iter().map(|held| held.1).sum();
                    let share = shares.take(holder, units);
                    let fits = if total == 0 { units <= max } else { own + total + 2 * units <= max };
                    prop_assert_eq!(share.is_some(), fits);
                    prop_assert!(shares.total() <= max);
                    held.extend(share.map(|share| (holder, units, share)));
                } else if !held.is_empty() {
                    held.remove(units % held.len());
                }
                prop_assert_eq!(shares.total(), held.iter().map(|held| held.1).sum::<usize>());
            }
            held.clear();
            prop_assert!(shares.taken().by_holder.is_empty());
        }
    }
}
