//! Look-ups of owners that wait for their turn at the same time share a statement, if they are of one organization. A statement costs
//! more than finding a device in it, and no look-up waits for another to come.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    iter,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use super::{DatabaseError, ReadAt};
use crate::domain::{
    Error,
    device::DeviceIdentifier,
    device_owners::{MAX_DEVICES_WITH_ALL_OWNERS, OwnedDevice},
    id::OrganizationId,
};

/// The devices of a look-up.
pub(super) type Devices = Arc<[DeviceIdentifier]>;

/// What exists of them, in their order; `None` for one that does not exist.
pub(super) type FoundDevices = ReadAt<Vec<Option<OwnedDevice>>>;

/// Look-ups that wait for their turn.
#[derive(Debug, Default)]
pub(super) struct SharedLookUps(Mutex<HashMap<OrganizationId, VecDeque<LookUp>>>);

#[derive(Debug)]
struct LookUp {
    devices: Devices,
    answer: oneshot::Sender<Result<FoundDevices, Error>>,
}

/// A look-up of a caller, until that leaves.
#[derive(Debug)]
pub(super) struct WaitingLookUp<'l> {
    look_ups: &'l SharedLookUps,
    organization: OrganizationId,
    answer: oneshot::Receiver<Result<FoundDevices, Error>>,
}

/// Look-ups that are carried out by one statement.
#[derive(Debug)]
pub(super) struct TakenLookUps {
    /// The devices of each look-up.
    pub(super) devices: Arc<[Devices]>,
    /// Who waits for each.
    callers: Vec<oneshot::Sender<Result<FoundDevices, Error>>>,
}

impl SharedLookUps {
    /// Adds a look-up of at most [`MAX_DEVICES_WITH_ALL_OWNERS`] devices.
    pub(super) fn add(&self, organization: OrganizationId, devices: Devices) -> WaitingLookUp<'_> {
        let (sender, answer) = oneshot::channel();
        let look_up = LookUp {
            devices,
            answer: sender,
        };
        self.waiting().entry(organization).or_default().push_back(look_up);
        WaitingLookUp {
            look_ups: self,
            organization,
            answer,
        }
    }

    /// Takes the look-ups of an organization, the oldest first, as many as may share a statement. `None` if none waits.
    pub(super) fn take(&self, organization: OrganizationId) -> Option<TakenLookUps> {
        let mut waiting = self.waiting();
        let Entry::Occupied(mut of_organization) = waiting.entry(organization) else {
            return None;
        };
        let queue = of_organization.get_mut();
        let mut room = MAX_DEVICES_WITH_ALL_OWNERS;
        let next = || {
            let next = queue.pop_front_if(|next| next.devices.len() <= room)?;
            room -= next.devices.len();
            Some((next.devices, next.answer))
        };
        let (devices, callers): (Vec<_>, Vec<_>) = iter::from_fn(next).unzip();
        if queue.is_empty() {
            of_organization.remove();
        }
        Some(TakenLookUps {
            devices: devices.into(),
            callers,
        })
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
        if let Entry::Occupied(mut queue) = self.look_ups.waiting().entry(self.organization) {
            queue.get_mut().retain(|look_up| !look_up.answer.is_closed());
            if queue.get().is_empty() {
                queue.remove();
            }
        }
    }
}

impl TakenLookUps {
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

    proptest! {
        #[test]
        fn every_caller_gets_its_own_devices(counts in prop::collection::vec((1..=MAX_DEVICES_WITH_ALL_OWNERS, any::<bool>()), 1..20)) {
            let look_ups = SharedLookUps::default();
            let mut waiting = Vec::new();
            for (caller, (count, stays)) in counts.into_iter().enumerate() {
                let names: Vec<_> = (0..count).map(|number| format!("{caller}-{number}")).collect();
                let look_up = look_ups.add(organization(1), devices(names.clone()));
                if stays {
                    waiting.push((look_up, names));
                }
            }
            while let Some(taken) = look_ups.take(organization(1)) {
                let found = find(&taken);
                prop_assert!((1..=MAX_DEVICES_WITH_ALL_OWNERS).contains(&found.value.len()));
                taken.answer(Ok(found));
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            for (look_up, expected) in waiting {
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
        let taken = look_ups.take(organization(1)).expect("two look-ups");
        assert_eq!(taken.devices.len(), 2);
        taken.answer(Err(Error::ShuttingDown));
        for look_up in &mut same {
            assert!(matches!(look_up.answered().await, Err(Error::ShuttingDown)));
        }
        let taken = look_ups.take(organization(2)).expect("a look-up");
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
