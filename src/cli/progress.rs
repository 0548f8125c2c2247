//! The progress of a long list, on a terminal.

use std::{
    fmt::Write,
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::{
    input::Size,
    output::{is_dumb_terminal, say},
};

/// How often the remaining time is updated, even if nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// A run that takes less needs no summary of its speed.
const WORTH_A_SUMMARY: Duration = Duration::from_secs(2);

/// A bar on stderr, if that is a terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    size: Size,
    started: Instant,
}

impl Progress {
    pub(super) fn start(size: Size, is_wanted: bool) -> Self {
        let is_shown = is_wanted && io::stderr().is_terminal() && !is_dumb_terminal();
        let bar = if is_shown {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style("{spinner} {human_pos} rows  {rate}  {elapsed}"));
            bar.enable_steady_tick(TICK);
            bar
        } else {
            ProgressBar::hidden()
        };
        let started = Instant::now();
        Self { bar, size, started }
    }

    /// Shows how many rows have been read, and how many of them have a result.
    pub(super) fn update(&self, read: u64, done: u64) {
        if let Some(rows) = self.size.rows(read).filter(|rows| *rows > 0) {
            if self.bar.length().is_none() {
                self.bar.set_style(style(
                    "[{wide_bar}] {human_pos} of {human_len} rows  {rate}  {eta} left",
                ));
            }
            self.bar.set_length(rows);
        }
        self.bar.set_position(done);
    }

    /// Prints a message above the bar.
    pub(super) fn say(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }

    /// Removes the bar, and prints how long the rows took, if the run succeeded and the bar was visible.
    pub(super) fn finish(self, rows: Option<u64>) {
        let was_shown = !self.bar.is_hidden();
        self.bar.finish_and_clear();
        let took = self.started.elapsed();
        let Some(rows) = rows.filter(|_| was_shown && took >= WORTH_A_SUMMARY) else {
            return;
        };
        let rate = u128::from(rows) * 1_000 / took.as_millis().max(1);
        let rate = HumanCount(u64::try_from(rate).unwrap_or(u64::MAX));
        say(&format!(
            "{} rows in {}, {rate} a second",
            HumanCount(rows),
            HumanDuration(took)
        ));
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .with_key("rate", |state: &ProgressState, text: &mut dyn Write| {
            let rate = format!("{:.0}", state.per_sec()).parse().unwrap_or_default();
            let _ = write!(text, "{} a second", HumanCount(rate));
        })
}
