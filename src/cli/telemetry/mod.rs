//! Where the events and spans of `tracing` go: to the log, and to traces if they are enabled.

mod log_writer;
mod logging;
mod traces;

use std::io;

use tracing::{Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    filter::{DynFilterFn, FilterExt, dynamic_filter_fn},
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

use self::{
    log_writer::{LogThread, LogWriter},
    traces::Traces,
};
use super::CommandError;
use crate::{
    config::{LogFormat, TraceConfig},
    telemetry::trace,
};

/// The log and the traces of this process.
pub(super) struct Telemetry {
    traces: Traces,
    log: Option<LogThread>,
}

impl Telemetry {
    /// Starts the log. For a process that serves, with the name of the service, also traces if they are configured. Must run
    /// within a runtime.
    pub(super) fn start(format: LogFormat, serves: Option<(&TraceConfig, &'static str)>) -> Result<Self, CommandError> {
        let Some((config, service)) = serves else {
            // Other commands write messages to stderr, too, and the order counts.
            tracing_subscriber::registry()
                .with(logging::filter(&[trace::TARGET]))
                .with(logging::layer(format, io::stderr))
                .init();
            logging::catch_panics();
            return Ok(Self {
                traces: Traces::default(),
                log: None,
            });
        };
        let traces = Traces::start(config, service)?;
        let started = LogWriter::start(io::stderr());
        let (writer, thread) =
            started.map_err(|error| CommandError::Failed(format!("the log cannot be written: {error}")))?;
        match traces.layer() {
            // With one filter for all, spans of traces are not even created.
            None => tracing_subscriber::registry()
                .with(logging::filter(&[trace::TARGET]))
                .with(logging::layer(format, writer))
                .init(),
            Some(traces) => {
                // Spans of traces add nothing to a log line.
                let filter = logging::filter(&[]).and(evaluated_each_time(|what| what.target() != trace::TARGET));
                let layers = vec![logging::layer(format, writer).with_filter(filter).boxed(), traces];
                tracing_subscriber::registry().with(layers).init();
            }
        }
        logging::catch_panics();
        Ok(Self {
            traces,
            log: Some(thread),
        })
    }

    /// Sends the last spans, within a bound. Blocks. Needs the runtime.
    pub(super) fn flush_traces(&self) {
        self.traces.flush();
    }

    /// Writes the last lines of the log, within a bound. Blocks.
    pub(super) fn flush_log(self) {
        if let Some(log) = self.log {
            log.flush();
        }
    }
}

/// A filter that is evaluated for each event and span.
///
/// The filter of a layer stores its result per thread, and the layer takes it from there. When a library only checks whether
/// an event is enabled, as the driver does after each statement, the result stays. An event whose filter is not evaluated,
/// because it always matches, would find that old result and be lost.
fn evaluated_each_time<S>(
    is_wanted: fn(&Metadata<'_>) -> bool,
) -> DynFilterFn<S, impl Fn(&Metadata<'_>, &Context<'_, S>) -> bool> {
    dynamic_filter_fn(move |what: &Metadata<'_>, _: &Context<'_, S>| is_wanted(what))
        .with_max_level_hint(LevelFilter::TRACE)
}
