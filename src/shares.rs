//! Bounded things of which every holder may have a fair share: connections, calls in flight, bytes.
//!
//! A holder may have no more than is left for all others. So one holder alone can take half, two can take two thirds
//! together, and somebody new always finds room (dynamic thresholds, Choudhury and Hahne, 1998). Nobody has to know how many
//! holders there will be.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Debug,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use uuid::Uuid;

/// Who holds something: an address until it is known who calls, and then an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Whoever asks from this network, if it is known: an IPv4 address, or a /64 network of IPv6.
    Network(Option<IpAddr>),
    /// Whoever has a key of this organization.
    Organization(Uuid),
}

/// So many units, shared among holders. Clones share the same units.
#[derive(Debug)]
pub struct Shares<K> {
    max: usize,
    taken: Arc<Mutex<Taken<K>>>,
}

#[derive(Debug)]
struct Taken<K> {
    total: usize,
    /// Only holders that have something: so this is bounded, too.
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
    /// `max` units; `usize::MAX` is no limit.
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

    /// Takes `units` for `holder`; `None` when its share has no room for them.
    pub fn take(&self, holder: K, units: usize) -> Option<Share<K>> {
        let mut share = self.nothing(holder);
        share.grow(units).then_some(share)
    }

    /// A share of `holder` without units yet.
    pub fn nothing(&self, holder: K) -> Share<K> {
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

    fn add(&self, holder: K, units: usize, is_bound: bool) -> bool {
        let mut taken = self.taken();
        let own = taken.by_holder.get(&holder).copied().unwrap_or_default();
        let total = taken.total.saturating_add(units);
        // What the holder would have, and what all would have, must fit together. Alone, anything up to the bound does.
        let needed = match taken.total {
            0 => units,
            _ => own.saturating_add(units).saturating_add(total),
        };
        if is_bound && needed > self.max {
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

/// The units that a holder has taken, until this is dropped.
#[derive(Debug)]
pub struct Share<K: Copy + Eq + Hash + Debug> {
    shares: Shares<K>,
    holder: K,
    units: usize,
}

impl<K: Copy + Eq + Hash + Debug> Share<K> {
    /// Takes `more` units, all or none, and says whether there was room for them.
    pub fn grow(&mut self, more: usize) -> bool {
        let has_room = self.shares.add(self.holder, more, true);
        if has_room {
            self.units += more;
        }
        has_room
    }

    /// Has `units` from now on, if there is room for those that are more, and says whether there was.
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

    /// Takes `more` units whether or not there is room: for what exists already and cannot be refused. It leaves less room
    /// for what comes next.
    pub fn grow_unchecked(&mut self, more: usize) {
        self.shares.add(self.holder, more, false);
        self.units += more;
    }

    /// Gives the units to another holder, if there is room for them in its share.
    pub fn hand_over(self, holder: K) -> Option<Self> {
        // First given back: else both shares would have to have room.
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
    fn one_unit_always_fits_into_nothing() {
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
    fn what_cannot_be_refused_leaves_less_room() {
        let shares = Shares::new(10);
        let mut share = shares.nothing("one");
        share.grow_unchecked(20);
        assert!(shares.take("other", 1).is_none());
        drop(share);
        assert!(shares.take("other", 1).is_some());
    }

    proptest! {
        /// Against a model that adds up what is held.
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
