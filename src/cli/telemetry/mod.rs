//! The log, and traces where they are wanted: what the rooms say with `tracing`, and where it goes.

mod logging;
mod traces;

use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

pub(super) use self::traces::Traces;
use super::Failure;
use crate::config::{LogFormat, TraceConfig};

/// Starts the log, and traces where `config` wants them: those of a service by this name. Within a runtime.
pub(super) fn init(format: LogFormat, traces: Option<(&TraceConfig, &'static str)>) -> Result<Traces, Failure> {
    let traces = match traces {
        Some((config, service)) => Traces::start(config, service)?,
        None => Traces::default(),
    };
    // A list, because an absent layer that is chained to another one with a filter silences it.
    let mut layers = vec![logging::layer(format)];
    layers.extend(traces.layer());
    tracing_subscriber::registry().with(layers).init();
    logging::catch_panics();
    Ok(traces)
}
