//! What waits before a lane: bounded, and organizations take turns.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::{Notify, oneshot};

use crate::domain::{
    Error,
    assign_devices::{AssignDevices, Outcome},
    id::OrganizationId,
};

/// A command that waits, and where its answer goes.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) command: AssignDevices,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<Outcome, Error>>,
}

/// The calls before one lane.
#[derive(Debug)]
pub(super) struct Queue {
    max_calls: usize,
    max_devices: usize,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The organizations of which calls wait, each once, in the order of their turns.
    turns: VecDeque<OrganizationId>,
    lines: HashMap<OrganizationId, Line>,
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
    pub(super) fn new(max_calls: usize, max_devices: usize) -> Self {
        Self {
            max_calls,
            max_devices,
            waiting: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Adds a call at the end of its organization's line.
    ///
    /// An organization may have no more waiting than there is room left for all: a flood of one leaves half of the queue
    /// to the others, floods of two a third, and nobody has to know how many there will be (dynamic thresholds, Choudhury
    /// and Hahne, 1998).
    ///
    /// # Errors
    /// [`Error::QueueFull`] and [`Error::ShuttingDown`].
    pub(super) fn push(&self, organization: OrganizationId, call: Call) -> Result<(), Error> {
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
            return Err(Error::QueueFull);
        }
        waiting.call_count += 1;
        waiting.device_count += devices;
        let line = waiting.lines.entry(organization).or_default();
        line.calls.push_back(call);
        line.device_count += devices;
        if line.calls.len() == 1 {
            waiting.turns.push_back(organization);
        }
        drop(waiting);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the next organization's turn, and takes calls of it: at least one, else at most `max_calls` with at most
    /// `max_devices` devices. `None` when the queue is closed and empty.
    pub(super) async fn take(&self, max_calls: usize, max_devices: usize) -> Option<(OrganizationId, Vec<Call>)> {
        loop {
            {
                let mut waiting = self.waiting();
                if let Some(batch) = waiting.take(max_calls, max_devices) {
                    return Some(batch);
                }
                if waiting.closed {
                    return None;
                }
            }
            // A notification from before this line is kept: none is missed.
            self.changed.notified().await;
        }
    }

    /// Takes every call that waits, of all organizations.
    pub(super) fn take_all(&self) -> Vec<Call> {
        let mut waiting = self.waiting();
        let closed = waiting.closed;
        let all = std::mem::take(&mut *waiting);
        waiting.closed = closed;
        all.lines.into_values().flat_map(|line| line.calls).collect()
    }

    /// Takes no further calls.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.changed.notify_one();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self, max_calls: usize, max_devices: usize) -> Option<(OrganizationId, Vec<Call>)> {
        let organization = self.turns.pop_front()?;
        let mut line = self.lines.remove(&organization)?;
        let mut batch = Vec::new();
        let mut devices = 0;
        while let Some(next) = line.calls.front() {
            let more = next.command.devices().len();
            if !batch.is_empty() && (batch.len() >= max_calls || devices + more > max_devices) {
                break;
            }
            devices += more;
            batch.extend(line.calls.pop_front());
        }
        self.call_count -= batch.len();
        self.device_count -= devices;
        line.device_count -= devices;
        if !line.calls.is_empty() {
            self.turns.push_back(organization);
            self.lines.insert(organization, line);
        }
        Some((organization, batch))
    }
}

#[cfg(test)]
mod tests;
