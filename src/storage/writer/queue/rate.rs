//! How much is carried out in a second, as measured, and how long a call would have to wait by that.

use std::time::Duration;

use crate::duration::ceil_to_seconds;

/// What a call takes beside its devices, in devices: about as many as make a batch of many small calls as much work as one
/// that is full of devices.
const WORK_OF_A_CALL: usize = 30;

/// Over how much time the rate is the average: long enough for one slow batch not to decide, short enough to follow a
/// database that gets slower.
const WINDOW: Duration = Duration::from_secs(2);

/// The longest that a caller is told to wait: by then, something else will have been measured.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The work of so many calls with so many devices in all, in devices.
pub(super) fn work(calls: usize, devices: usize) -> usize {
    calls.saturating_mul(WORK_OF_A_CALL).saturating_add(devices)
}

/// How much work one worker carries out in a second. Nothing until something was measured.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Rate {
    per_second: Option<f64>,
}

/// What has to be carried out before the answer to a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    /// The work of the call itself.
    pub(super) own: usize,
    /// The work of its organization that waits.
    pub(super) own_waiting: usize,
    /// The work of all organizations that waits.
    pub(super) all_waiting: usize,
    /// The work that is being carried out.
    pub(super) in_progress: usize,
    /// How many organizations have calls that wait, its own included.
    pub(super) organizations: usize,
}

impl Rate {
    /// Takes into account that a batch with so much work took so long.
    ///
    /// A batch that was not full shows what can be done at least, and not what could be done: it counts only if it was
    /// faster than what is known.
    pub(super) fn measure(&mut self, work: usize, took: Duration, was_full: bool) {
        let seconds = took.as_secs_f64().max(1e-6);
        let sample = number(work) / seconds;
        match self.per_second {
            Some(known) if was_full || sample > known => {
                let weight = 1.0 - (-seconds / WINDOW.as_secs_f64()).exp();
                self.per_second = Some(known + (sample - known) * weight);
            }
            None if was_full => self.per_second = Some(sample),
            _ => {}
        }
    }

    /// How long it takes until a call is answered, if so many workers carry out what is `ahead`. Organizations take
    /// turns, and of each only one batch is carried out at a time.
    pub(super) fn wait(&self, ahead: Ahead, workers: usize) -> Option<Duration> {
        let per_second = self.per_second? * number(workers.min(ahead.organizations).max(1));
        let all = ahead.all_waiting.saturating_add(ahead.own);
        let turns = ahead
            .own_waiting
            .saturating_add(ahead.own)
            .saturating_mul(ahead.organizations);
        let work = all.min(turns).saturating_add(ahead.in_progress);
        Some(Duration::try_from_secs_f64(number(work) / per_second).unwrap_or(Duration::MAX))
    }
}

/// Whether a call that waits for so much, and is answered after `whole`, is answered within `time`; if not, after how many
/// whole seconds there may be room for it. What is ahead of it may take half of the time: a flood also slows down what is
/// carried out, by as much as a factor of two where it was measured. Work for that half keeps every worker busy all the same.
pub(super) fn admit(ahead: Duration, whole: Duration, time: Duration) -> Result<(), Duration> {
    let excess = ahead.saturating_sub(time / 2).max(whole.saturating_sub(time));
    if excess.is_zero() {
        Ok(())
    } else {
        Err(ceil_to_seconds(excess).min(LONGEST_WAIT))
    }
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
