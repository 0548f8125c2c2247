//! Collects the metrics and renders them for Prometheus.

use std::{fmt, sync::Arc, time::Duration};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use super::metrics::{COUNT_BUCKETS, DURATION_BUCKETS, describe};

/// How often recorded values are moved into their buckets. Until then each value takes memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// Renders the response of `/metrics`.
#[derive(Clone)]
pub struct Exposition {
    prometheus: PrometheusHandle,
    process: Collector,
    updates: Vec<Arc<dyn Fn() + Send + Sync>>,
}

impl Exposition {
    /// Starts to collect metrics for the whole process. Call it once, before anything is recorded.
    ///
    /// # Errors
    /// If a recorder is already installed.
    pub fn install() -> Result<Self, BuildError> {
        let mut builder =
            PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &DURATION_BUCKETS)?;
        for (name, buckets) in COUNT_BUCKETS {
            builder = builder.set_buckets_for_metric(Matcher::Full(name.into()), buckets)?;
        }
        let prometheus = builder.install_recorder()?;
        describe();
        let process = Collector::default();
        process.describe();
        Ok(Self {
            prometheus,
            process,
            updates: Vec::new(),
        })
    }

    /// Calls `update` before each rendering, to set gauges that are not kept up to date otherwise.
    #[must_use]
    pub fn before_rendering(mut self, update: impl Fn() + Send + Sync + 'static) -> Self {
        self.updates.push(Arc::new(update));
        self
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.process.collect();
        for update in &self.updates {
            update();
        }
        self.prometheus.render()
    }

    /// Keeps the memory of recorded values small even if nobody scrapes the metrics. Never returns.
    pub async fn run_upkeep(self) {
        let mut every = tokio::time::interval(UPKEEP);
        loop {
            every.tick().await;
            self.prometheus.run_upkeep();
        }
    }
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposition").finish_non_exhaustive()
    }
}
