//! Look-ups of owners that wait for their turn share statements: one statement takes the oldest look-ups of one organization, up to
//! 100 devices. A statement costs more than one more device in it. No look-up waits for others to arrive.
//!
//! While look-ups of an organization wait, one task waits for a turn to carry them out, so each organization has one place in the
//! queue for turns.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    iter,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;
use tracing::Span;

use super::{DatabaseError, ReadAt};
use crate::{
    domain::{
        Error,
        device::DeviceIdentifier,
        device_owners::{MAX_DEVICES_WITH_ALL_OWNERS, OwnedDevice},
        id::OrganizationId,
    },
    telemetry::trace::{self, Wait},
};

/// The devices of a look-up.
pub(super) type Devices = Arc<[DeviceIdentifier]>;

/// What exists of them, in their order; `None` for one that does not exist.
pub(super) type FoundDevices = ReadAt<Vec<Option<OwnedDevice>>>;

/// Look-ups that wait for their turn. An organization is here as long as a task waits to carry out its look-ups.
#[derive(Debug, Default)]
pub(super) struct SharedLookUps(Mutex<HashMap<OrganizationId, VecDeque<LookUp>>>);

#[derive(Debug)]
struct LookUp {
    devices: Devices,
    answer: oneshot::Sender<Result<FoundDevices, Error>>,
    wait: Wait,
}

/// The look-up of a caller. Dropping it withdraws it.
#[derive(Debug)]
pub(super) struct WaitingLookUp<'l> {
    look_ups: &'l SharedLookUps,
    organization: OrganizationId,
    answer: oneshot::Receiver<Result<FoundDevices, Error>>,
    /// Whether a task must be started that takes it.
    pub(super) is_first: bool,
}

/// What a task takes at its turn.
#[derive(Debug)]
pub(super) struct Taken {
    /// What it carries out. Without look-ups, all callers have left.
    pub(super) look_ups: TakenLookUps,
    /// Whether others still wait, so that another task must be started.
    pub(super) has_more: bool,
}

/// Look-ups that are carried out by one statement.
#[derive(Debug)]
pub(super) struct TakenLookUps {
    /// The devices of each look-up.
    pub(super) devices: Arc<[Devices]>,
    /// The caller of each look-up.
    callers: Vec<oneshot::Sender<Result<FoundDevices, Error>>>,
    waited: Vec<Wait>,
}

impl SharedLookUps {
    /// Adds a look-up of at most [`MAX_DEVICES_WITH_ALL_OWNERS`] devices.
    pub(super) fn add(&self, organization: OrganizationId, devices: Devices) -> WaitingLookUp<'_> {
        let (sender, answer) = oneshot::channel();
        let look_up = LookUp {
            devices,
            answer: sender,
            wait: Wait::begin("look_ups"),
        };
        let mut waiting = self.waiting();
        let entry = waiting.entry(organization);
        let is_first = matches!(entry, Entry::Vacant(_));
        entry.or_default().push_back(look_up);
        WaitingLookUp {
            look_ups: self,
            organization,
            answer,
            is_first,
        }
    }

    /// Takes the look-ups of an organization, the oldest first, as many as may share a statement.
    pub(super) fn take(&self, organization: OrganizationId) -> Taken {
        let mut waiting = self.waiting();
        let mut queue = waiting.remove(&organization).unwrap_or_default();
        let mut room = MAX_DEVICES_WITH_ALL_OWNERS;
        let oldest = iter::from_fn(|| {
            let next = queue.pop_front_if(|next| next.devices.len() <= room)?;
            room -= next.devices.len();
            Some(next)
        });
        let (mut devices, mut callers, mut waited) = (Vec::new(), Vec::new(), Vec::new());
        for mut look_up in oldest {
            look_up.wait.end();
            devices.push(look_up.devices);
            callers.push(look_up.answer);
            waited.push(look_up.wait);
        }
        let has_more = !queue.is_empty();
        if has_more {
            waiting.insert(organization, queue);
        }
        Taken {
            look_ups: TakenLookUps {
                devices: devices.into(),
                callers,
                waited,
            },
            has_more,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<OrganizationId, VecDeque<LookUp>>> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitingLookUp<'_> {
    /// Waits until a statement has carried it out.
    pub(super) async fn answered(&mut self) -> Result<FoundDevices, Error> {
        let answer = (&mut self.answer).await;
        answer.unwrap_or_else(|_| Err(DatabaseError::Panicked.into()))
    }
}

impl Drop for WaitingLookUp<'_> {
    fn drop(&mut self) {
        if self.answer.is_terminated() {
            return;
        }
        self.answer.close();
        if let Some(queue) = self.look_ups.waiting().get_mut(&self.organization) {
            queue.retain(|look_up| !look_up.answer.is_closed());
        }
    }
}

impl TakenLookUps {
    /// The span of the statement: a child of the first traced call, with links to the others.
    pub(super) fn span(&self) -> Span {
        let devices = self.devices.iter().map(|devices| devices.len()).sum();
        trace::batch(self.waited.iter(), self.callers.len(), devices)
    }

    /// Gives each caller its part of what was found.
    pub(super) fn answer(self, found: Result<FoundDevices, Error>) {
        let mut rest = match found {
            Ok(ReadAt { value, revision }) => Ok((value.into_iter(), revision)),
            Err(error) => Err(error),
        };
        for (devices, caller) in self.devices.iter().zip(self.callers) {
            let own = match &mut rest {
                Ok((found, revision)) => Ok(ReadAt {
                    value: found.take(devices.len()).collect(),
                    revision: *revision,
                }),
                Err(error) => Err(error.clone()),
            };
            // The caller may have left.
            let _ = caller.send(own);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::domain::change::Revision;

    fn organization(number: u128) -> OrganizationId {
        OrganizationId::from_uuid(Uuid::from_u128(number))
    }

    fn devices(names: impl IntoIterator<Item = String>) -> Devices {
        let names = names.into_iter();
        names
            .map(|name| DeviceIdentifier::parse(&name).expect("valid"))
            .collect()
    }

    /// What a statement finds of these devices: each has its name as its type.
    fn find(taken: &TakenLookUps) -> FoundDevices {
        let device = |identifier: &DeviceIdentifier| OwnedDevice {
            id: Uuid::nil().into(),
            device_type: identifier.as_str().to_owned(),
            owners: Vec::new(),
            has_more_owners: false,
        };
        ReadAt {
            value: taken
                .devices
                .iter()
                .flat_map(|devices| devices.iter().map(device).map(Some))
                .collect(),
            revision: Revision::default(),
        }
    }

    async fn names(mut waiting: WaitingLookUp<'_>) -> Vec<String> {
        let found = waiting.answered().await.expect("found").value.into_iter();
        found.map(|device| device.expect("a device").device_type).collect()
    }

    /// When a caller leaves.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Leaves {
        Never,
        WhileItWaits,
        WhenItIsTaken,
    }

    fn callers() -> impl Strategy<Value = Vec<(usize, Leaves)>> {
        let leaves = prop_oneof![
            Just(Leaves::Never),
            Just(Leaves::WhileItWaits),
            Just(Leaves::WhenItIsTaken)
        ];
        prop::collection::vec((1..=MAX_DEVICES_WITH_ALL_OWNERS, leaves), 1..20)
    }

    proptest! {
        #[test]
        fn every_caller_gets_its_own_devices(callers in callers()) {
            let look_ups = SharedLookUps::default();
            let mut waiting = Vec::new();
            for (caller, (count, leaves)) in callers.into_iter().enumerate() {
                let names: Vec<_> = (0..count).map(|number| format!("{caller}-{number}")).collect();
                let look_up = look_ups.add(organization(1), devices(names.clone()));
                prop_assert_eq!(look_up.is_first, caller == 0);
                if leaves != Leaves::WhileItWaits {
                    waiting.push((look_up, names, leaves));
                }
            }
            let mut has_more = true;
            let mut is_empty = waiting.is_empty();
            while has_more {
                let turn = look_ups.take(organization(1));
                has_more = turn.has_more;
                let found = find(&turn.look_ups);
                prop_assert!(found.value.len() <= MAX_DEVICES_WITH_ALL_OWNERS);
                prop_assert_eq!(found.value.is_empty(), is_empty);
                is_empty = false;
                waiting.retain(|(_, _, leaves)| *leaves != Leaves::WhenItIsTaken || has_more);
                turn.look_ups.answer(Ok(found));
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            for (look_up, expected, _) in waiting {
                prop_assert_eq!(runtime.block_on(names(look_up)), expected);
            }
            prop_assert!(look_ups.waiting().is_empty());
        }
    }

    #[tokio::test]
    async fn organizations_share_nothing_but_an_error_is_of_all() {
        let look_ups = SharedLookUps::default();
        let mut same = [1, 1].map(|number| look_ups.add(organization(number), devices(["SN-1".to_owned()])));
        let other = look_ups.add(organization(2), devices(["SN-2".to_owned()]));
        let taken = look_ups.take(organization(1)).look_ups;
        assert_eq!(taken.devices.len(), 2);
        taken.answer(Err(Error::ShuttingDown));
        for look_up in &mut same {
            assert!(matches!(look_up.answered().await, Err(Error::ShuttingDown)));
        }
        let taken = look_ups.take(organization(2)).look_ups;
        let found = find(&taken);
        taken.answer(Ok(found));
        assert_eq!(names(other).await, ["SN-2"]);
    }

    #[tokio::test]
    async fn a_statement_that_panics_is_an_error_of_its_callers() {
        let look_ups = SharedLookUps::default();
        let mut waiting = look_ups.add(organization(1), devices(["SN-1".to_owned()]));
        drop(look_ups.take(organization(1)));
        assert!(waiting.answered().await.is_err());
    }
}
