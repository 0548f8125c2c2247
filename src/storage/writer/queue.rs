//! The queue of calls in front of the workers: bounded, and organizations take turns.

mod rate;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use self::rate::{Ahead, Rate, admit, work};
use super::{
    call::Call,
    exclusion::{Availability, Class, Exclusion},
};
use crate::{
    domain::{Error, id::OrganizationId},
    telemetry::metrics::QueueMetrics,
};

/// How often an organization is passed over before it gets its turn although the workers of its class have other work.
const MAX_PASSED_OVER: usize = 4;

/// When a full queue has room again: as soon as the next batch is taken.
const SOON: Duration = Duration::from_secs(1);

/// Calls of one organization, in order.
pub(super) struct Group {
    pub(super) organization: OrganizationId,
    pub(super) calls: Vec<Call>,
}

/// Calls that are committed together.
pub(super) type Batch = Vec<Group>;

/// The calls of one class that wait for their workers.
pub(super) struct Queue {
    class: Class,
    max_calls: usize,
    max_devices: usize,
    workers: usize,
    waiting: Mutex<Waiting>,
    exclusion: Arc<Exclusion>,
    changed: Arc<Notify>,
    /// That of the other class, which may wait for an organization that is in progress here.
    other_changed: Arc<Notify>,
    metrics: QueueMetrics,
}

#[derive(Default)]
struct Waiting {
    /// The organizations with waiting calls, each once, in the order of their turns.
    turns: VecDeque<OrganizationId>,
    organizations: HashMap<OrganizationId, OrganizationQueue>,
    /// The organizations with calls of this class in progress, and the work of those calls.
    busy: HashMap<OrganizationId, usize>,
    /// All work in progress.
    in_progress: usize,
    rate: Rate,
    call_count: usize,
    device_count: usize,
    closed: bool,
}

/// The waiting calls of one organization.
#[derive(Default)]
struct OrganizationQueue {
    calls: VecDeque<Call>,
    device_count: usize,
    /// How often it was passed over because the other class had taken the organization.
    passed_over: usize,
}

impl Queue {
    /// A queue for `workers`.
    pub(super) fn new(class: Class, max_calls: usize, max_devices: usize, workers: usize) -> Self {
        Self {
            class,
            max_calls,
            max_devices,
            workers,
            waiting: Mutex::default(),
            exclusion: Arc::default(),
            changed: Arc::default(),
            other_changed: Arc::default(),
            metrics: QueueMetrics::of(class.name()),
        }
    }

    /// This queue beside that of the other class: an organization is in progress in one of them at a time.
    pub(super) fn beside(self, other: &Self) -> Self {
        Self {
            exclusion: Arc::clone(&other.exclusion),
            changed: Arc::clone(&other.other_changed),
            other_changed: Arc::clone(&other.changed),
            ..self
        }
    }

    /// The class of its calls.
    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// Adds a call at the end of its organization's queue.
    ///
    /// An organization may have no more waiting than there is room left: a flood of one leaves half of the queue to the
    /// others, floods of two leave a third, and the number of organizations need not be known (dynamic thresholds,
    /// Choudhury and Hahne, 1998).
    ///
    /// A call is rejected if the work ahead of it takes longer than it has time, by the measured rate. Otherwise the workers
    /// would spend their time on calls that nobody waits for any more, and the next calls would be late, too.
    ///
    /// # Errors
    /// [`Error::QueueFull`] and [`Error::ShuttingDown`].
    pub(super) fn push(&self, organization: OrganizationId, call: Call, now: Instant) -> Result<(), Error> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(Error::ShuttingDown);
        }
        let devices = call.job.weight();
        let (own_calls, own_devices) = waiting
            .organizations
            .get(&organization)
            .map_or((0, 0), |own| (own.calls.len(), own.device_count));
        let is_full = waiting.call_count + own_calls >= self.max_calls
            || waiting.device_count + own_devices + devices > self.max_devices;
        // One call always fits, even if it has more devices than the bound.
        if is_full && waiting.call_count > 0 {
            return Err(Error::QueueFull { retry_after: SOON });
        }
        if let Some((ahead, whole)) = waiting.wait(organization, devices, self.workers) {
            let time = call.deadline.saturating_duration_since(now);
            admit(ahead, whole, time).map_err(|retry_after| Error::QueueFull { retry_after })?;
        }
        waiting.call_count += 1;
        waiting.device_count += devices;
        let own = waiting.organizations.entry(organization).or_default();
        own.calls.push_back(call);
        own.device_count += devices;
        if own.calls.len() == 1 {
            waiting.turns.push_back(organization);
        }
        self.count(&waiting);
        drop(waiting);
        self.wake_worker();
        Ok(())
    }

    /// Waits for calls, and takes those whose turn it is: at least one, otherwise at most `max_calls` with `max_devices`, of
    /// no more organizations than one worker's share. `None` when the queue is closed and empty.
    ///
    /// Until [`done`](Self::done), no worker takes other calls of these organizations: they gather for the next batch instead
    /// of waiting for the locks of this one.
    pub(super) async fn take(&self, max_calls: usize, max_devices: usize) -> Option<Batch> {
        loop {
            // Registered first, so that no change is missed.
            let changed = self.changed.notified();
            {
                let mut waiting = self.waiting();
                let mut batch = self.take_from(&mut waiting, max_calls, max_devices);
                self.count(&waiting);
                let is_over = waiting.closed && waiting.organizations.is_empty();
                let is_left = !batch.is_empty() && !waiting.turns.is_empty();
                drop(waiting);
                if is_over || is_left {
                    // Another worker may have calls to take, or has to stop, too.
                    self.wake_worker();
                }
                if !batch.is_empty() {
                    for call in batch.iter_mut().flat_map(|group| &mut group.calls) {
                        if let Some(waited) = call.wait.end() {
                            self.metrics.wait.record(waited);
                        }
                    }
                    return Some(batch);
                }
                if is_over {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Notes that a batch is done, given its organizations.
    pub(super) fn done(&self, organizations: &[OrganizationId]) {
        if organizations.is_empty() {
            return;
        }
        let mut waiting = self.waiting();
        for organization in organizations {
            if let Some(done) = waiting.busy.remove(organization) {
                waiting.in_progress -= done;
            }
        }
        let is_left = !waiting.turns.is_empty();
        drop(waiting);
        if self.exclusion.give_back(organizations, self.class) {
            self.other_changed.notify_one();
        }
        if is_left {
            self.wake_worker();
        }
    }

    /// Puts calls back before the others of their organization, which a worker has taken and could not run yet. It gets its next
    /// turn after the other organizations.
    pub(super) fn put_back(&self, group: Group) {
        let mut waiting = self.waiting();
        let Group { organization, calls } = group;
        let devices: usize = calls.iter().map(|call| call.job.weight()).sum();
        waiting.call_count += calls.len();
        waiting.device_count += devices;
        let own = waiting.organizations.entry(organization).or_default();
        let has_turn = !own.calls.is_empty();
        own.device_count += devices;
        for call in calls.into_iter().rev() {
            own.calls.push_front(call);
        }
        if !has_turn {
            waiting.turns.push_back(organization);
        }
        self.count(&waiting);
    }

    /// Notes how long it took to commit a batch, and whether the batch was about as large as the bounds allow.
    pub(super) fn measure(&self, calls: usize, devices: usize, took: Duration, was_full: bool) {
        self.waiting().rate.measure(work(calls, devices), took, was_full);
    }

    /// Takes every call that waits, of all organizations.
    pub(super) fn take_all(&self) -> Vec<Call> {
        let mut waiting = self.waiting();
        let organizations = std::mem::take(&mut waiting.organizations);
        waiting.turns.clear();
        (waiting.call_count, waiting.device_count) = (0, 0);
        self.count(&waiting);
        self.exclusion.forget_waiting(self.class);
        drop(waiting);
        // The other class may take what was reserved for this one.
        self.other_changed.notify_one();
        organizations.into_values().flat_map(|own| own.calls).collect()
    }

    /// Takes no further calls.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.wake_worker();
    }

    /// Wakes the worker that has waited for the shortest time: what its connection needs is still in the processor's caches, on
    /// both sides, and the connection need not be tested.
    fn wake_worker(&self) {
        self.changed.notify_last();
    }

    /// Takes the calls whose turn it is.
    fn take_from(&self, waiting: &mut Waiting, max_calls: usize, max_devices: usize) -> Batch {
        let is_free = |next: &&OrganizationId| self.exclusion.is_free(**next, self.class);
        let share = waiting.turns.iter().filter(is_free).count().div_ceil(self.workers);
        let mut batch = Batch::new();
        let (mut calls, mut devices) = (0, 0);
        let mut is_full = false;
        let mut served = Vec::new();
        // The first organization whose turn it would be, but that the other class has taken.
        let mut passed_over = None;
        for organization in std::mem::take(&mut waiting.turns) {
            let fits = |call: &Call| calls == 0 || (calls < max_calls && devices + call.job.weight() <= max_devices);
            let own = waiting.organizations.get_mut(&organization);
            let own = own.filter(|own| {
                if is_full || batch.len() >= share.max(1) {
                    return false;
                }
                match self.exclusion.want(organization, self.class) {
                    Availability::Free => {}
                    Availability::Taken => return false,
                    Availability::TakenByOtherClass => {
                        passed_over.get_or_insert(organization);
                        return false;
                    }
                }
                is_full = !own.calls.front().is_some_and(fits);
                !is_full && self.exclusion.take(organization, self.class)
            });
            let Some(own) = own else {
                // It keeps its turn.
                waiting.turns.push_back(organization);
                continue;
            };
            own.passed_over = 0;
            let mut group = Vec::new();
            let before = own.work();
            while let Some(next) = own.calls.front() {
                let more = next.job.weight();
                is_full = calls > 0 && (calls >= max_calls || devices + more > max_devices);
                if is_full {
                    break;
                }
                calls += 1;
                devices += more;
                own.device_count -= more;
                group.extend(own.calls.pop_front());
            }
            let taken = before - own.work();
            if own.calls.is_empty() {
                waiting.organizations.remove(&organization);
            } else {
                served.push(organization);
            }
            waiting.busy.insert(organization, taken);
            waiting.in_progress += taken;
            batch.push(Group {
                organization,
                calls: group,
            });
        }
        if let Some(organization) = passed_over {
            let own = waiting.organizations.entry(organization).or_default();
            own.passed_over += 1;
            // A worker without other work takes it next. One that has other work lets the other class go on with it for a
            // while, which would otherwise wait for that work, too.
            if batch.is_empty() || own.passed_over >= MAX_PASSED_OVER {
                self.exclusion.await_turn(organization, self.class);
            }
        }
        waiting.turns.extend(served);
        waiting.call_count -= calls;
        waiting.device_count -= devices;
        batch
    }

    /// Updates the metrics.
    fn count(&self, waiting: &Waiting) {
        self.metrics.calls.set(waiting.call_count as f64);
        self.metrics.devices.set(waiting.device_count as f64);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OrganizationQueue {
    fn work(&self) -> usize {
        work(self.calls.len(), self.device_count)
    }
}

impl Waiting {
    /// How long it would take until the turn of another call of `organization`, and until it is done. `None` if no work is
    /// ahead of it: a lone call always runs, or an outdated rate would never be measured again.
    fn wait(&self, organization: OrganizationId, devices: usize, workers: usize) -> Option<(Duration, Duration)> {
        if self.call_count == 0 && self.in_progress == 0 {
            return None;
        }
        let waiting = self.organizations.get(&organization);
        let ahead = Ahead {
            own: 0,
            own_waiting: waiting.map_or(0, OrganizationQueue::work),
            all_waiting: work(self.call_count, self.device_count),
            in_progress: self.in_progress,
            organizations: self.organizations.len() + usize::from(waiting.is_none()),
        };
        let own = work(1, devices);
        Some((
            self.rate.wait(ahead, workers)?,
            self.rate.wait(Ahead { own, ..ahead }, workers)?,
        ))
    }
}

#[cfg(test)]
mod tests;
