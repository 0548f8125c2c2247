//! The stored answers of calls with an idempotency key, as the commands of a group see them.

use std::collections::{BTreeSet, HashMap};

use super::{
    change::Revision,
    id::CustomerId,
    idempotency::{IdempotencyKey, KeyDigest, NewAnswer, named_customers},
};

/// The answer of an earlier call, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The hash of its request.
    pub request: [u8; 32],
    /// Its revision.
    pub revision: Revision,
    /// Its message, in protobuf. None if it was erased with a customer that it named.
    pub message: Option<Vec<u8>>,
}

/// The stored answers as a group of commands sees them: those that exist, and those of earlier commands of the group.
#[derive(Debug)]
pub(super) struct Answers<'e> {
    existing: &'e HashMap<KeyDigest, StoredAnswer>,
    new: Vec<NewAnswer>,
    /// The answer of the command that is being applied.
    pending: Option<NewAnswer>,
    /// Customers that were erased: answers that named them are gone.
    erased: BTreeSet<CustomerId>,
}

/// The answer that a key has already.
pub(super) struct Known<'a> {
    /// The hash of its request.
    pub(super) request: &'a [u8; 32],
    /// Its message, in protobuf. None if it was erased.
    pub(super) message: Option<&'a [u8]>,
    pub(super) at: RepeatedAt,
}

/// The revision of the answer of an earlier call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RepeatedAt {
    Revision(Revision),
    /// Of the same group, after so many of its changes.
    Changes(usize),
}

impl<'e> Answers<'e> {
    pub(super) fn new(existing: &'e HashMap<KeyDigest, StoredAnswer>) -> Self {
        Self {
            existing,
            new: Vec::new(),
            pending: None,
            erased: BTreeSet::new(),
        }
    }

    /// The answer that this key has.
    pub(super) fn get(&self, key: &KeyDigest) -> Option<Known<'_>> {
        if let Some(new) = self.new.iter().find(|answer| answer.key.digest == *key) {
            let message = new.message.as_deref();
            let at = RepeatedAt::Changes(new.changes);
            return Some(Known {
                request: &new.key.request,
                message,
                at,
            });
        }
        let stored = self.existing.get(key)?;
        let is_erased = |message: &&[u8]| {
            !self.erased.is_empty()
                && named_customers(message)
                    .iter()
                    .any(|customer| self.erased.contains(customer))
        };
        Some(Known {
            request: &stored.request,
            message: stored.message.as_deref().filter(|message| !is_erased(message)),
            at: RepeatedAt::Revision(stored.revision),
        })
    }

    /// Keeps the answer of the command that is being applied, in protobuf.
    pub(super) fn keep(&mut self, key: IdempotencyKey, message: Vec<u8>) {
        self.pending = Some(NewAnswer {
            key,
            customers: named_customers(&message),
            message: Some(message),
            changes: 0,
        });
    }

    /// Erases the answers that name this customer. Their keys stay, so that their calls are not carried out again.
    pub(super) fn erase(&mut self, customer: CustomerId) {
        for answer in self
            .new
            .iter_mut()
            .filter(|answer| answer.customers.contains(&customer))
        {
            answer.message = None;
            answer.customers.clear();
        }
        self.erased.insert(customer);
    }

    /// Ends the command that was applied last. `changes` is the number of changes of the group so far.
    pub(super) fn end(&mut self, changes: usize) {
        self.new
            .extend(self.pending.take().map(|answer| NewAnswer { changes, ..answer }));
    }

    /// The erased customers, and the answers to store in the order of their keys.
    pub(super) fn into_changes(mut self) -> (Vec<CustomerId>, Vec<NewAnswer>) {
        self.new.sort_unstable_by_key(|answer| answer.key.digest);
        (self.erased.into_iter().collect(), self.new)
    }
}
