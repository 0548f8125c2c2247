//! The log: on stderr, text for people or JSON for machines.

use std::{env, io, io::IsTerminal, panic};

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, filter::FilterExt, registry::LookupSpan};

use super::asked_each_time;
use crate::{config::LogFormat, telemetry::trace};

/// What the libraries say of each step of a migration is noise beside what a subcommand says.
const QUIET_LIBRARIES: &str = "info,sea_orm_migration=warn,sqlx=warn";

/// The log. `RUST_LOG` sets its level; `info` unless set.
pub(super) fn layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let mut filter = EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .parse_lossy(env::var("RUST_LOG").unwrap_or_else(|_| QUIET_LIBRARIES.into()));
    // The driver repeats options of the database URL that it does not know, and one of those may be a secret. The HTTP
    // library warns of each pong that it did not ask for, and a peer may send a flood of them.
    for silence in ["sqlx_postgres::options=off", "h2::proto::ping_pong=error"] {
        if let Ok(silence) = silence.parse() {
            filter = filter.add_directive(silence);
        }
    }
    // Traces have their own way out, and add nothing to a line.
    let filter = filter.and(asked_each_time(|what| what.target() != trace::TARGET));
    let is_terminal = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(is_terminal && env::var_os("NO_COLOR").is_none());
    let as_text = match format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    if as_text {
        log.with_filter(filter).boxed()
    } else {
        log.json()
            .flatten_event(true)
            .with_span_list(false)
            .with_filter(filter)
            .boxed()
    }
}

/// Brings panics into the log, where they are seen and stay one line; without the message, which may quote a caller's data.
pub(super) fn catch_panics() {
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "a panic");
    }));
}
