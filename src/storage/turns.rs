//! Turns for the connections that calls read on. Organizations take turns, so that one with thousands of calls does not keep the
//! others waiting; the calls of one organization go in their order.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::domain::id::OrganizationId;

/// A number of turns at a time. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Turns(Arc<Mutex<Waiting>>);

#[derive(Debug)]
struct Waiting {
    /// The turns that nobody has. While there are any, nobody waits.
    free: usize,
    /// The organizations with waiting calls, each once, in the order of their turns.
    organizations: VecDeque<OrganizationId>,
    calls: HashMap<OrganizationId, VecDeque<oneshot::Sender<Turn>>>,
}

/// A turn. When it is dropped, the next call has its turn.
#[derive(Debug)]
pub(super) struct Turn(Turns);

/// A call that waits for its turn. Dropping it withdraws it.
struct WaitingCall<'t> {
    turns: &'t Turns,
    organization: OrganizationId,
    turn: oneshot::Receiver<Turn>,
}

impl Turns {
    /// So many turns at a time.
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Mutex::new(Waiting {
            free: count,
            organizations: VecDeque::new(),
            calls: HashMap::new(),
        })))
    }

    /// Waits for a turn of this organization.
    pub(super) async fn take(&self, organization: OrganizationId) -> Turn {
        loop {
            let Some(mut call) = self.wait(organization) else {
                return Turn(self.clone());
            };
            if let Ok(turn) = (&mut call.turn).await {
                return turn;
            }
        }
    }

    /// Takes a free turn, or adds a call that waits for one.
    fn wait(&self, organization: OrganizationId) -> Option<WaitingCall<'_>> {
        let mut waiting = self.waiting();
        if waiting.free > 0 {
            waiting.free -= 1;
            return None;
        }
        Some(WaitingCall {
            turns: self,
            organization,
            turn: waiting.add(organization),
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn add(&mut self, organization: OrganizationId) -> oneshot::Receiver<Turn> {
        let (sender, turn) = oneshot::channel();
        let calls = self.calls.entry(organization).or_default();
        if calls.is_empty() {
            self.organizations.push_back(organization);
        }
        calls.push_back(sender);
        turn
    }

    /// Takes the first call of the organization whose turn it is.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let organization = self.organizations.pop_front()?;
        let calls = self.calls.get_mut(&organization)?;
        let next = calls.pop_front();
        if calls.is_empty() {
            self.calls.remove(&organization);
        } else {
            self.organizations.push_back(organization);
        }
        next
    }

    /// Removes the calls of an organization whose callers have left.
    fn remove_left(&mut self, organization: OrganizationId) {
        let Some(calls) = self.calls.get_mut(&organization) else {
            return;
        };
        calls.retain(|call| !call.is_closed());
        if calls.is_empty() {
            self.calls.remove(&organization);
            self.organizations.retain(|other| *other != organization);
        }
    }
}

impl Drop for WaitingCall<'_> {
    fn drop(&mut self) {
        if !self.turn.is_terminated() {
            self.turn.close();
            self.turns.waiting().remove_left(self.organization);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut waiting = self.0.waiting();
            let next = waiting.next();
            waiting.free += usize::from(next.is_none());
            next
        };
        if let Some(next) = next {
            // A caller that is just leaving drops the turn, which is then that of the next call.
            let _ = next.send(Turn(self.0.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    use futures_util::future::BoxFuture;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn organization(number: u128) -> OrganizationId {
        OrganizationId::from_uuid(Uuid::from_u128(number))
    }

    /// A call that waits for its turn, or has it.
    struct Call<'t> {
        number: usize,
        organization: u128,
        turn: BoxFuture<'t, Turn>,
    }

    impl Call<'_> {
        fn poll(&mut self) -> Option<Turn> {
            let polled = Pin::new(&mut self.turn).poll(&mut Context::from_waker(Waker::noop()));
            match polled {
                Poll::Ready(turn) => Some(turn),
                Poll::Pending => None,
            }
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        /// A call of this organization arrives.
        Arrive(u128),
        /// One of the calls with a turn is done.
        Done(usize),
        /// One of the waiting calls leaves.
        Leave(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0_u128..4).prop_map(Step::Arrive),
            3 => any::<usize>().prop_map(Step::Done),
            1 => any::<usize>().prop_map(Step::Leave),
        ];
        prop::collection::vec(step, 0..120)
    }

    proptest! {
        #[test]
        fn organizations_take_turns(count in 1_usize..4, steps in steps()) {
            let turns = Turns::new(count);
            let mut waiting: Vec<Call<'_>> = Vec::new();
            let mut busy: Vec<(usize, Turn)> = Vec::new();
            // How often each organization had its turn while another one waited all the time.
            let mut served: HashMap<u128, HashMap<u128, usize>> = HashMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Arrive(own) => {
                        let turn = Box::pin(turns.take(organization(own)));
                        waiting.push(Call { number, organization: own, turn });
                    }
                    Step::Done(which) if !busy.is_empty() => drop(busy.swap_remove(which % busy.len())),
                    Step::Leave(which) if !waiting.is_empty() => drop(waiting.remove(which % waiting.len())),
                    Step::Done(_) | Step::Leave(_) => {}
                }
                let mut next = None;
                let mut still_waiting = Vec::new();
                for mut call in waiting {
                    let Some(turn) = call.poll() else {
                        still_waiting.push(call);
                        continue;
                    };
                    let is_first = still_waiting.iter().all(|other: &Call<'_>| other.organization != call.organization);
                    prop_assert!(is_first, "an earlier call of its organization waits");
                    prop_assert!(next.replace(call.organization).is_none(), "a step gives one turn at most");
                    busy.push((call.number, turn));
                }
                waiting = still_waiting;
                let queued = turns.waiting().calls.values().map(VecDeque::len).sum::<usize>();
                prop_assert_eq!(queued, waiting.len(), "nothing is left of those who have left");
                prop_assert!(busy.len() <= count);
                prop_assert!(busy.len() == count || waiting.is_empty(), "a turn is free while calls wait");
                if let Some(next) = next {
                    served.remove(&next);
                }
                served.retain(|organization, _| waiting.iter().any(|call| call.organization == *organization));
                for call in &waiting {
                    served.entry(call.organization).or_default();
                }
                for (organization, before) in &mut served {
                    for next in next.iter().filter(|next| *next != organization) {
                        *before.entry(*next).or_default() += 1;
                        prop_assert!(before[next] == 1, "{} had two turns while {} waited", next, organization);
                    }
                }
            }
            drop(busy);
            drop(waiting);
            // All turns are free again.
            let left = turns.waiting();
            prop_assert_eq!(left.free, count);
            prop_assert!(left.organizations.is_empty() && left.calls.is_empty());
        }
    }

    #[tokio::test]
    async fn a_turn_that_is_given_to_a_caller_who_leaves_is_not_lost() {
        let turns = Turns::new(1);
        let turn = turns.take(organization(1)).await;
        let mut leaves = Box::pin(turns.take(organization(1)));
        assert!(futures_util::poll!(&mut leaves).is_pending());
        // It has its turn from here on, and does not know it yet.
        drop(turn);
        drop(leaves);
        turns.take(organization(2)).await;
    }
}
