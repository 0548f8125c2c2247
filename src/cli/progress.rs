//! How far a long list has come, for who watches a terminal.

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

/// How often the time that is left is shown anew, also while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// What takes less is over before anybody wonders how long it takes.
const WORTH_TELLING: Duration = Duration::from_secs(2);

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

    /// Shows that so many rows have been read, and so many of them are dealt with.
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

    /// Says a line, above the bar.
    pub(super) fn say(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }

    /// Takes the bar away, and tells who has seen it how long so many rows took, if it went well.
    pub(super) fn finish(self, rows: Option<u64>) {
        let was_shown = !self.bar.is_hidden();
        self.bar.finish_and_clear();
        let took = self.started.elapsed();
        let Some(rows) = rows.filter(|_| was_shown && took >= WORTH_TELLING) else {
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
