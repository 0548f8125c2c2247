//! What waits before the lanes: bounded, and organizations take turns.

mod rate;

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, oneshot};

use self::rate::{Ahead, Rate, admit, work};
use crate::{
    domain::{
        Error,
        assign_devices::{AssignDevices, Outcome},
        id::OrganizationId,
    },
    telemetry::{metrics::QueueMetrics, trace::Wait},
};

/// When there will be room in a queue that is full by number: as soon as the next batch is taken.
const SOON: Duration = Duration::from_secs(1);

/// A command that waits, and where its answer goes.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) command: AssignDevices,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<Outcome, Error>>,
    /// Whether nobody is left whom it is carried out for.
    pub(super) is_abandoned: Arc<AtomicBool>,
    pub(super) wait: Wait,
}

impl Call {
    /// Whether anybody is left whom it is carried out for.
    pub(super) fn is_wanted(&self) -> bool {
        !self.reply.is_closed() && !self.is_abandoned.load(Ordering::Relaxed)
    }
}

/// Calls to be carried out together, those of each organization in order.
pub(super) type Round = Vec<(OrganizationId, Vec<Call>)>;

/// The calls before some lanes.
#[derive(Debug)]
pub(super) struct Queue {
    max_calls: usize,
    max_devices: usize,
    lanes: usize,
    waiting: Mutex<Waiting>,
    changed: Notify,
    figures: QueueMetrics,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The organizations of which calls wait, each once, in the order of their turns.
    turns: VecDeque<OrganizationId>,
    lines: HashMap<OrganizationId, Line>,
    /// The organizations that have calls being carried out, and how much work those are.
    busy: HashMap<OrganizationId, usize>,
    /// How much work is being carried out in all.
    in_progress: usize,
    rate: Rate,
    call_count: usize,
    device_count: usize,
    closed: bool,
}

/// The calls of one organization.
#[derive(Debug, Default)]
struct Line {
    calls: VecDeque<Call>,
    device_count: usize,
}

impl Queue {
    /// A queue before so many lanes, by the name that operators know it by.
    pub(super) fn new(name: &'static str, max_calls: usize, max_devices: usize, lanes: usize) -> Self {
        Self {
            max_calls,
            max_devices,
            lanes,
            waiting: Mutex::default(),
            changed: Notify::new(),
            figures: QueueMetrics::of(name),
        }
    }

    /// Adds a call at the end of its organization's line.
    ///
    /// An organization may have no more waiting than there is room left for all: a flood of one leaves half of the queue
    /// to the others, floods of two a third, and nobody has to know how many there will be (dynamic thresholds, Choudhury
    /// and Hahne, 1998).
    ///
    /// A call is refused if what is ahead of it takes longer than it has time, by the rate that was measured: to carry
    /// out what nobody waits for any more would make the next one late, too.
    ///
    /// # Errors
    /// [`Error::QueueFull`] and [`Error::ShuttingDown`].
    pub(super) fn push(&self, organization: OrganizationId, call: Call, now: Instant) -> Result<(), Error> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(Error::ShuttingDown);
        }
        let devices = call.command.devices().len();
        let (own_calls, own_devices) = waiting
            .lines
            .get(&organization)
            .map_or((0, 0), |line| (line.calls.len(), line.device_count));
        let is_full = waiting.call_count + own_calls >= self.max_calls
            || waiting.device_count + own_devices + devices > self.max_devices;
        // One call always fits: else one with more devices than the bound would never be served.
        if is_full && waiting.call_count > 0 {
            return Err(Error::QueueFull { retry_after: SOON });
        }
        if let Some((ahead, whole)) = waiting.wait(organization, devices, self.lanes) {
            let time = call.deadline.saturating_duration_since(now);
            admit(ahead, whole, time).map_err(|retry_after| Error::QueueFull { retry_after })?;
        }
        waiting.call_count += 1;
        waiting.device_count += devices;
        let line = waiting.lines.entry(organization).or_default();
        line.calls.push_back(call);
        line.device_count += devices;
        if line.calls.len() == 1 {
            waiting.turns.push_back(organization);
        }
        self.count(&waiting);
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for calls, and takes those whose turn it is: at least one, else at most `max_calls` with at most `max_devices`
    /// devices in all, and of no more organizations than is one lane's share. Their organizations are left out until [`done`](Self::done) says that the calls are: those that
    /// come meanwhile share the next statements, instead of waiting for the locks of these. `None` when the queue is closed
    /// and empty.
    pub(super) async fn take(&self, max_calls: usize, max_devices: usize) -> Option<Round> {
        loop {
            // Before the look: what changes after it is not missed.
            let changed = self.changed.notified();
            {
                let mut waiting = self.waiting();
                let mut round = waiting.take(max_calls, max_devices, self.lanes);
                self.count(&waiting);
                let is_over = waiting.closed && waiting.lines.is_empty();
                drop(waiting);
                if is_over || !round.is_empty() {
                    // There may be more to take, or others to be told that it is over.
                    self.changed.notify_one();
                }
                if !round.is_empty() {
                    for call in round.iter_mut().flat_map(|(_, calls)| calls) {
                        self.figures.wait.record(call.wait.end());
                    }
                    return Some(round);
                }
                if is_over {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Says that the calls of a round are carried out, of which these were the organizations.
    pub(super) fn done(&self, organizations: &[OrganizationId]) {
        let mut waiting = self.waiting();
        for organization in organizations {
            let done = waiting.busy.remove(organization).unwrap_or_default();
            waiting.in_progress = waiting.in_progress.saturating_sub(done);
        }
        drop(waiting);
        self.changed.notify_one();
    }

    /// Says how long a batch of so many calls with so many devices took that was committed, and whether it was about as
    /// large as one may be.
    pub(super) fn measure(&self, calls: usize, devices: usize, took: Duration, was_full: bool) {
        self.waiting().rate.measure(work(calls, devices), took, was_full);
    }

    /// Takes every call that waits, of all organizations.
    pub(super) fn take_all(&self) -> Vec<Call> {
        let mut waiting = self.waiting();
        let lines = std::mem::take(&mut waiting.lines);
        waiting.turns.clear();
        (waiting.call_count, waiting.device_count) = (0, 0);
        self.count(&waiting);
        drop(waiting);
        lines.into_values().flat_map(|line| line.calls).collect()
    }

    /// Takes no further calls.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.changed.notify_one();
    }

    /// Tells operators what waits.
    fn count(&self, waiting: &Waiting) {
        let number = |count| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        self.figures.calls.set(number(waiting.call_count));
        self.figures.devices.set(number(waiting.device_count));
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn work(&self) -> usize {
        work(self.calls.len(), self.device_count)
    }
}

impl Waiting {
    /// How long it would take until it is the turn of another call of `organization`, and until that is answered, if anything
    /// is ahead of it: one that comes alone is always carried out, or a rate that is out of date would never be measured again.
    fn wait(&self, organization: OrganizationId, devices: usize, workers: usize) -> Option<(Duration, Duration)> {
        if self.call_count == 0 && self.in_progress == 0 {
            return None;
        }
        let line = self.lines.get(&organization);
        let ahead = Ahead {
            own: 0,
            own_waiting: line.map_or(0, Line::work),
            all_waiting: work(self.call_count, self.device_count),
            in_progress: self.in_progress,
            organizations: self.lines.len() + usize::from(line.is_none()),
        };
        let own = work(1, devices);
        Some((
            self.rate.wait(ahead, workers)?,
            self.rate.wait(Ahead { own, ..ahead }, workers)?,
        ))
    }

    fn take(&mut self, max_calls: usize, max_devices: usize, lanes: usize) -> Round {
        let free = self.turns.iter().filter(|waits| !self.busy.contains_key(waits)).count();
        let share = free.div_ceil(lanes);
        let mut round = Round::new();
        let (mut calls, mut devices) = (0, 0);
        let mut is_full = false;
        let mut served = Vec::new();
        for organization in std::mem::take(&mut self.turns) {
            let line = self.lines.get_mut(&organization);
            let Some(line) = line.filter(|_| !is_full && round.len() < share && !self.busy.contains_key(&organization))
            else {
                self.turns.push_back(organization);
                continue;
            };
            let mut batch = Vec::new();
            let before = line.work();
            while let Some(next) = line.calls.front() {
                let more = next.command.devices().len();
                is_full = calls > 0 && (calls >= max_calls || devices + more > max_devices);
                if is_full {
                    break;
                }
                calls += 1;
                devices += more;
                line.device_count -= more;
                batch.extend(line.calls.pop_front());
            }
            if batch.is_empty() {
                // Who got nothing keeps the turn.
                self.turns.push_back(organization);
                continue;
            }
            let taken = before.saturating_sub(line.work());
            if line.calls.is_empty() {
                self.lines.remove(&organization);
            } else {
                served.push(organization);
            }
            self.busy.insert(organization, taken);
            self.in_progress += taken;
            round.push((organization, batch));
        }
        self.turns.extend(served);
        self.call_count -= calls;
        self.device_count -= devices;
        round
    }
}

#[cfg(test)]
mod tests;
