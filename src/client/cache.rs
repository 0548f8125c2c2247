//! A copy of who owns which device, in memory, that follows the changes of an organization.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet};

use super::{
    ChangeFollower, ClientError, FollowError, Followed, Position, Target,
    devices::{Devices, Owners},
};
use crate::pb::Change;

/// How far a cache is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// The history and the revision that the answers are of.
    pub position: Position,
    /// Whether the cache has ever had all changes. Until then, answers are incomplete.
    pub is_filled: bool,
    /// How long ago the cache last had all changes; `None` if it never had.
    pub age: Option<Duration>,
}

/// Answers from memory who owns a device. It fills itself from the first change on, follows further changes, goes on by itself
/// when the service is restarted, and fills itself again when the database has got another history.
///
/// A device with a short identifier and one owner takes less than 400 bytes (`cargo bench --bench load -- --only cache`), and each
/// further owner 16 bytes. Dropping the last clone ends the cache.
#[derive(Debug, Clone)]
pub struct OwnershipCache {
    shared: Arc<Shared>,
    filled: watch::Receiver<bool>,
    /// The task that follows the changes.
    _following: Arc<JoinSet<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    devices: Devices,
    /// The ids of customers, each with the list of that customer alone, which all its devices share.
    customers: HashMap<Arc<str>, Owners>,
    position: Position,
    up_to_date_at: Option<Instant>,
    /// Why the cache cannot go on.
    failure: Option<String>,
}

impl OwnershipCache {
    /// Begins to follow the changes of the organization of a key.
    ///
    /// # Errors
    /// When the URL, the certificates or the key are not valid.
    pub fn start(target: &Target) -> Result<Self, ClientError> {
        let follow = |target: &Target| ChangeFollower::new(target, Position::default(), true);
        let mut follower = follow(target)?;
        let shared = Arc::<Shared>::default();
        let (is_filled, filled) = watch::channel(false);
        let mut following = JoinSet::new();
        following.spawn({
            let (shared, target) = (Arc::clone(&shared), target.clone());
            async move {
                loop {
                    match follower.next().await {
                        Ok(followed) => {
                            if shared.apply(followed, follower.position()) {
                                is_filled.send_replace(true);
                            }
                        }
                        Err(FollowError::Expired(_) | FollowError::OutOfOrder { .. }) => {
                            let Ok(again) = follow(&target) else { return };
                            follower = again;
                            shared.refill();
                        }
                        Err(FollowError::Rejected(problem)) => {
                            shared.write(|state| state.failure = Some(problem));
                            return;
                        }
                    }
                }
            }
        });
        Ok(Self {
            shared,
            filled,
            _following: Arc::new(following),
        })
    }

    /// Waits until the cache has all changes for the first time.
    ///
    /// # Errors
    /// When the service rejects the key, as a sentence.
    pub async fn filled(&self) -> Result<(), String> {
        let mut filled = self.filled.clone();
        if filled.wait_for(|filled| *filled).await.is_ok() {
            return Ok(());
        }
        let failure = self.shared.read().failure.clone();
        Err(failure.unwrap_or_else(|| "the cache has ended".to_owned()))
    }

    /// The owners of the device with this identifier; `None` if it does not exist.
    pub fn owners(&self, identifier: &str) -> Option<Owners> {
        self.shared.read().devices.owners(identifier).map(Arc::clone)
    }

    /// How many devices there are.
    pub fn devices(&self) -> usize {
        self.shared.read().devices.count()
    }

    /// How far the cache is.
    pub fn freshness(&self) -> Freshness {
        let state = self.shared.read();
        Freshness {
            position: state.position.clone(),
            is_filled: *self.filled.borrow(),
            age: state.up_to_date_at.map(|at| at.elapsed()),
        }
    }
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<T>(&self, write: impl FnOnce(&mut State) -> T) -> T {
        write(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Applies what was received, and returns whether all changes are known now.
    fn apply(&self, followed: Followed, position: &Position) -> bool {
        self.write(|state| {
            let is_up_to_date = match followed {
                Followed::Changes { changes, head } => {
                    changes.into_iter().for_each(|change| state.apply(change));
                    position.revision >= head
                }
                Followed::UpToDate => true,
                Followed::Interrupted(_) => return false,
            };
            state.position.clone_from(position);
            if is_up_to_date {
                state.up_to_date_at = Some(Instant::now());
            }
            is_up_to_date
        })
    }

    /// Forgets everything.
    fn refill(&self) {
        self.write(|state| *state = State::default());
    }
}

impl State {
    /// Applies a change as set operations: what is there already, or is not there, does not matter.
    fn apply(&mut self, change: Change) {
        for id in change.devices_created {
            self.devices.entry(&id);
        }
        for named in change.devices {
            self.devices.name(&named.device_id, named.identifier);
        }
        for group in change.unassigned {
            for id in &group.device_ids {
                let Some(owners) = self.devices.owners_of(id) else {
                    continue;
                };
                if owners.iter().any(|owner| **owner == *group.customer_id) {
                    let others = owners.iter().filter(|owner| ***owner != *group.customer_id);
                    let others: Vec<_> = others.cloned().collect();
                    *owners = list(&self.customers, &others);
                }
            }
        }
        for group in change.assigned {
            let customer = self.customer(&group.customer_id);
            for id in &group.device_ids {
                let owners = self.devices.entry(id);
                if !owners.contains(&customer) {
                    let owned: Vec<_> = owners.iter().cloned().chain([Arc::clone(&customer)]).collect();
                    *owners = list(&self.customers, &owned);
                }
            }
        }
        for id in change.devices_deleted {
            self.devices.remove(&id);
        }
        for id in change.customers_deleted {
            self.customers.remove(&*id);
        }
    }

    /// The id of a customer, which all its devices share.
    fn customer(&mut self, id: &str) -> Arc<str> {
        if let Some((known, _)) = self.customers.get_key_value(id) {
            return Arc::clone(known);
        }
        let new = Arc::<str>::from(id);
        self.customers.insert(Arc::clone(&new), Arc::from([Arc::clone(&new)]));
        new
    }
}

/// A list of owners. Most devices have one: they share the list of that customer.
fn list(customers: &HashMap<Arc<str>, Owners>, owners: &[Arc<str>]) -> Owners {
    match owners {
        [only] => customers.get(only).map_or_else(|| owners.into(), Arc::clone),
        _ => owners.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::{CustomerDevices, DeviceName};

    fn of(customer: &str, devices: &[&str]) -> Vec<CustomerDevices> {
        vec![CustomerDevices {
            customer_id: customer.to_owned(),
            device_ids: devices.iter().map(|device| (*device).to_owned()).collect(),
        }]
    }

    fn named(device: &str, identifier: &str) -> Vec<DeviceName> {
        vec![DeviceName {
            device_id: device.to_owned(),
            identifier: identifier.to_owned(),
        }]
    }

    fn owners(state: &State, identifier: &str) -> Option<Vec<String>> {
        let owners = state.devices.owners(identifier)?;
        Some(owners.iter().map(|owner| owner.to_string()).collect())
    }

    #[test]
    fn changes_are_set_operations() {
        let mut state = State::default();
        let created = Change {
            devices_created: vec!["d1".into()],
            devices: named("d1", "SN-1"),
            assigned: of("ann", &["d1"]),
            ..Change::default()
        };
        for _ in 0..2 {
            state.apply(created.clone());
            assert_eq!(owners(&state, "SN-1"), Some(vec!["ann".to_owned()]));
        }
        state.apply(Change {
            assigned: of("bob", &["d1"]),
            devices: named("d1", "SN-1"),
            ..Change::default()
        });
        assert_eq!(owners(&state, "SN-1").map(|owners| owners.len()), Some(2));
        let removed = Change {
            unassigned: of("ann", &["d1", "d2"]),
            ..Change::default()
        };
        for _ in 0..2 {
            state.apply(removed.clone());
            assert_eq!(owners(&state, "SN-1"), Some(vec!["bob".to_owned()]));
        }
        assert_eq!(owners(&state, "SN-2"), None);
        // A transfer removes one owner and adds another.
        state.apply(Change {
            unassigned: of("bob", &["d1"]),
            assigned: of("eve", &["d1"]),
            ..Change::default()
        });
        assert_eq!(owners(&state, "SN-1"), Some(vec!["eve".to_owned()]));
        state.apply(Change {
            devices_deleted: vec!["d1".into()],
            ..Change::default()
        });
        assert_eq!(owners(&state, "SN-1"), None);
        assert_eq!(state.devices.count(), 0);
    }

    #[test]
    fn devices_of_the_same_owner_share_its_list() {
        let mut state = State::default();
        for device in ["d1", "d2"] {
            state.apply(Change {
                assigned: of("ann", &[device]),
                devices: named(device, device),
                ..Change::default()
            });
        }
        let [first, second] = ["d1", "d2"].map(|device| state.devices.owners(device).map(Arc::as_ptr));
        assert_eq!(first, second);
        // Also after the other owners are gone.
        state.apply(Change {
            assigned: of("bob", &["d2"]),
            ..Change::default()
        });
        assert_ne!(first, state.devices.owners("d2").map(Arc::as_ptr));
        state.apply(Change {
            unassigned: of("bob", &["d2"]),
            ..Change::default()
        });
        assert_eq!(first, state.devices.owners("d2").map(Arc::as_ptr));
    }

    #[test]
    fn an_identifier_can_belong_to_another_device_later() {
        let mut state = State::default();
        for (device, deleted) in [("d1", "d1"), ("d2", "d9")] {
            state.apply(Change {
                devices_created: vec![device.into()],
                devices: named(device, "SN-1"),
                assigned: of(device, &[device]),
                ..Change::default()
            });
            state.apply(Change {
                devices_deleted: vec![deleted.into()],
                ..Change::default()
            });
        }
        assert_eq!(owners(&state, "SN-1"), Some(vec!["d2".to_owned()]));
    }
}
