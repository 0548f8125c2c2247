//! The log, and traces where they are wanted: what the rooms say with `tracing`, and where it goes.

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

/// Starts the log, and traces where `config` wants them: those of a service by this name. Within a runtime.
pub(super) fn init(format: LogFormat, traces: Option<(&TraceConfig, &'static str)>) -> Result<Traces, CommandError> {
    let traces = match traces {
        Some((config, service)) => Traces::start(config, service)?,
        None => Traces::default(),
    };
    match traces.layer() {
        // One filter for all is cheap, and spans of traces are not even begun.
        None => tracing_subscriber::registry()
            .with(logging::filter(&[trace::TARGET]))
            .with(logging::layer(format))
            .init(),
        Some(traces) => {
            // Traces have their own way out, and add nothing to a line.
            let filter = logging::filter(&[]).and(asked_each_time(|what| what.target() != trace::TARGET));
            let layers = vec![logging::layer(format).with_filter(filter).boxed(), traces];
            tracing_subscriber::registry().with(layers).init();
        }
    }
    logging::catch_panics();
    Ok(traces)
}

/// A filter that is asked anew for whatever is said.
///
/// A layer's filter leaves its answer with the thread, for the layer to find. Where a library only asks whether something
/// would be logged, and the driver does so after each statement, nobody takes that answer away; and one whose filter need not
/// be asked, because it is known to say yes, would find the old one and be lost.
fn asked_each_time<S>(
    is_wanted: fn(&Metadata<'_>) -> bool,
) -> DynFilterFn<S, impl Fn(&Metadata<'_>, &Context<'_, S>) -> bool> {
    dynamic_filter_fn(move |what: &Metadata<'_>, _: &Context<'_, S>| is_wanted(what))
        .with_max_level_hint(LevelFilter::TRACE)
}
