//! Keeps the long-running tasks of a process running.
//!
//! A task that panics is started again. If that happens too often, or if the task cannot be started again, the task has failed,
//! and [`Supervisor::failure`] says so.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{sync::watch, task::JoinSet};

use crate::telemetry::metrics;

/// How often a task is started again within [`WINDOW`]. A panic that a single call causes must not end the process; a task
/// that cannot run must.
const RESTARTS: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);

/// Knows whether a task has failed. Clones know the same.
#[derive(Debug, Clone, Default)]
pub struct Supervisor {
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Default)]
struct State {
    is_stopping: bool,
    failed: Option<&'static str>,
}

impl Supervisor {
    /// Allows tasks to end from now on, because the process stops.
    pub fn stop(&self) {
        self.state.send_modify(|state| state.is_stopping = true);
    }

    /// Waits until a task fails, and returns its name.
    pub async fn failure(&self) -> &'static str {
        let mut states = self.state.subscribe();
        let state = states.wait_for(|state| state.failed.is_some()).await;
        let failed = state.ok().and_then(|state| state.failed);
        match failed {
            Some(name) => name,
            // The sender is in `self`.
            None => std::future::pending().await,
        }
    }

    fn is_stopping(&self) -> bool {
        self.state.borrow().is_stopping
    }

    fn fail(&self, name: &'static str) {
        tracing::error!(task = name, "a task has failed; it is not started again");
        self.state.send_modify(|state| {
            state.failed.get_or_insert(name);
        });
    }
}

/// Long-running tasks under a [`Supervisor`]. Dropping this ends them.
#[derive(Debug)]
pub(crate) struct Tasks {
    supervisor: Supervisor,
    running: JoinSet<()>,
}

impl Tasks {
    pub(crate) fn new(supervisor: &Supervisor) -> Self {
        Self {
            supervisor: supervisor.clone(),
            running: JoinSet::new(),
        }
    }

    /// Runs the task that `start` creates, and starts it again if it panics or ends before the stop.
    pub(crate) fn keep_running<F>(&mut self, name: &'static str, mut start: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send,
    {
        let supervisor = self.supervisor.clone();
        self.running.spawn(async move {
            let mut restarts = Restarts::default();
            let counter = metrics::task_restarts(name);
            loop {
                let has_ended = AssertUnwindSafe(async { start().await }).catch_unwind().await.is_ok();
                if has_ended && supervisor.is_stopping() {
                    return;
                }
                if !restarts.allow(Instant::now()) {
                    supervisor.fail(name);
                    return;
                }
                counter.increment(1);
                tracing::error!(task = name, "a task ended unexpectedly; it is started again");
            }
        });
    }

    /// Runs a task that cannot be started again. It has failed if it panics or ends before the stop.
    pub(crate) fn run_once(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let supervisor = self.supervisor.clone();
        self.running.spawn(async move {
            let has_ended = AssertUnwindSafe(task).catch_unwind().await.is_ok();
            if !(has_ended && supervisor.is_stopping()) {
                supervisor.fail(name);
            }
        });
    }

    /// Waits until all tasks have ended.
    pub(crate) async fn ended(&mut self) {
        while self.running.join_next().await.is_some() {}
    }

    /// Ends all tasks.
    pub(crate) async fn shut_down(&mut self) {
        self.running.shutdown().await;
    }
}

/// When a task was started again.
#[derive(Debug, Default)]
struct Restarts(Vec<Instant>);

impl Restarts {
    /// Whether the task may be started again now.
    fn allow(&mut self, now: Instant) -> bool {
        self.0.retain(|at| now.duration_since(*at) < WINDOW);
        let is_allowed = self.0.len() < RESTARTS;
        if is_allowed {
            self.0.push(now);
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_started_again() {
        let supervisor = Supervisor::default();
        let mut tasks = Tasks::new(&supervisor);
        let (runs, mut ran) = mpsc::unbounded_channel();
        let starts = Arc::new(AtomicUsize::new(0));
        tasks.keep_running("test", move || {
            let (runs, start) = (runs.clone(), starts.fetch_add(1, Ordering::Relaxed));
            async move {
                if start < RESTARTS {
                    panic!("start {start}");
                }
                let _ = runs.send(start);
                std::future::pending().await
            }
        });
        assert_eq!(ran.recv().await, Some(RESTARTS));
        assert_eq!(supervisor.failure().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_task_that_cannot_run_fails() {
        let supervisor = Supervisor::default();
        let mut tasks = Tasks::new(&supervisor);
        let starts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&starts);
        tasks.keep_running("test", move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async {}
        });
        assert_eq!(supervisor.failure().await, "test");
        tasks.ended().await;
        assert_eq!(starts.load(Ordering::Relaxed), 1 + RESTARTS);
    }

    #[tokio::test]
    async fn a_task_that_runs_once_must_not_end_before_the_stop() {
        for panics in [false, true] {
            let supervisor = Supervisor::default();
            let mut tasks = Tasks::new(&supervisor);
            tasks.run_once("test", async move { assert!(!panics, "a panic") });
            assert_eq!(supervisor.failure().await, "test");
        }
    }

    #[tokio::test]
    async fn tasks_end_after_the_stop() {
        let supervisor = Supervisor::default();
        let mut tasks = Tasks::new(&supervisor);
        let (stop, stopped) = watch::channel(false);
        let stopped = move || {
            let mut stopped = stopped.clone();
            async move { drop(stopped.wait_for(|stopped| *stopped).await) }
        };
        tasks.run_once("once", stopped());
        tasks.keep_running("again", stopped);
        supervisor.stop();
        let _ = stop.send(true);
        tasks.ended().await;
        assert_eq!(supervisor.failure().now_or_never(), None);
    }

    #[test]
    fn old_restarts_do_not_count() {
        let mut restarts = Restarts::default();
        let start = Instant::now();
        for number in 0..RESTARTS {
            assert!(restarts.allow(start), "{number}");
        }
        assert!(!restarts.allow(start + WINDOW - Duration::from_nanos(1)));
        assert!(restarts.allow(start + WINDOW));
    }
}
