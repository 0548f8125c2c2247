//! The measured rate of work, and how long a call would wait at that rate.

use std::time::Duration;

use crate::duration::ceil_to_seconds;

/// The work of a call besides its devices, in devices: so that a batch of many small calls is about as much work as a batch
/// that is full of devices.
const WORK_OF_A_CALL: usize = 30;

/// The time over which the rate is averaged: long enough that one slow batch does not matter, short enough to follow a
/// database that gets slower.
const WINDOW: Duration = Duration::from_secs(2);

/// The longest wait that a caller is asked for: by then, the rate is measured again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The work of calls, in devices.
pub(super) fn work(calls: usize, devices: usize) -> usize {
    calls.saturating_mul(WORK_OF_A_CALL).saturating_add(devices)
}

/// The work that one worker does in a second; `None` until it is measured.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Rate {
    per_second: Option<f64>,
}

/// The work until a call is done.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    /// The work of the call itself.
    pub(super) own: usize,
    /// The waiting work of its organization.
    pub(super) own_waiting: usize,
    /// The waiting work of all organizations.
    pub(super) all_waiting: usize,
    /// The work in progress.
    pub(super) in_progress: usize,
    /// How many organizations have waiting calls, including its own.
    pub(super) organizations: usize,
}

impl Rate {
    /// Takes a batch into account.
    ///
    /// A batch that was not full is only a lower bound of the rate: it counts only if it was faster than the known rate.
    pub(super) fn measure(&mut self, work: usize, took: Duration, was_full: bool) {
        let seconds = took.as_secs_f64().max(1e-6);
        let sample = work as f64 / seconds;
        match self.per_second {
            Some(known) if was_full || sample > known => {
                let weight = 1.0 - (-seconds / WINDOW.as_secs_f64()).exp();
                self.per_second = Some(known + (sample - known) * weight);
            }
            None if was_full => self.per_second = Some(sample),
            _ => {}
        }
    }

    /// How long `workers` take for what is `ahead`. Organizations take turns, and each is in one batch at a time.
    pub(super) fn wait(&self, ahead: Ahead, workers: usize) -> Option<Duration> {
        let per_second = self.per_second? * workers.min(ahead.organizations).max(1) as f64;
        let all = ahead.all_waiting.saturating_add(ahead.own);
        let turns = ahead
            .own_waiting
            .saturating_add(ahead.own)
            .saturating_mul(ahead.organizations);
        let work = all.min(turns).saturating_add(ahead.in_progress);
        Some(Duration::try_from_secs_f64(work as f64 / per_second).unwrap_or(Duration::MAX))
    }
}

/// Whether a call that waits for `ahead` and is done after `whole` is done within `time`. If not: after how many whole
/// seconds there may be room for it. The work ahead may take half of the time: a flood slows the work itself down, by up to a
/// factor of two in measurements. Work for half of the time still keeps every worker busy.
pub(super) fn admit(ahead: Duration, whole: Duration, time: Duration) -> Result<(), Duration> {
    let excess = ahead.saturating_sub(time / 2).max(whole.saturating_sub(time));
    if excess.is_zero() {
        Ok(())
    } else {
        Err(ceil_to_seconds(excess).min(LONGEST_WAIT))
    }
}

#[cfg(test)]
mod tests;
