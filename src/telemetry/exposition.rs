//! The figures, collected and written down for Prometheus.

use std::{fmt, sync::Arc, time::Duration};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;

use super::metrics::{COUNT_BUCKETS, DURATION_BUCKETS, describe};

/// How often what was recorded is put into its buckets: until then, each value takes memory of its own.
const UPKEEP: Duration = Duration::from_secs(5);

/// What `/metrics` answers.
#[derive(Clone)]
pub struct Exposition {
    figures: PrometheusHandle,
    process: Collector,
    looks: Vec<Arc<dyn Fn() + Send + Sync>>,
}

impl Exposition {
    /// Begins to collect what every room counts from now on, for the whole process: once, and before anything is counted.
    ///
    /// # Errors
    /// When something collects already.
    pub fn install() -> Result<Self, BuildError> {
        let mut builder =
            PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &DURATION_BUCKETS)?;
        for (name, buckets) in COUNT_BUCKETS {
            builder = builder.set_buckets_for_metric(Matcher::Full(name.into()), buckets)?;
        }
        let figures = builder.install_recorder()?;
        describe();
        let process = Collector::default();
        process.describe();
        Ok(Self {
            figures,
            process,
            looks: Vec::new(),
        })
    }

    /// Has `look` set figures that nobody counts, whenever somebody wants to know them.
    #[must_use]
    pub fn looking(mut self, look: impl Fn() + Send + Sync + 'static) -> Self {
        self.looks.push(Arc::new(look));
        self
    }

    /// Every figure as it is now, in Prometheus' text format.
    pub fn render(&self) -> String {
        self.process.collect();
        for look in &self.looks {
            look();
        }
        self.figures.render()
    }

    /// Keeps the memory small that what is recorded takes, also while nobody asks. Never returns.
    pub async fn keep_up(self) {
        let mut every = tokio::time::interval(UPKEEP);
        loop {
            every.tick().await;
            self.figures.run_upkeep();
        }
    }
}

impl fmt::Debug for Exposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exposition").finish_non_exhaustive()
    }
}
