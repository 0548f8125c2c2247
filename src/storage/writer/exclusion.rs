//! Which organizations have calls in progress: one worker at a time carries an organization, whether its calls are small or
//! large.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::domain::id::OrganizationId;

/// The class of a call, by its size. Each has a queue and workers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A call with few devices.
    Small,
    /// A large call. It must not make small ones wait.
    Bulk,
}

impl Class {
    /// The name of its queue in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Bulk => "bulk",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Small => Self::Bulk,
            Self::Bulk => Self::Small,
        }
    }
}

/// The organizations that are taken, shared by the queues of both classes.
#[derive(Debug, Default)]
pub(super) struct Exclusion {
    taken: Mutex<HashMap<OrganizationId, Taken>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// Calls of this class are in progress. The other class may have asked for the organization meanwhile.
    By { class: Class, is_awaited: bool },
    /// It is the turn of this class: without that, whoever is done first would take the organization again and again.
    ReservedFor(Class),
}

impl Exclusion {
    /// Takes an organization. Returns false if it is taken.
    pub(super) fn take(&self, organization: OrganizationId, class: Class) -> bool {
        let mut taken = self.taken();
        if taken
            .get(&organization)
            .is_some_and(|taken| *taken != Taken::ReservedFor(class))
        {
            return false;
        }
        let is_awaited = false;
        taken.insert(organization, Taken::By { class, is_awaited });
        true
    }

    /// Notes that `class` waits for an organization. If the other class has taken it, `class` gets it next.
    pub(super) fn await_turn(&self, organization: OrganizationId, class: Class) {
        if let Some(Taken::By { class: by, is_awaited }) = self.taken().get_mut(&organization) {
            *is_awaited |= *by != class;
        }
    }

    /// Whether `class` could take an organization.
    pub(super) fn is_free(&self, organization: OrganizationId, class: Class) -> bool {
        let taken = self.taken();
        taken
            .get(&organization)
            .is_none_or(|taken| *taken == Taken::ReservedFor(class))
    }

    /// Whether the other class has taken an organization.
    pub(super) fn is_taken_by_other(&self, organization: OrganizationId, class: Class) -> bool {
        let taken = self.taken();
        matches!(taken.get(&organization), Some(Taken::By { class: by, .. }) if *by != class)
    }

    /// Gives organizations back that `class` has taken.
    pub(super) fn give_back(&self, organizations: &[OrganizationId], class: Class) {
        let mut taken = self.taken();
        for organization in organizations {
            match taken.get(organization) {
                Some(Taken::By { is_awaited: true, .. }) => {
                    taken.insert(*organization, Taken::ReservedFor(class.other()));
                }
                _ => {
                    taken.remove(organization);
                }
            }
        }
    }

    /// The calls of `class` that waited are gone: nothing is reserved for them any more.
    pub(super) fn forget_waiting(&self, class: Class) {
        let mut taken = self.taken();
        taken.retain(|_, taken| *taken != Taken::ReservedFor(class));
        for taken in taken.values_mut() {
            if let Taken::By { class: by, is_awaited } = taken
                && *by != class
            {
                *is_awaited = false;
            }
        }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<OrganizationId, Taken>> {
        // Nothing panics while it holds the lock.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn organization(number: u128) -> OrganizationId {
        OrganizationId::from_uuid(Uuid::from_u128(number))
    }

    #[test]
    fn an_organization_is_taken_once() {
        let exclusion = Exclusion::default();
        let (one, other) = (organization(1), organization(2));
        assert!(exclusion.take(one, Class::Small));
        assert!(!exclusion.take(one, Class::Small));
        assert!(!exclusion.is_free(one, Class::Bulk));
        assert!(exclusion.take(other, Class::Bulk));
        exclusion.give_back(&[one], Class::Small);
        assert!(exclusion.is_free(one, Class::Bulk) && exclusion.take(one, Class::Small));
    }

    #[test]
    fn classes_take_turns() {
        let exclusion = Exclusion::default();
        let one = organization(1);
        assert!(exclusion.take(one, Class::Bulk));
        assert!(!exclusion.take(one, Class::Small));
        exclusion.await_turn(one, Class::Small);
        exclusion.give_back(&[one], Class::Bulk);
        assert!(!exclusion.take(one, Class::Bulk), "it is the turn of the small calls");
        assert!(exclusion.take(one, Class::Small));
        exclusion.give_back(&[one], Class::Small);
        assert!(exclusion.take(one, Class::Bulk));
        exclusion.await_turn(one, Class::Bulk);
        exclusion.give_back(&[one], Class::Bulk);
        assert!(exclusion.take(one, Class::Bulk), "a class does not wait for itself");
    }

    #[test]
    fn nothing_stays_reserved_for_calls_that_are_gone() {
        let exclusion = Exclusion::default();
        let (reserved, awaited) = (organization(1), organization(2));
        for organization in [reserved, awaited] {
            assert!(exclusion.take(organization, Class::Bulk));
            exclusion.await_turn(organization, Class::Small);
        }
        exclusion.give_back(&[reserved], Class::Bulk);
        exclusion.forget_waiting(Class::Small);
        assert!(exclusion.take(reserved, Class::Bulk));
        exclusion.give_back(&[awaited], Class::Bulk);
        assert!(exclusion.take(awaited, Class::Bulk));
    }
}
