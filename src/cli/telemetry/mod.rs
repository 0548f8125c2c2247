//! Where the events and spans of `tracing` go: to the log, and to traces if they are enabled.

mod logging;
mod traces;

use tracing::{Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer,
    filter::{DynFilterFn, FilterExt, dynamic_filter_fn},
    layer::{Context, SubscriberExt},
    util::SubscriberInitExt,
};

pub(super) use self::traces::Traces;
use super::CommandError;
use crate::{
    config::{LogFormat, TraceConfig},
    telemetry::trace,
};

/// Starts the log, and traces if they are configured, with the name of the service. Must run within a runtime.
pub(super) fn init(format: LogFormat, traces: Option<(&TraceConfig, &'static str)>) -> Result<Traces, CommandError> {
    let traces = match traces {
        Some((config, service)) => Traces::start(config, service)?,
        None => Traces::default(),
    };
    match traces.layer() {
        // With one filter for all, spans of traces are not even created.
        None => tracing_subscriber::registry()
            .with(logging::filter(&[trace::TARGET]))
            .with(logging::layer(format))
            .init(),
        Some(traces) => {
            // Spans of traces add nothing to a log line.
            let filter = logging::filter(&[]).and(evaluated_each_time(|what| what.target() != trace::TARGET));
            let layers = vec![logging::layer(format).with_filter(filter).boxed(), traces];
            tracing_subscriber::registry().with(layers).init();
        }
    }
    logging::catch_panics();
    Ok(traces)
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
