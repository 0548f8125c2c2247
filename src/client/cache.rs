//! A copy of who owns which device, in memory, that follows the changes of an organization.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinSet};

use super::{ChangeFollower, ClientError, FollowError, Followed, Position, Target};
use crate::pb::Change;

/// The owners of a device: the ids of customers, in the order in which they became owners.
pub type Owners = Arc<[Arc<str>]>;

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
/// A device takes about 200 bytes and its identifier, and 16 bytes for each owner; a customer takes about 100 bytes. Dropping the
/// last clone ends the cache.
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
    devices: HashMap<Box<str>, Device>,
    /// The ids of devices by their identifiers.
    identifiers: HashMap<Box<str>, Box<str>>,
    /// The ids of customers, each once.
    customers: HashMap<Arc<str>, ()>,
    position: Position,
    up_to_date_at: Option<Instant>,
    /// Why the cache cannot go on.
    failure: Option<String>,
}

#[derive(Debug)]
struct Device {
    identifier: Option<Box<str>>,
    owners: Owners,
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
        let state = self.shared.read();
        let id = state.identifiers.get(identifier)?;
        state.devices.get(id).map(|device| Arc::clone(&device.owners))
    }

    /// How many devices there are.
    pub fn devices(&self) -> usize {
        self.shared.read().identifiers.len()
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
            self.device(&id);
        }
        for named in change.devices {
            self.device(&named.device_id);
            let replaced = self
                .devices
                .get_mut(&*named.device_id)
                .and_then(|device| device.identifier.replace(named.identifier.clone().into()));
            if let Some(replaced) = replaced {
                self.identifiers.remove(&replaced);
            }
            self.identifiers.insert(named.identifier.into(), named.device_id.into());
        }
        for group in change.unassigned {
            for id in &group.device_ids {
                if let Some(device) = self.devices.get_mut(&**id) {
                    let others = device.owners.iter().filter(|owner| ***owner != *group.customer_id);
                    device.owners = others.cloned().collect();
                }
            }
        }
        for group in change.assigned {
            let customer = self.customer(&group.customer_id);
            for id in &group.device_ids {
                let device = self.device(id);
                if !device.owners.contains(&customer) {
                    let owners = device.owners.iter().cloned().chain([Arc::clone(&customer)]);
                    device.owners = owners.collect();
                }
            }
        }
        for id in change.devices_deleted {
            if let Some(identifier) = self.devices.remove(&*id).and_then(|device| device.identifier)
                && self.identifiers.get(&identifier).is_some_and(|known| **known == *id)
            {
                self.identifiers.remove(&identifier);
            }
        }
        for id in change.customers_deleted {
            self.customers.remove(&*id);
        }
    }

    fn device(&mut self, id: &str) -> &mut Device {
        self.devices.entry(id.into()).or_insert_with(|| Device {
            identifier: None,
            owners: Arc::default(),
        })
    }

    /// The id of a customer, which all its devices share.
    fn customer(&mut self, id: &str) -> Arc<str> {
        if let Some((known, ())) = self.customers.get_key_value(id) {
            return Arc::clone(known);
        }
        let new = Arc::<str>::from(id);
        self.customers.insert(Arc::clone(&new), ());
        new
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
        let id = state.identifiers.get(identifier)?;
        let device = state.devices.get(id)?;
        Some(device.owners.iter().map(|owner| owner.to_string()).collect())
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
        assert!(state.devices.is_empty() && state.identifiers.is_empty());
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
