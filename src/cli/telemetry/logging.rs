//! The log: on stderr, text for people or JSON for machines.

use std::{env, io, io::IsTerminal, panic};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{MakeWriter, writer::BoxMakeWriter},
    registry::LookupSpan,
};

use crate::config::LogFormat;

/// The libraries log each step of a migration, which hides the message of a subcommand.
const QUIET_LIBRARIES: &str = "info,sea_orm_migration=warn,sqlx=warn";

/// What is logged: `RUST_LOG` sets the level, by default `info`. Nothing of the targets in `silenced`.
pub(super) fn filter(silenced: &[&str]) -> EnvFilter {
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .parse_lossy(env::var("RUST_LOG").unwrap_or_else(|_| QUIET_LIBRARIES.into()));
    // The driver logs unknown options of the database URL, which may be secret. The HTTP library warns about each
    // unsolicited pong, and a peer may send a flood of them. The library of the MCP server logs requests and responses.
    let libraries = ["sqlx_postgres::options=off", "h2::proto::ping_pong=error", "rmcp=warn"];
    let silenced = silenced.iter().map(|target| format!("{target}=off"));
    let directives = libraries.map(str::to_owned).into_iter().chain(silenced);
    directives
        .filter_map(|directive| directive.parse().ok())
        .fold(filter, EnvFilter::add_directive)
}

/// The log. `writer` writes its lines to stderr.
pub(super) fn layer<S>(
    format: LogFormat,
    writer: impl for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let is_terminal = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt::layer()
        .with_writer(BoxMakeWriter::new(writer))
        .with_ansi(is_terminal && env::var_os("NO_COLOR").is_none());
    let as_text = match format {
        LogFormat::Auto => is_terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    if as_text {
        log.boxed()
    } else {
        log.json().flatten_event(true).with_span_list(false).boxed()
    }
}

/// Logs panics as one line, without the message, which may quote a caller's data.
pub(super) fn catch_panics() {
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "a panic");
    }));
}
