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

/// Who has an organization.
#[derive(Debug, Clone, Copy)]
struct Taken {
    by: Class,
    /// None of its calls is in progress yet, but it is the turn of this class: without that, whoever is done first would take the
    /// organization again and again.
    is_reserved: bool,
    /// The other class gets it next.
    is_awaited: bool,
    /// A worker of the other class has found it taken, and has to learn that it is free again.
    is_wanted: bool,
}

impl Taken {
    fn by(class: Class) -> Self {
        Self {
            by: class,
            is_reserved: false,
            is_awaited: false,
            is_wanted: false,
        }
    }

    fn is_free_for(&self, class: Class) -> bool {
        self.is_reserved && self.by == class
    }
}

/// Whether an organization can be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Availability {
    Free,
    /// A worker of the same class has it, or it is the other class's turn.
    Taken,
    /// Calls of the other class are in progress.
    TakenByOtherClass,
}

impl Exclusion {
    /// Takes an organization. Returns false if it is taken; as after [`want`](Self::want), its class learns of it then.
    pub(super) fn take(&self, organization: OrganizationId, class: Class) -> bool {
        let mut taken = self.taken();
        let Some(other) = taken.get_mut(&organization) else {
            taken.insert(organization, Taken::by(class));
            return true;
        };
        let is_free = other.is_free_for(class);
        if is_free {
            // The other class may have found it reserved, and still waits for it.
            other.is_reserved = false;
        } else {
            other.is_wanted |= other.by != class;
        }
        is_free
    }

    /// Notes that `class` waits for an organization. If the other class has taken it, `class` gets it next.
    pub(super) fn await_turn(&self, organization: OrganizationId, class: Class) {
        if let Some(taken) = self.taken().get_mut(&organization)
            && !taken.is_reserved
        {
            taken.is_awaited |= taken.by != class;
        }
    }

    /// Whether `class` could take an organization.
    pub(super) fn is_free(&self, organization: OrganizationId, class: Class) -> bool {
        let taken = self.taken();
        taken.get(&organization).is_none_or(|taken| taken.is_free_for(class))
    }

    /// Whether `class` can take an organization for calls that wait. If the other class has it,
    /// [`give_back`](Self::give_back) will say that it is wanted.
    pub(super) fn want(&self, organization: OrganizationId, class: Class) -> Availability {
        let mut taken = self.taken();
        match taken.get_mut(&organization) {
            None => Availability::Free,
            Some(taken) if taken.is_free_for(class) => Availability::Free,
            Some(taken) if taken.by == class => Availability::Taken,
            Some(taken) => {
                taken.is_wanted = true;
                if taken.is_reserved {
                    Availability::Taken
                } else {
                    Availability::TakenByOtherClass
                }
            }
        }
    }

    /// Gives organizations back that `class` has taken. Returns whether a worker of the other class has found one of them taken.
    pub(super) fn give_back(&self, organizations: &[OrganizationId], class: Class) -> bool {
        let mut taken = self.taken();
        let mut is_wanted = false;
        for organization in organizations {
            let Some(given) = taken.remove(organization) else {
                continue;
            };
            is_wanted |= given.is_wanted;
            if given.is_awaited {
                let reserved = Taken {
                    is_reserved: true,
                    ..Taken::by(class.other())
                };
                taken.insert(*organization, reserved);
            }
        }
        is_wanted
    }

    /// The calls of `class` that waited are gone: nothing is reserved for them any more.
    pub(super) fn forget_waiting(&self, class: Class) {
        let mut taken = self.taken();
        taken.retain(|_, taken| !taken.is_free_for(class));
        for taken in taken.values_mut() {
            taken.is_awaited &= taken.by == class;
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
    fn who_has_an_organization_learns_that_the_other_class_wants_it() {
        let exclusion = Exclusion::default();
        let one = organization(1);
        assert_eq!(exclusion.want(one, Class::Bulk), Availability::Free);
        assert!(exclusion.take(one, Class::Small));
        assert_eq!(exclusion.want(one, Class::Small), Availability::Taken);
        assert!(!exclusion.give_back(&[one], Class::Small), "nobody else has asked");
        assert!(exclusion.take(one, Class::Small));
        assert_eq!(exclusion.want(one, Class::Bulk), Availability::TakenByOtherClass);
        exclusion.await_turn(one, Class::Bulk);
        assert!(exclusion.give_back(&[one], Class::Small));
        // Small calls come while it is the turn of the large ones.
        assert_eq!(exclusion.want(one, Class::Small), Availability::Taken);
        assert_eq!(exclusion.want(one, Class::Bulk), Availability::Free);
        assert!(exclusion.take(one, Class::Bulk));
        assert!(exclusion.give_back(&[one], Class::Bulk), "small calls still wait");
        assert!(exclusion.take(one, Class::Bulk));
        assert!(!exclusion.take(one, Class::Small));
        assert!(
            exclusion.give_back(&[one], Class::Bulk),
            "small calls have tried to take it"
        );
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
